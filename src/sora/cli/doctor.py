"""``sora doctor``: looks at everything a film needs and says what is missing, one line each."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import typer

from sora import __version__, families, weights
from sora.errors import ModelError, SoraError

Check = Callable[[], str]  # the fact to show; raises with the problem


def doctor() -> None:
    """Check this installation. Versions, devices, ffmpeg, weights, and a tiny painting, timed."""
    checks: dict[str, Check] = {
        "sora": lambda: __version__,
        "python": lambda: ".".join(map(str, sys.version_info[:3])),
        "torch": _torch,
        "devices": _devices,
        "threads": _threads,
        "ffmpeg": _ffmpeg,
        "weights": _weights,
        "painting": _painting,
    }
    well = [_report(name, check) for name, check in checks.items()]
    if not all(well):
        raise typer.Exit(ModelError.exit_code)


def _report(name: str, check: Check) -> bool:
    """Runs one check and prints its line; whether it passed. A doctor must survive whatever it finds."""
    try:
        said, well = check(), True
    except Exception as error:
        said = str(error) if isinstance(error, SoraError) else f"{type(error).__name__}: {error}"
        well = False
    first_line = (said.splitlines() or [""])[0]
    typer.echo(f"{name.ljust(8)}  {'ok      ' if well else 'problem '}  {first_line}")
    return well


def _torch() -> str:
    import torch

    return torch.__version__


def _devices() -> str:
    from sora import placement

    return f"{', '.join(placement.devices())} (paints on {placement.choose_device(None).type})"


def _threads() -> str:
    import torch

    return f"{torch.get_num_threads()} of {os.cpu_count()} processors"


def _ffmpeg() -> str:
    import subprocess

    from imageio_ffmpeg import get_ffmpeg_exe

    program = get_ffmpeg_exe()
    answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=True)
    return f"{' '.join(answer.stdout.split()[:3])} at {program}"


def _weights() -> str:
    names = [spec.name for spec in families.MODELS.values() if not spec.repo and _load(spec)]
    return f"{', '.join(names)} verified in {weights.ASSETS}"


def _load(spec: families.ModelSpec) -> families.Model:
    import torch

    return families.load(spec, torch.device("cpu"), torch.float32)


def _painting() -> str:
    """One step of a small still picture, on the CPU, timed."""
    from sora import engine, operations

    spec = families.find("mini")
    model = _load(spec)
    started = time.perf_counter()
    side = 4 * spec.grid.multiple
    settings = engine.Settings(0, 1, 1.0, spec.defaults.shift, spec.defaults.step, "")
    plan = operations.image("a red balloon", form=spec.form((side, side), spec.defaults.fps))
    frames = sum(len(chunk) for chunk in engine.paint(model, plan, settings))
    return f"{frames} frame of {side}x{side}, one step, in {time.perf_counter() - started:.2f} s"
