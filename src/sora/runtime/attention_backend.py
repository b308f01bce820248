"""Which of torch's fused attention kernels is fastest on a device, measured once a process for each dtype.

On NVIDIA's Hopper cuDNN's kernel takes about half to two thirds of the time of torch's default; elsewhere flash
attention is faster. A CPU and MPS have one kernel each.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

CANDIDATES = (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
TOKENS, HEADS, RUNS = 4096, 8, 5  # of the measurement; some twenty milliseconds

Measure = Callable[[SDPBackend, torch.device, torch.dtype, int], "float | None"]
"""Seconds that a kernel takes; None where it does not work there."""


def use_fastest_backend(device: torch.device, dtype: torch.dtype, head_dim: int) -> AbstractContextManager[object]:
    """A context in which attention uses the fastest kernel that fits; the others remain as fallbacks for what it cannot
    do."""
    if device.type != "cuda":
        return nullcontext()
    order = [*_ranked(device, dtype, head_dim), SDPBackend.MATH]
    try:
        return sdpa_kernel(order, set_priority=True)
    except TypeError:  # torch 2.6 knows no order: the fastest, or what works everywhere
        return sdpa_kernel([order[0], SDPBackend.MATH])


@lru_cache(maxsize=16)
def _ranked(device: torch.device, dtype: torch.dtype, head_dim: int) -> tuple[SDPBackend, ...]:
    return rank_backends(device, dtype, head_dim)


def rank_backends(
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    candidates: Sequence[SDPBackend] = CANDIDATES,
    measure: Measure | None = None,
) -> tuple[SDPBackend, ...]:
    """The kernels that work on the device, fastest first."""
    found = {kernel: (measure or time_backend)(kernel, device, dtype, head_dim) for kernel in candidates}
    timed = {kernel: took for kernel, took in found.items() if took is not None}
    return tuple(sorted(timed, key=timed.__getitem__))


def time_backend(kernel: SDPBackend, device: torch.device, dtype: torch.dtype, head_dim: int) -> float | None:
    """Median seconds of one self-attention of ``TOKENS`` tokens; None where the kernel does not support it."""
    q = torch.randn(1, HEADS, TOKENS, head_dim, device=device, dtype=dtype)
    try:
        with sdpa_kernel(kernel), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says at length why a kernel does not apply, and None says enough
            return statistics.median(_once(q) for _ in range(RUNS))
    except RuntimeError:
        return None


def _once(q_BHNK: torch.Tensor) -> float:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    F.scaled_dot_product_attention(q_BHNK, q_BHNK, q_BHNK)
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / 1000
