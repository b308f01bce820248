"""``sora resume``: goes on with a job."""

from __future__ import annotations

from typing import Annotated

import typer

from sora.cli import options as o


def resume(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="Its name (default: the last one).", show_default=False)
    ] = None,
    stop_after: o.StopAfter = None,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Go on with a painting that was stopped. The frames are those that it would have had without the stop."""
    from sora.cli import films
    from sora.cli.commands import ConsoleOptions
    from sora.cli.progress import Clock
    from sora.jobs import job as jobs
    from sora.jobs.session import Session

    clock, found = Clock(), jobs.find(job, jobs.last_waiting)
    found.check_idle()
    resolved, delivery = found.resolve()
    console = ConsoleOptions(as_json=as_json, quiet=quiet, stop_after=stop_after)
    films.paint(resolved, delivery, console, Session(), clock, job=found)
