"""Which device a model computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sora.errors import UsageError
from sora.memory import verdicts
from sora.memory.verdicts import TRUST, Verdict

if TYPE_CHECKING:
    import torch

DEVICES = ("cuda", "mps", "cpu")  # best first


def devices() -> tuple[str, ...]:
    """What this machine offers, best first. ``cpu`` is always there."""
    import torch

    offered = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return tuple(name for name in DEVICES if offered[name])


def choose_device(name: str | None) -> torch.device:
    """The device called ``name``, or the best there is that agreed with the CPU, as far as it was compared. Raises
    UsageError for one that this machine lacks, and for one that disagreed unless TRUST names it."""
    import torch

    offered = devices()
    if name is None:
        return torch.device(next(each for each in offered if refusal_of(each) is None))
    if name not in offered:
        raise UsageError(f"this machine has no device {name!r} that torch can use; try --device {' or '.join(offered)}")
    if (found := refusal_of(name)) is not None:
        options = f"paint with --device cpu, or insist with {TRUST}={name} in the environment"
        raise UsageError(f"{_finding(name, found)}; {options}; after an update run sora doctor --deep again")
    return torch.device(name)


def refusal_of(name: str) -> Verdict | None:
    """The verdict for which a device is not used, None for one that may be used."""
    found = _disagreement(name)
    return None if verdicts.is_trusted(name) else found


def device_note(name: str | None, device: torch.device) -> str:
    """What a person should know of the choice of ``device`` for a request of ``name``; empty for nothing."""
    found = _disagreement(device.type)
    if found is not None:
        return f"{_finding(device.type, found)}; it is used all the same, since {TRUST} names it"
    if name is not None:
        return ""
    passed_over = [(each, refusal_of(each)) for each in devices()[: devices().index(device.type)]]
    lines = [_finding(each, verdict) for each, verdict in passed_over if verdict is not None]
    return f"painting on {device.type}: {'; '.join(lines)}" if lines else ""


def _disagreement(name: str) -> Verdict | None:
    found = None if name == "cpu" else verdicts.verdict_on(name)
    return None if found is None or found.agrees else found


def _finding(name: str, verdict: Verdict) -> str:
    return f"{name} differed from the CPU on {verdict.date} ({verdict.found})"
