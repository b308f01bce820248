"""``sora --profile FILE VERB ...``: where the time of a run goes, as a trace for chrome://tracing or Perfetto.

Every operation and, where there is one, every kernel of an NVIDIA card, under our own names: load, encode, sample with
a pass for every call of the model, decode, write.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sora.cli.progress import note
from sora.errors import InputError, UsageError
from sora.storage import publishing, refusal, staging

SUFFIXES = (".json", ".json.gz")
END_BYTES = 64  # of a trace, in which it is seen to be whole


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
        with staging.folder(path) as folder:
            trace = folder / "trace.json"
            profiler.export_chrome_trace(str(trace))
            made = _finished(trace, path)
            publishing.flush(made)
            publishing.move_new(made, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {refusal.explain(error, path)}") from None
    note(f"profile {path} (open it in https://ui.perfetto.dev)", quiet=False)


def _finished(trace: Path, path: Path) -> Path:
    """The file to publish: torch's trace, compressed where that is asked for. Raises OSError where it is not whole,
    which torch does not notice."""
    broken = OSError("torch did not write all of it; free some space")
    if not trace.is_file():
        raise broken
    with trace.open("rb") as file:
        file.seek(-min(END_BYTES, trace.stat().st_size), os.SEEK_END)
        if not file.read().rstrip().endswith(b"}"):
            raise broken
        if not path.name.endswith(".gz"):
            return trace
        file.seek(0)
        compressed = trace.with_suffix(".json.gz")
        with gzip.open(compressed, "wb") as out:
            shutil.copyfileobj(file, out)
    return compressed
