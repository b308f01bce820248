"""Each attention kernel that is installed, at the sizes of Wan's 5B and 1.3B, among tokens and to text: its rate, and
its distance from torch's default."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from gpu_parts.result import Machine, Result
from sora.models.attention import fastest_attention
from sora.networks.layers import attention
from sora.runtime.attention_kernels import KERNELS
from sora.runtime.attention_op import KernelAttention, load_kernel
from sora.runtime.attention_ranking import MAX_ERROR, MAX_EXACT_ERROR, relative_error
from sora.runtime.speed import Speed

HEAD_DIM, TEXT_KEYS = 128, 512
SIZES = ((27_280, 24), (32_760, 12))  # tokens and heads: TI2V-5B at 1280x704, 121 frames; 1.3B at 832x480, 81
SMALL_SIZES = ((300, 2),)


def measure(machine: Machine) -> Iterator[Result]:
    for tokens, heads in SMALL_SIZES if machine.small else SIZES:
        for keys in (tokens, TEXT_KEYS):
            yield from _kernels(machine, tokens, heads, keys)
        yield from _chosen(machine, tokens, heads)


def _kernels(machine: Machine, tokens: int, heads: int, keys: int) -> Iterator[Result]:
    source = torch.Generator(machine.device).manual_seed(0)

    def normal(count: int) -> Tensor:
        made = torch.randn(1, count, heads, HEAD_DIM, generator=source, device=machine.device)
        return made.to(torch.bfloat16).transpose(1, 2)

    q, k, v = normal(tokens), normal(keys), normal(keys)
    name, flops = f"{tokens} x {keys}, {heads} heads", 4 * tokens * keys * heads * HEAD_DIM
    with torch.inference_mode():
        expected = F.scaled_dot_product_attention(q, k, v)
        seconds = machine.seconds(lambda: attention(q, k, v))
        yield Result(f"{name}, torch's default", flops / seconds / 1e12, "TFLOP/s", note=f"{1000 * seconds:.3f} ms")
        for row, kernel in KERNELS.items():
            if machine.is_cuda and not kernel.takes(machine.device, torch.bfloat16, HEAD_DIM):
                continue
            if kernel.found_in is None or not _works(row, q, k, v):
                yield Result(f"{name}, {kernel.name}", 0, "TFLOP/s", note="not installed, or not for this")
                continue
            attend = KernelAttention(row, attention)  # as a block calls it
            error = relative_error(attend(q, k, v), expected)
            seconds = machine.seconds(lambda attend=attend: attend(q, k, v))
            bound = MAX_EXACT_ERROR if kernel.exact else MAX_ERROR
            note = f"{1000 * seconds:.3f} ms, error {error:.2e}"
            target = f"error <= {bound}"
            yield Result(f"{name}, {kernel.name}", flops / seconds / 1e12, "TFLOP/s", target, error <= bound, note)


def _works(row: str, q: Tensor, k: Tensor, v: Tensor) -> bool:
    try:
        load_kernel(row)(q[:, :1], k[:, :1], v[:, :1])
        return KERNELS[row].fits(q, k, v)
    except Exception:  # whatever a package does where it does not work
        return False


def _chosen(machine: Machine, tokens: int, heads: int) -> Iterator[Result]:
    for speed in (Speed(), Speed("fast")):

        def choose(speed: Speed = speed) -> object:
            return fastest_attention(machine.device, torch.bfloat16, heads, HEAD_DIM, tokens, speed)

        seconds = machine.seconds(choose, runs=1, warm_ups=0)
        choice = fastest_attention(machine.device, torch.bfloat16, heads, HEAD_DIM, tokens, speed)
        note = f"chosen: {choice.own} among tokens, {choice.text} to text"
        yield Result(f"{tokens} tokens, {heads} heads, choosing, --speed {speed.mode}", seconds, "s", note=note)
