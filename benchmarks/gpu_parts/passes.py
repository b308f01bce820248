"""A pass of the transformers as the product runs it, compiled and not."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gpu_parts.networks import filled
from gpu_parts.result import GIB, Machine, Result
from passes_parts import rows
from passes_parts.rows import Row
from sora.models.attention import use_fastest_attention
from sora.models.guidance import GuidedTransformer
from sora.models.wan.float8_blocks import convert_blocks_to_float8
from sora.networks.wan.dit import SharedTimesteps, WanDiT
from sora.runtime import float8
from sora.runtime.compile import compile_blocks
from sora.runtime.speed import DEFAULT_SPEED

NAMES = ("Wan 2.2 TI2V-5B, 1280x704, 121 frames", "Wan 2.1 1.3B, 832x480, 81 frames")
TARGETS = {NAMES[0]: 0.85}  # seconds, exact
FAST = {NAMES[0]: 0.65}


def measure(machine: Machine) -> Iterator[Result]:
    rate = matrix_rate(machine)
    yield Result("matrix products, bfloat16", rate, "TFLOP/s")
    for name, row in (rows.TINY if machine.small else {name: rows.CUDA[name] for name in NAMES}).items():
        if not row.guided:
            yield from of(name, row, machine, rate)


def of(name: str, row: Row, machine: Machine, rate: float) -> Iterator[Result]:
    for kind in ("plain", "compiled", "compiled, float8"):
        if machine.small and kind != "plain":
            continue
        torch.compiler.reset()
        with torch.device("meta"):
            network = WanDiT(row.config)
        network = filled(network, machine.device, torch.bfloat16)
        if "float8" in kind:
            if not float8.is_fast(machine.device):
                continue
            convert_blocks_to_float8(network)
        network.fuse_qkv()
        if "compiled" in kind:
            compile_blocks(network.blocks_in_order())
        work = pass_of(network, row, machine)
        first = machine.seconds(work, runs=1, warm_ups=0)
        seconds, peak = machine.seconds(work, runs=3, warm_ups=1), machine.peak(work)
        target = (FAST if "float8" in kind else TARGETS if kind == "compiled" else {}).get(name)
        note = f"{row.teraflop / seconds / rate:.0%} of the matrix rate, first call {first:.1f} s, {peak / GIB:.2f} GiB"
        met = seconds <= target if target and machine.is_cuda else None
        yield Result(f"{name}, {kind}", seconds, "s", f"<= {target} s" if target else "", met, note)
        del network, work


def pass_of(network: WanDiT, row: Row, machine: Machine):
    config, (t, h, w) = row.config, row.shape
    x = torch.randn(1, config.in_channels, t, h, w, device=machine.device, dtype=torch.bfloat16)
    text = torch.randn(1, rows.WORDS, config.text_dim, device=machine.device, dtype=torch.bfloat16)
    times: torch.Tensor | SharedTimesteps = torch.full((1,), 700, device=machine.device)
    if row.per_token_timesteps:
        frame = row.tokens // t
        distinct = torch.tensor([[700, 0]], device=machine.device)
        times = SharedTimesteps(distinct, ((0, frame, 1), (frame, row.tokens, 0)))
    passes = GuidedTransformer(text, cache_text=lambda: True, batch_guidance=lambda: False)

    use_fastest_attention(network, row.shape, machine.device, torch.bfloat16, DEFAULT_SPEED)

    @torch.inference_mode()
    def work() -> torch.Tensor:
        return passes.velocities(lambda: network, x, times, guided=False)

    return work


def matrix_rate(machine: Machine) -> float:
    size = 256 if machine.small else 8192
    a, b = (torch.randn(size, size, device=machine.device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / machine.seconds(lambda: a @ b, runs=10) / 1e12
