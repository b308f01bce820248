"""Progress bars on a terminal's stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from sora.errors import printable

if TYPE_CHECKING:
    from sora.engine.progress import ProgressEvent

PHASE_LABELS = {
    "encode": "looking",
    "sample": "painting",
    "decode": "developing",
    "refine": "refining",
    "learn": "learning",
}

MAX_LABEL = 60  # characters before the bar


class Speed(ProgressColumn):
    """Steps (or frames) a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


def _description() -> TextColumn:
    """What a bar is of. It comes out of files, where square brackets mean no colours."""
    return TextColumn("{task.description}", markup=False)


@contextmanager
def steps(first: Callable[[ProgressEvent], None], label: str) -> Iterator[Callable[[ProgressEvent], None]]:
    """A listener for the engine's events, with a bar. first: a listener that is called before the bar moves."""
    columns = (
        _description(),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        label = printable(label, MAX_LABEL)
        task = bar.add_task(label, total=None)
        current = ""

        def on_event(event: ProgressEvent) -> None:
            nonlocal current
            first(event)
            has_windows = event.windows > 1
            name = "film" if has_windows else event.phase
            if name != current:
                current = name
                bar.reset(task)
            description = f"{label}{PHASE_LABELS.get(event.phase, event.phase)}"
            if not has_windows:
                bar.update(task, description=description, completed=event.done, total=event.total)
                return
            shot = f", shot {event.shot}/{event.shots}" if event.shots > 1 else ""
            bar.update(task, description=f"{description} {event.window}/{event.windows}{shot}")
            if event.phase == "sample":  # one bar for the whole film, in steps, so that it knows when the film is done
                done = (event.window - 1) * event.total + event.done
                bar.update(task, completed=done, total=event.windows * event.total)

        yield on_event


@contextmanager
def downloads(label: str) -> Iterator[Callable[[int, int], None]]:
    """A listener for bytes done and in all, with a bar."""
    columns = (
        *(_description(), BarColumn(), DownloadColumn()),
        *(TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, is_first = bar.add_task(printable(label, MAX_LABEL), total=None), True

        def on_progress(done: int, total: int) -> None:
            nonlocal is_first
            if is_first:  # what came in earlier runs says nothing of the speed
                bar.reset(task, total=total, completed=done)
                is_first = False
            bar.update(task, completed=done, total=total)

        yield on_progress
