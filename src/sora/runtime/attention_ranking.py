"""Which attention kernel is fastest on a device at a size, measured there; and how far each is from torch's default.

Axis letters: B batch; H heads; N queries; M keys; K channels of a head.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sora.runtime.attention_kernels import KERNELS, Kernel
from sora.runtime.attention_op import has_failed, load_kernel

MIN_TOKENS, MAX_TOKENS = 256, 32768
MAX_BYTES = 2**25
"""Of one of the tensors that are measured. At 32,768 tokens this leaves four heads, which still fill the largest
GPU."""

RUNS, MAX_SECONDS = 5, 0.4  # of one kernel's measurement, at most; once a device and size

MAX_ERROR, MAX_EXACT_ERROR = 0.1, 0.02
"""The largest relative distance (of root mean squares) from torch's default with which a kernel is used. float8 e4m3
with a scale for each head comes to 0.05 to 0.06 on the inputs below, rounding in bfloat16 to 0.005: what exceeds these
is broken."""


@dataclass(frozen=True)
class AttentionSize:
    """heads, head_dim; queries, keys: how many, powers of two. The batch is left out: it is more heads, and a device
    that is full gets no fuller."""

    heads: int
    head_dim: int
    queries: int
    keys: int
    dtype: torch.dtype

    def inputs(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Random queries, keys and values of this size, though of fewer heads where these would take much memory. Keys
        lie off centre, differently in each channel, as a network's do. They are laid out as the blocks lay them out."""
        per_head = max(self.queries, self.keys) * self.head_dim * self.dtype.itemsize
        heads = max(1, min(self.heads, MAX_BYTES // per_head))
        source = torch.Generator(device).manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=source, device=device, dtype=torch.float32).to(self.dtype)

        q, k, v = (normal(1, n, heads, self.head_dim).transpose(1, 2) for n in (self.queries, self.keys, self.keys))
        return q, k + normal(1, heads, 1, self.head_dim), v


@dataclass(frozen=True)
class Timing:
    """Of a kernel in ``KERNELS``: its seconds, and its relative distance from torch's default."""

    kernel: str
    seconds: float
    error: float


Timer = Callable[[str, Callable[[], object], torch.device], float]
"""Seconds that a kernel's work takes: its name, the work, the device."""


def round_tokens(count: int) -> int:
    """The nearest power of two on a logarithmic scale, within what is measured."""
    return min(MAX_TOKENS, max(MIN_TOKENS, 2 ** round(math.log2(max(1, count)))))


def candidates(
    device: torch.device, size: AttentionSize, fast: bool, kernels: Mapping[str, Kernel] = KERNELS
) -> tuple[str, ...]:
    """The kernels that are installed and made for this. fast: those that are not exact, too."""
    return tuple(
        name
        for name, kernel in kernels.items()
        if (kernel.exact or fast)
        and not has_failed(name)
        and kernel.takes(device, size.dtype, size.head_dim)
        and kernel.found_in is not None
    )


def rank_kernels(
    device: torch.device,
    size: AttentionSize,
    names: tuple[str, ...],
    timer: Timer | None = None,
) -> tuple[Timing, ...]:
    """Those of the kernels that work on the device and come near enough to torch's default, fastest first. Raises
    torch.OutOfMemoryError where there is no room to measure."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = size.inputs(device)
        expected = F.scaled_dot_product_attention(*inputs)
        found = [_timing_of(name, inputs, expected, timer or seconds_of) for name in names]
    return tuple(sorted((timing for timing in found if timing is not None), key=lambda timing: timing.seconds))


def _timing_of(name: str, inputs: tuple[Tensor, Tensor, Tensor], expected: Tensor, timer: Timer) -> Timing | None:
    """None for a kernel that does not work here or is too far from what is expected."""
    kernel = KERNELS[name]
    try:
        if not kernel.fits(*inputs):
            return None
        function = load_kernel(name)
        error = relative_error(function(*inputs), expected)
        if not error <= (MAX_EXACT_ERROR if kernel.exact else MAX_ERROR):  # NaN is refused, too
            return None
        return Timing(name, timer(name, lambda: function(*inputs), expected.device), error)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a package for another card, another torch or another compiler
        return None


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The root mean square of the difference, over that of what is expected; infinite for another shape."""
    if found.shape != expected.shape:
        return math.inf
    return float((found.float() - expected.float()).norm() / expected.float().norm())


def seconds_of(name: str, work: Callable[[], object], device: torch.device) -> float:  # noqa: ARG001
    """The median of a few runs after one that does not count."""
    _once(work, device)
    began, taken = time.perf_counter(), [_once(work, device)]
    while len(taken) < RUNS and time.perf_counter() - began < MAX_SECONDS:
        taken.append(_once(work, device))
    return statistics.median(taken)


def _once(work: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000
