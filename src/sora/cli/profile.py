"""``sora --profile FILE VERB ...``: where the time of a run goes, as a trace for chrome://tracing or Perfetto.

Every operation and, where there is one, every kernel of an NVIDIA card, under our own names: load, encode, sample with
a pass for every call of the model, decode, write.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sora.cli.progress import note
from sora.errors import InputError, UsageError
from sora.storage import atomic

SUFFIXES = (".json", ".json.gz")


def check_target(path: Path | None, verb: str | None, painters: Sequence[str]) -> None:
    """Refuses, before any work, a trace that could not be written. Raises UsageError and InputError."""
    if path is None:
        return
    if verb is not None and verb not in painters:
        raise UsageError(f"--profile is for commands that paint, and `sora {verb}` does not; leave it out")
    if not path.name.endswith(SUFFIXES):
        raise UsageError(f"--profile {path} is of another kind; end it in {' or '.join(SUFFIXES)}")
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already; remove it, or choose another name for --profile")
    if not path.parent.is_dir():
        raise InputError(f"cannot write into {path.parent}: there is no such folder; create it")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot write into {path.parent}: Permission denied; choose another")


@contextmanager
def record(path: Path | None) -> Iterator[None]:
    """Records what happens in the block and writes it to ``path``, whole or not at all; None records nothing.

    Nothing is written when the block raises. Imports torch.
    """
    if path is None:
        yield
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # of torch's recorder, which tells of its starts on stderr
    from torch import cuda
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda.is_available()
    with profile(activities=activities) as profiler:
        yield
    try:
        with atomic.written(path) as whole:
            profiler.export_chrome_trace(str(whole))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another --profile") from None
    note(f"profile {path} (open it in https://ui.perfetto.dev)", quiet=False)
