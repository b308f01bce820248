"""What ``sora doctor`` looks at that needs torch: each check says a fact, or raises with the problem."""

from __future__ import annotations

import os
import time

import torch

from sora import catalog, memory, models, weights
from sora.engine import engine
from sora.engine.model import Model
from sora.errors import ModelError
from sora.models import attention as attention_choice
from sora.plan import operations

MAX_DIFFERENCE = 0.01  # relative distance of frames up to which two devices paint the same


def torch_version() -> str:
    return str(torch.__version__)


def devices() -> str:
    return f"{', '.join(memory.devices())} (paints on {memory.choose_device(None).type})"


def threads() -> str:
    return f"{torch.get_num_threads()} of {os.cpu_count()} processors"


def attention() -> str:
    """The attention kernels of each device, which are measured where they are not known yet."""
    devices = [torch.device(name) for name in memory.devices()]
    chosen = [attention_choice.summary(device, memory.choose_dtype(None, device)) for device in devices]
    packages = ", ".join(attention_choice.installed_packages()) or "no package of kernels"
    return f"{', '.join(chosen)}; {packages} installed"


def embedded_weights() -> str:
    names = [spec.name for spec in catalog.MODELS.values() if not spec.repo and _load_on_cpu(spec)]
    return f"{', '.join(names)} verified in {weights.ASSETS}"


def _load_on_cpu(spec: catalog.ModelSpec) -> Model:
    return models.load(spec, torch.device("cpu"), torch.float32)


def agreement() -> str:
    """Each device's answer to one small pass against the CPU's. A device that computes something else is not to be
    trusted with a film; some drivers do so without a word."""
    others = [name for name in memory.devices() if name != "cpu"]
    differences = {name: _relative_difference(torch.device(name)) for name in others}
    wrong = [f"{name} by {100 * by:.2g} %" for name, by in differences.items() if not by < MAX_DIFFERENCE]
    if wrong:
        raise ModelError(f"{', '.join(wrong)} away from the CPU on the same pass; paint with --device cpu")
    summary = ", ".join(f"{name} within {by:.0e} of the CPU" for name, by in differences.items())
    return summary or "only the CPU is here, nothing to compare"


def _relative_difference(device: torch.device) -> float:
    """Relative distance of a device's latents from the CPU's, after one step of a small clip; many queries at once, so
    that attention is cut where it is cut in films."""
    spec = catalog.find(catalog.DEFAULT)
    side = 4 * spec.grid.multiple
    plan = operations.generate(("a red balloon",), frames=9, format=spec.format((side, side), spec.defaults.fps))
    settings = engine.Settings.from_spec(spec, 0, steps=1, guidance=1.0)
    clips = [
        torch.cat(list(engine.paint(models.load(spec, where, torch.float32), plan, settings))).float()
        for where in (torch.device("cpu"), device)
    ]
    return float((clips[1] - clips[0]).norm() / clips[0].norm())


def painting() -> str:
    """One step of a small still picture, on the CPU, timed."""
    spec = catalog.find(catalog.DEFAULT)
    model = _load_on_cpu(spec)
    started = time.perf_counter()
    side = 4 * spec.grid.multiple
    settings = engine.Settings.from_spec(spec, 0, steps=1, guidance=1.0)
    plan = operations.image("a red balloon", format=spec.format((side, side), spec.defaults.fps))
    frames = sum(len(chunk) for chunk in engine.paint(model, plan, settings))
    return f"{frames} frame of {side}x{side}, one step, in {time.perf_counter() - started:.2f} s"
