"""A pass of VACE 1.3B with references and a control signal, and its memory against the estimate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from gpu_parts.networks import filled
from gpu_parts.result import GIB, Machine, Result
from passes_parts import rows
from sora.models.attention import use_fastest_attention
from sora.models.guidance import GuidedTransformer
from sora.models.wan import transformer_memory
from sora.models.wan.layout import CONFIGS
from sora.models.wan.sizes import Autoencoder, TextEncoder, Transformer, Workload
from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan.vace import WanVACE
from sora.networks.wan.vae import WAN21, WanVAE
from sora.runtime.speed import DEFAULT_SPEED

SHAPE, SMALL_SHAPE = (21, 60, 104), (3, 4, 6)  # latents of 81 frames of 832x480


def measure(machine: Machine) -> Iterator[Result]:
    config = CONFIGS["wan2.1-vace-1.3b"]
    if machine.small:
        config = replace(config, num_layers=2, heads=1, ffn_dim=64, text_dim=32, vace_layers=(0, 1))
    with torch.device("meta"):
        network = WanVACE(config)
    network = filled(network, machine.device, torch.bfloat16)
    network.fuse_qkv()
    t, h, w = SMALL_SHAPE if machine.small else SHAPE
    text = torch.randn(1, rows.WORDS, config.text_dim, device=machine.device, dtype=torch.bfloat16)
    seconds: dict[str, float] = {}
    for what, lead, controlled in (("alone", 0, False), ("control", 0, True), ("3 references", 3, True)):
        shape = (t + lead, h, w)
        use_fastest_attention(network, shape, machine.device, torch.bfloat16, DEFAULT_SPEED)
        x = torch.randn(1, 16, *shape, device=machine.device, dtype=torch.bfloat16)
        control = torch.randn(1, 96, *shape, device=machine.device, dtype=torch.bfloat16) if controlled else None
        passes = GuidedTransformer(text, cache_text=lambda: True, batch_guidance=lambda: False)
        extra = {} if control is None else {"control_BCTHW": control, "control_scale": 1.0}

        @torch.inference_mode()
        def work(x=x, extra=extra, passes=passes) -> torch.Tensor:
            times = torch.full((1,), 700, device=machine.device)
            return passes.velocities(lambda: network, x, times, guided=False, extra_inputs=lambda _: extra)

        seconds[what], peak = machine.seconds(work, runs=3), machine.peak(work)
        yield Result(f"VACE 1.3B, a pass, {what}", seconds[what], "s", note=f"{seconds[what] / seconds['alone']:.2f} x")
        if peak and control is not None:
            estimate = transformer_memory.transformer(workload(network, shape), quantized=False)
            note = f"{peak / GIB:.2f} GiB taken, {estimate / GIB:.2f} estimated"
            share = estimate / peak
            yield Result(f"{what}, estimate", share, "of what is taken", "0.85 to 1.15", 0.85 <= share <= 1.15, note)


def workload(network: WanVACE, shape: tuple[int, int, int]) -> Workload:
    with torch.device("meta"):
        text, vae = UMT5(UMT5Config()), WanVAE(WAN21)
    return Workload(Transformer.of(network), TextEncoder.of(text), Autoencoder.of(vae), (16, *shape), batch=1)
