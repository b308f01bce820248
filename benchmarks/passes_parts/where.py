"""Where the time of one pass goes: its kernels by kind, as torch's profiler saw them."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

KINDS: dict[str, str] = {
    "attention": r"attention|flash|fmha|sdpa|attn",
    "matrix products": r"gemm|nvjet|cutlass|cublas|\bmm\b|\bbmm\b|addmm|matmul|linear|convolution|conv3d|mkldnn|splitk",
    "norms, modulation, rotation, activation": r"elementwise|vectorized|triton|norm|reduce|gelu|silu|tanh|sigmoid|pow"
    r"|mul|add|complex|cat|copy|contiguous|clone|Memcpy|stack|_to_|rsqrt|mean|fill|empty",
    "other": r"",
}
"""Kinds of kernels, by what their names hold; the first that fits counts. A compiled kernel is of the third kind, since
products and attention stay kernels of their own."""


def where(work: Callable[[], object], runs: int = 2) -> dict[str, float]:
    """Milliseconds of one run by kind. The work has run before, so that it compiles nothing."""
    cuda = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        for _ in range(runs):
            work()
        if cuda:
            torch.cuda.synchronize()
    found = dict.fromkeys(KINDS, 0.0)
    for event in seen.key_averages():
        found[_kind(event.key)] += _microseconds(event, cuda=cuda) / 1000 / runs
    return found


def _kind(name: str) -> str:
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE))


def _microseconds(event: FunctionEventAvg, *, cuda: bool) -> float:
    """Of a kernel on a GPU, where an operation's own line would count it once more; of an operation itself on a CPU."""
    if not cuda:
        return event.self_cpu_time_total
    on_device = event.device_type == DeviceType.CUDA
    return event.self_device_time_total if on_device else 0.0
