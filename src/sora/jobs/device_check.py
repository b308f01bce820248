"""Comparing a device with the CPU, at several lengths, and what follows for the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date

import torch
from torch import Tensor

from sora import memory
from sora.memory import verdicts
from sora.memory.verdicts import Verdict
from sora.models.device_tests import DeviceTest, device_tests

SECONDS = 120.0
"""Of all comparisons of a device; what would take longer is left out."""

MAX_ERROR, MAX_HALF_ERROR = 0.01, 0.05
"""Relative distance from the CPU's float32 up to which a device computes the same, in float32 and in half precision.
Rounding alone comes to under 1e-5 (1e-3 where a GPU rounds products to TF32), and in bfloat16 to 0.9 %."""

OnStart = Callable[[str], None]


@dataclass
class Comparison:
    """What one test found in one dtype. errors: the relative distance from the CPU, by frames. left_out: frames for
    which time or memory did not suffice."""

    test: str
    dtype: torch.dtype
    errors: dict[int, float] = field(default_factory=dict)
    left_out: list[int] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether all that was compared is the same."""
        most = MAX_ERROR if self.dtype == torch.float32 else MAX_HALF_ERROR
        return all(error <= most for error in self.errors.values())

    @property
    def worst(self) -> float:
        return max((error if error == error else float("inf") for error in self.errors.values()), default=0.0)

    def __str__(self) -> str:
        """For a person, as "decode 2.1 in float32: 9 frames 0.0 %, 33 frames 0.1 %, 81 frames 34 %"."""
        shown = [f"{frames} frames {_percent(error)}" for frames, error in self.errors.items()]
        shown += [f"{frames} frames left out" for frames in self.left_out]
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.test} in {dtype}: {', '.join(shown)}{self._growth}"

    @property
    def _growth(self) -> str:
        """Whether more frames mean more error, where there is too much of it."""
        found = list(self.errors.values())
        grows = len(found) > 1 and found == sorted(found) and found[-1] > 3 * found[0]
        return ", more with every frame" if grows and not self.agrees else ""


def compare(device: torch.device, seconds: float = SECONDS, on_start: OnStart = lambda _: None) -> Iterator[Comparison]:
    """What each test finds in each of its dtypes, as it is found. on_start: called with what is computed next. Raises
    what the device raises, but for memory that runs out."""
    deadline = time.monotonic() + seconds
    tests = device_tests(device, memory.choose_dtype(None, device))
    for number, test in enumerate(tests):
        share = (deadline - time.monotonic()) / (len(tests) - number)
        yield from _compare(test, device, time.monotonic() + share, on_start)


def _compare(test: DeviceTest, device: torch.device, deadline: float, on_start: OnStart) -> list[Comparison]:
    found = [Comparison(test.name, dtype) for dtype in test.dtypes]
    took, before = 0.0, 0
    for frames in test.frames:
        if before and time.monotonic() + took * (frames / before) ** test.grows > deadline:
            for each in found:
                each.left_out.append(frames)
            continue
        on_start(f"{test.name}, {frames} frames")
        began = time.monotonic()
        reference = test.run(frames, torch.device("cpu"), torch.float32).cpu()
        for each in found:
            _add_error(each, test, frames, device, reference)
        took, before = time.monotonic() - began, frames
    return found


def _add_error(found: Comparison, test: DeviceTest, frames: int, device: torch.device, reference: Tensor) -> None:
    try:
        result = test.run(frames, device, found.dtype).cpu()
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        found.left_out.append(frames)
        return
    found.errors[frames] = relative_error(result, reference)


def relative_error(result: Tensor, reference: Tensor) -> float:
    """|result - reference| / |reference|, in float64: a sum of squares in float32 loses what few wrong numbers add."""
    wide = reference.double()
    return float((result.double() - wide).norm() / wide.norm().clamp_min(1e-12))


def verdict_of(device: torch.device, comparisons: list[Comparison]) -> Verdict:
    """What all comparisons mean for the device."""
    wrong = [each for each in comparisons if not each.agrees]
    found = str(max(wrong or comparisons, key=lambda each: each.worst))
    return Verdict(verdicts.identity_of(device.type), not wrong, found, date.today().isoformat())


def _percent(error: float) -> str:
    """0.0 %, 0.1 %, 34 %."""
    if error != error:
        return "not a number"
    return f"{100 * error:.1f} %" if error < 0.1 else f"{100 * error:.0f} %"
