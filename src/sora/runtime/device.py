"""Which device this is, and how fast it should be, by what torch and the system say of it."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import dataclass

import torch

from sora.runtime import rates
from sora.runtime.rates import DeviceRates


@dataclass(frozen=True)
class Device:
    """key: what its measurements are kept under. rates: None where nothing is known of such a device."""

    key: str
    rates: DeviceRates | None

    @property
    def usual_rates(self) -> DeviceRates:
        """Its rates, or nominal ones, against which measurements can be kept all the same."""
        return self.rates or rates.NOMINAL


def described(device: torch.device, threads: int | None = None) -> Device:
    """The device as it is here. threads: that a CPU computes with, None for as many as torch takes."""
    if device.type == "cuda":
        return _card(device)
    if device.type == "mps":
        chip = _apple_chip()
        return Device(f"mps {chip}", rates.of_apple(chip))
    capability, count = torch.backends.cpu.get_cpu_capability(), threads or torch.get_num_threads()
    return Device(f"{device.type} {capability}", rates.of_cpu(capability, count))


def _card(device: torch.device) -> Device:
    try:
        card = torch.cuda.get_device_properties(device)
    except (RuntimeError, AssertionError):  # there is none, or no driver
        return Device("cuda", None)
    capability = (card.major, card.minor) if torch.version.cuda else (0, 0)
    return Device(card.name, rates.of_card(card.name, card.multi_processor_count, capability))


def _apple_chip() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=2, check=True).stdout.strip()
    return ""
