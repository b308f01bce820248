"""``sora doctor``: looks at everything a film needs and says what is missing, one line each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from sora import __version__
from sora.errors import InputError, ModelError, SoraError, printable
from sora.storage import refusal, staging, state

Check = Callable[[], str]  # the fact to show; raises with the problem


def doctor(
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Compare GPUs with the CPU at several lengths, some two minutes, and refuse those that differ.",
        ),
    ] = False,
) -> None:
    """Check this installation. Versions, devices, ffmpeg, weights, and a tiny painting, timed."""
    checks: dict[str, Check] = {
        "sora": lambda: __version__,
        "python": lambda: ".".join(map(str, sys.version_info[:3])),
        "torch": _with_torch("torch_version"),
        "devices": _with_torch("devices"),
        "threads": _with_torch("threads"),
        "ffmpeg": _ffmpeg,
        "disk": _disk,
        "attention": _with_torch("attention"),
        "weights": _with_torch("embedded_weights"),
        "painting": _with_torch("painting"),
        "agreement": _with_torch("agreement"),
    }
    if deep:
        checks |= {"agreement": _agreement_at_several_lengths}
    passed = [_report(name, check) for name, check in checks.items()]
    if not all(passed):
        raise typer.Exit(ModelError.exit_code)


def _report(name: str, check: Check) -> bool:
    """Runs one check and prints its line; whether it passed. A doctor must survive whatever it finds."""
    try:
        message, passed = check(), True
    except Exception as error:
        message = str(error) if isinstance(error, SoraError) else f"{type(error).__name__}: {error}"
        passed = False
    first_line = (message.splitlines() or [""])[0]
    typer.echo(f"{name.ljust(9)}  {'ok      ' if passed else 'problem '}  {printable(first_line)}")
    return passed


def _agreement_at_several_lengths() -> str:
    """Each device against the CPU, a line for each test as it ends. What is found of a device is kept."""
    from sora.cli import doctor_checks

    def show(line: str) -> None:
        _show_progress("")
        typer.echo(printable(line))

    try:
        return doctor_checks.deep_agreement(on_start=lambda what: _show_progress(f"{what} ..."), on_line=show)
    finally:
        _show_progress("")


def _show_progress(what: str) -> None:
    """What is computed now, in the last line of a terminal, in place of what was there."""
    if sys.stderr.isatty():
        typer.echo(f"\r\033[K{printable(what)}\r", err=True, nl=False)


def _ffmpeg() -> str:
    from imageio_ffmpeg import get_ffmpeg_exe

    program = get_ffmpeg_exe()
    answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=True)
    return f"{' '.join(answer.stdout.split()[:3])} at {program}"


def _disk() -> str:
    """Removes what killed commands left. Raises InputError where the state folder cannot be written."""
    removed, place = staging.sweep(), state.folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with staging.folder(place / "check"):
            pass
    except OSError as error:
        raise InputError(f"cannot write into {place}: {refusal.explain(error, place)} in SORA_STATE") from None
    return f"{len(removed) or 'nothing'} left of killed commands, state in {place}"


def _with_torch(name: str) -> Check:
    """A check of ``doctor_checks``, which needs torch; where torch is broken, that is what it tells."""

    def check() -> str:
        from sora.cli import doctor_checks

        return getattr(doctor_checks, name)()

    return check
