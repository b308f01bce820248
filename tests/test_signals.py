"""Signals and closed streams, with programs of a few lines that need no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STEPS = """
import sys, time
from sora.cli import signals, streams
streams.install()
signals.install()
signals.on_quit(lambda: open("cleaned", "w").close())
try:
    with signals.end_of_step_first(lambda: print("the step ends first", flush=True)):
        print("begun", flush=True)
        for step in range(100):
            time.sleep({seconds})
            if signals.requested() is not None:
                print("step", step, flush=True)
                raise signals.requested()
except signals.Stopped as stop:
    sys.exit(stop.status)
"""

PRINTS = """
import sys
from sora.cli import streams
streams.install()
for n in range(20000):
    print("out", n)
    sys.stderr.write("err\\n")
print("\\u2603 \\ud800")
sys.stdout.buffer.write(b"bytes")
sys.stdout.flush()
open("done", "w").close()
"""


def heed() -> None:
    """Signals as a terminal's programs have them; what a shell starts in the background ignores Ctrl-C."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def start(code: str, folder: Path, **options: Any) -> subprocess.Popen[Any]:
    options = {"preexec_fn": heed, **options}
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, **options)


def wait_for(process: subprocess.Popen[Any], word: bytes) -> None:
    assert process.stdout is not None
    while word not in (line := process.stdout.readline()):
        assert line, f"the program ended before it printed {word!r}"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_waits_for_the_end_of_the_step(tmp_path: Path, name: str):
    process = start(STEPS.format(seconds=0.2), tmp_path, stdout=subprocess.PIPE)
    wait_for(process, b"begun")
    process.send_signal(getattr(signal, name))
    out, _ = process.communicate(timeout=60)
    assert b"the step ends first" in out and b"step" in out
    assert process.returncode == 128 + getattr(signal, name)


def test_the_second_signal_ends_at_once_and_cleans_up(tmp_path: Path):
    process = start(STEPS.format(seconds=600), tmp_path, stdout=subprocess.PIPE)
    wait_for(process, b"begun")
    process.send_signal(signal.SIGINT)
    wait_for(process, b"first")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130  # of 600 s
    assert (tmp_path / "cleaned").exists()
    process.communicate()


def test_a_signal_that_was_ignored_stays_ignored(tmp_path: Path):
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = start(STEPS.format(seconds=0.01), tmp_path, stdout=subprocess.PIPE, preexec_fn=ignore)
    wait_for(process, b"begun")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    process.communicate()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_went_away_stops_nothing_but_the_printing(tmp_path: Path, stream: str):
    reader, writer = os.pipe()
    os.close(reader)
    process = start(PRINTS, tmp_path, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer})
    os.close(writer)
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "done").exists()


def test_streams_that_are_closed_from_the_start_stop_nothing(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(PRINTS, encoding="utf-8")
    line = f'"{sys.executable}" program.py >&- 2>&-'
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, timeout=60).returncode == 0
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_an_encoding_lacks_is_written_as_escapes(tmp_path: Path, encoding: str):
    process = start(
        PRINTS,
        tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.endswith(b"\\ud800\nbytes")
    assert ("☃".encode() if encoding == "utf-8" else b"\\u2603") in out
