"""``sora doctor``: looks at everything a film needs and says what is missing, one line each."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from sora import __version__, catalog, models, weights
from sora.errors import ModelError, SoraError

if TYPE_CHECKING:
    import torch

    from sora.engine.model import Model

AGREES = 0.01  # relative distance of frames up to which two devices paint the same

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
        "agreement": _agreement,
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
    typer.echo(f"{name.ljust(9)}  {'ok      ' if well else 'problem '}  {first_line}")
    return well


def _torch() -> str:
    import torch

    return torch.__version__


def _devices() -> str:
    from sora import memory

    return f"{', '.join(memory.devices())} (paints on {memory.choose_device(None).type})"


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
    names = [spec.name for spec in catalog.MODELS.values() if not spec.repo and _load(spec)]
    return f"{', '.join(names)} verified in {weights.ASSETS}"


def _load(spec: catalog.ModelSpec) -> Model:
    import torch

    return models.load(spec, torch.device("cpu"), torch.float32)


def _agreement() -> str:
    """Each device's answer to one small pass against the CPU's. A device that computes something else is not to be
    trusted with a film; some drivers do so without a word."""
    import torch

    from sora import memory

    others = [name for name in memory.devices() if name != "cpu"]
    apart = {name: _apart(torch.device(name)) for name in others}
    wrong = [f"{name} by {100 * by:.2g} %" for name, by in apart.items() if not by < AGREES]
    if wrong:
        raise ModelError(f"{', '.join(wrong)} away from the CPU on the same pass; paint with --device cpu")
    told = ", ".join(f"{name} within {by:.0e} of the CPU" for name, by in apart.items())
    return told or "only the CPU is here, nothing to compare"


def _apart(device: torch.device) -> float:
    """Relative distance of a device's latents from the CPU's, after one step of a small clip; many queries at once, so
    that attention is cut where it is cut in films."""
    import torch

    from sora.engine import engine
    from sora.plan import operations

    spec = catalog.find(catalog.DEFAULT)
    side = 4 * spec.grid.multiple
    plan = operations.generate(("a red balloon",), frames=9, form=spec.form((side, side), spec.defaults.fps))
    settings = engine.Settings(0, 1, 1.0, spec.defaults.shift, spec.defaults.step)
    films = [
        torch.cat(list(engine.paint(models.load(spec, where, torch.float32), plan, settings))).float()
        for where in (torch.device("cpu"), device)
    ]
    return float((films[1] - films[0]).norm() / films[0].norm())


def _painting() -> str:
    """One step of a small still picture, on the CPU, timed."""
    from sora.engine import engine
    from sora.plan import operations

    spec = catalog.find(catalog.DEFAULT)
    model = _load(spec)
    started = time.perf_counter()
    side = 4 * spec.grid.multiple
    settings = engine.Settings(0, 1, 1.0, spec.defaults.shift, spec.defaults.step)
    plan = operations.image("a red balloon", form=spec.form((side, side), spec.defaults.fps))
    frames = sum(len(chunk) for chunk in engine.paint(model, plan, settings))
    return f"{frames} frame of {side}x{side}, one step, in {time.perf_counter() - started:.2f} s"
