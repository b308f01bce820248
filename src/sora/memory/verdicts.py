"""What ``sora doctor --deep`` found of this machine's devices, kept in the state folder.

A device that computes something else than the CPU spoils a film without a word. What was found of it holds as long as
device, system, driver and torch are what they were.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

import msgspec

from sora.errors import printable
from sora.storage import atomic, regular, state

TRUST = "SORA_TRUST_DEVICE"
"""The environment variable that names a device to be used whatever was found of it."""

MAX_BYTES, MAX_CHARACTERS = 64 << 10, 400  # of the file, and of a text in it


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a verdict holds for. name: of the device. system: its version, and the driver's. torch: its version."""

    name: str
    system: str
    torch: str


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one device. found: for a person, as "decode: 9 frames 0.0 %, 33 frames 34 %". date: as 2026-11-27."""

    identity: Identity
    agrees: bool
    found: str
    date: str


def verdict_file() -> Path:
    """Where all of them are."""
    return state.folder() / "devices.json"


def identity_of(device: str) -> Identity:
    """Of a device of this machine, by its name in ``memory.DEVICES``."""
    import torch

    name, system = platform.processor() or platform.machine(), platform.platform()
    if device == "cuda":
        name = torch.cuda.get_device_name()
        driver = getattr(torch._C, "_cuda_getDriverVersion", lambda: "")
        system += f", CUDA {torch.version.cuda}, driver for {driver()}"
    elif device == "mps":
        with suppress(AttributeError, RuntimeError):  # an older torch does not tell
            name = torch.backends.mps.get_name()
    return Identity(name, system, str(torch.__version__))


def verdict_on(device: str) -> Verdict | None:
    """What was found of a device, None where nothing was or where the machine has changed since."""
    verdict = _read().get(device)
    if verdict is None or verdict.identity != identity_of(device):
        return None
    found, date = (printable(text, MAX_CHARACTERS) for text in (verdict.found, verdict.date))
    return Verdict(verdict.identity, verdict.agrees, found, date)


def is_trusted(device: str) -> bool:
    """Whether a person insists on a device."""
    return os.environ.get(TRUST, "") == device


def keep(device: str, verdict: Verdict) -> None:
    """Replace what was found of a device. Raises OSError."""
    path = verdict_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, msgspec.json.encode(_read() | {device: verdict}), replace=True)


def _read() -> dict[str, Verdict]:
    """All verdicts, by device. What is damaged counts as not there."""
    try:
        return msgspec.json.decode(regular.read(verdict_file(), MAX_BYTES), type=dict[str, Verdict])
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
        return {}
