"""What ``sora doctor`` looks at that needs torch: each check says a fact, or raises with the problem."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from sora import catalog, memory, models, weights
from sora.engine import engine
from sora.engine.model import Model
from sora.errors import ModelError
from sora.jobs import device_check
from sora.memory import verdicts
from sora.models import attention as attention_choice
from sora.plan import operations

NOTHING_TO_COMPARE = "only the CPU is here, nothing to compare"
MAX_DIFFERENCE = 0.01  # relative distance of frames up to which two devices paint the same


def torch_version() -> str:
    return str(torch.__version__)


def devices() -> str:
    refused = "".join(f"; {name} is refused" for name in memory.devices() if memory.refusal_of(name))
    return f"{', '.join(memory.devices())} (paints on {memory.choose_device(None).type}{refused})"


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
    others = _other_devices()
    refused = [line for name in others if (line := _refusal_line(name))]
    if refused:
        raise ModelError("; ".join(refused))
    differences = {name: _relative_difference(torch.device(name)) for name in others}
    wrong = [f"{name} by {100 * by:.2g} %" for name, by in differences.items() if not by < MAX_DIFFERENCE]
    if wrong:
        raise ModelError(f"{', '.join(wrong)} away from the CPU on the same pass; paint with --device cpu")
    summary = (f"{name} within {by:.0e} of the CPU{_deep_note(name)}" for name, by in differences.items())
    return ", ".join(summary) or NOTHING_TO_COMPARE


def _other_devices() -> list[str]:
    return [name for name in memory.devices() if name != "cpu"]


def _refusal_line(name: str) -> str:
    """Why a device is refused; empty for one that is not, or that a person insists on."""
    found = memory.refusal_of(name)
    if found is None:
        return ""
    finding = f"{name} differed from the CPU on {found.date} ({found.found}) and is refused"
    return f"{finding}; sora doctor --deep compares it again"


def _deep_note(name: str) -> str:
    found = verdicts.verdict_on(name)
    if found is None:
        return " (sora doctor --deep compares it at several lengths)"
    return (
        f" (at several lengths, too, on {found.date})" if found.agrees else f" (used since {verdicts.TRUST} names it)"
    )


def deep_agreement(on_start: Callable[[str], None], on_line: Callable[[str], None]) -> str:
    """Compare each device with the CPU at several lengths and keep what was found. on_line: called with each result.
    Raises ModelError for devices that differ, which are refused from then on."""
    others = _other_devices()
    wrong = [line for name in others if (line := _deep_difference(name, on_start, on_line))]
    if wrong:
        raise ModelError(f"{'; '.join(wrong)}; refused from now on, sora paints on {memory.choose_device(None).type}")
    return f"{', '.join(others)} computes what the CPU does" if others else NOTHING_TO_COMPARE


def _deep_difference(name: str, on_start: Callable[[str], None], on_line: Callable[[str], None]) -> str:
    """How a device differs from the CPU; empty where it does not. Raises ModelError where nothing could be compared."""
    comparisons: list[device_check.Comparison] = []
    for comparison in device_check.compare(torch.device(name), on_start=lambda what: on_start(f"{name}: {what}")):
        comparisons.append(comparison)
        on_line(f"{name}: {comparison}")
    if not any(comparison.errors for comparison in comparisons):
        raise ModelError(f"{name} has no memory for any comparison; close other programs and run it again")
    verdict = device_check.verdict_of(torch.device(name), comparisons)
    verdicts.keep(name, verdict)
    return "" if verdict.agrees else f"{name} differs from the CPU ({verdict.found})"


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
