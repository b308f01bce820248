"""``sora --profile FILE VERB ...``: where the time of a run goes, as a trace for chrome://tracing or Perfetto.

Every operation and, where there is one, every kernel of an NVIDIA card, under our own names: load, encode, sample with
a pass for every call of the model, decode, write. A trace can be passed on: it tells nothing of whose machine it was.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sora.cli.progress import note
from sora.errors import InputError, UsageError
from sora.storage import publishing, refusal, staging

SUFFIXES = (".json", ".json.gz")
PROCESS = b"1000"  # in place of the number of ours; cards have theirs from 0 on
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
        file.seek(0)
        made = trace.with_name("made.json.gz" if path.name.endswith(".gz") else "made.json")
        with gzip.open(made, "wb") if path.name.endswith(".gz") else made.open("wb") as out:
            out.writelines(_without_identity(file, os.getpid()))
    return made


def _without_identity(lines: Iterable[bytes], process: int) -> Iterator[bytes]:
    """Torch's trace, line by line, without the name of the machine, its own path, and the numbers that the system gave
    to the process and its threads: those become PROCESS, and 1, 2, 3, ..."""
    numbers, is_own = dict[bytes, bytes](), False

    def numbered(match: re.Match[bytes]) -> bytes:
        return match[1] + numbers.setdefault(match[2], b"%d" % (len(numbers) + 1)) + match[3]

    for line in lines:
        if line.lstrip().startswith((b'"host_name"', b'"hostname"')):
            continue
        if found := re.match(rb'(\s*"pid": )("?\w*"?)(,.*)', line, re.DOTALL):
            is_own = found[2] == b"%d" % process
            line = found[1] + PROCESS + found[3] if is_own else line
        elif is_own:
            line = re.sub(rb'(\s*"tid": )([1-9]\d*)(,)', numbered, line)
            line = re.sub(rb'("name": "thread )(\d+)( )', numbered, line)
            line = re.sub(rb'("sort_index": )%d\b' % process, rb"\g<1>" + PROCESS, line)
        yield re.sub(rb'("traceName": )"(?:[^"\\]|\\.)*"', rb'\1"sora"', line)
