"""Small work of each family whose result on a device can be compared with the CPU's, at several lengths.

Faults of drivers and libraries that spoil a film without a word begin at some size: attention matrices of over 2^31
elements, tensors of five axes whose frames have 2^16 places and more (github.com/Comfy-Org/ComfyUI/issues/15793 and
pull/15902 describe both on MPS). So each test has the sizes that matter at its largest length, and no more of the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sora import catalog
from sora.models import family

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class DeviceTest:
    """name: of what is tested, in a word. frames: the lengths, rising. dtypes: of the networks, the one to compare with
    first. run: (frames, device, dtype) to the result, the same random weights and inputs whenever it is called. grows:
    the power of the frames with which its time grows."""

    name: str
    frames: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]
    run: Callable[[int, torch.device, torch.dtype], Tensor]
    grows: float = 1.0


def device_tests(device: torch.device, dtype: torch.dtype) -> list[DeviceTest]:
    """Those of all families that have any, in float32 and in what a family would use there. dtype: of a model on that
    device, unless a person asks for another."""
    first_rows = {spec.family: spec for spec in reversed(catalog.MODELS.values())}
    packages = [family(first_rows[name]) for name in sorted(first_rows)]
    return [test for package in packages for test in getattr(package, "device_tests", _none)(device, dtype)]


def _none(*_: object) -> tuple[DeviceTest, ...]:
    return ()
