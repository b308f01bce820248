"""``sora resume``: goes on with a job."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from sora.cli import films, streams
from sora.cli import options as o
from sora.cli.commands import ConsoleOptions
from sora.cli.progress import Clock
from sora.jobs import job as jobs
from sora.jobs.session import Session


def resume(
    job: o.JobName = None,
    output: o.Output = None,
    memory: o.MemoryPlanName = None,
    gpus: o.Gpus = None,
    stop_after: o.StopAfter = None,
    force: o.Force = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Go on with a painting that was stopped. The frames are those that it would have had without the stop."""
    clock, found = Clock(), jobs.find(job, jobs.last_waiting)
    found.check_idle()
    delivery = replace(found.delivery, output=output or found.delivery.output, force=force or found.delivery.force)
    resolved, delivery = found.resolve(delivery)
    given = {name: value for name, value in (("memory", memory), ("gpus", gpus)) if value is not None}
    resolved = replace(resolved, request=msgspec.structs.replace(resolved.request, **given))
    console = ConsoleOptions(as_json=as_json, quiet=quiet, stop_after=stop_after)
    with streams.kept_for_film(delivery.is_piped):
        films.paint(resolved, delivery, console, Session(), clock, job=found)
