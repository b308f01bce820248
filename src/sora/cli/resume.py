"""``sora resume``: goes on with a job."""

from __future__ import annotations

from sora.cli import films
from sora.cli import options as o
from sora.cli.commands import ConsoleOptions
from sora.cli.progress import Clock
from sora.jobs import job as jobs
from sora.jobs.session import Session


def resume(
    job: o.JobName = None, stop_after: o.StopAfter = None, as_json: o.AsJson = False, quiet: o.Quiet = False
) -> None:
    """Go on with a painting that was stopped. The frames are those that it would have had without the stop."""
    clock, found = Clock(), jobs.find(job, jobs.last_waiting)
    found.check_idle()
    resolved, delivery = found.resolve()
    console = ConsoleOptions(as_json=as_json, quiet=quiet, stop_after=stop_after)
    films.paint(resolved, delivery, console, Session(), clock, job=found)
