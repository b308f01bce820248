"""Bytes of live tensors while a network runs on the meta device, which computes nothing and takes no memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from live_bytes import Live
from sora.models.wan.sizes import Autoencoder, TextEncoder, Transformer, Workload
from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import CrossAttnCache, SharedTimesteps
from sora.networks.wan.vace import build_transformer
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.norm_silu import FusedActivation
from sora.runtime.quantized import replace_with_quantized

Shape = tuple[int, int, int]
Run = Callable[[], object]


@torch.inference_mode()
def live_peak(run: Run) -> int:
    with Live() as live:
        run()
    return live.peak


def painting_of(config: WanConfig, shape: Shape, batch: int, number: int) -> Workload:
    """The workload of a checkpoint, from networks on the meta device. number: bytes of a number in the transformer."""
    vae = WAN22 if config.out_channels == 48 else WAN21
    with torch.device("meta"):
        network, umt5, autoencoder = build_transformer(config), UMT5(UMT5Config()), WanVAE(vae)
    return Workload(
        Transformer.of(network, number),
        TextEncoder.of(umt5, number),
        Autoencoder.of(autoencoder, itemsize=number),
        latents=(vae.z_dim, *shape),
        batch=batch,
        itemsize=number,
    )


def transformer_run(
    config: WanConfig,
    shape: Shape,
    needs: Workload,
    *,
    times: Literal["", "runs", "tokens"] = "",
    fused: bool = False,
    keeps_text: bool = False,
    quantized: bool = False,
) -> Run:
    """A pass of the network as a sampler calls it, without the sampler's own tensors. times: whether the first frame
    has a timestep of its own, and how it is known. fused, keeps_text, quantized: as in
    ``transformer_memory.transformer``."""
    number = torch.float32 if needs.itemsize == 4 else torch.bfloat16
    with torch.device("meta"):
        network = build_transformer(config).to(number).eval()
        x = torch.zeros(needs.batch, config.in_channels, *shape, dtype=number)
        t: Tensor | SharedTimesteps = torch.zeros(needs.batch)
        if times:
            first = needs.tokens // shape[0]
            index = torch.zeros(needs.tokens, dtype=torch.long)
            runs = (0, first, 1), (first, needs.tokens, 0)
            t = SharedTimesteps(torch.zeros(needs.batch, 2), runs if times == "runs" else index)
        text: Tensor | CrossAttnCache = torch.zeros(needs.batch, *needs.transformer.text, dtype=number)
        extra_inputs: dict[str, Any] = {}
        if config.vace_layers:
            extra_inputs["control_BCTHW"] = torch.zeros(needs.batch, config.vace_in_channels, *shape, dtype=number)
        if config.image_dim:
            extra_inputs["image_BLD"] = torch.zeros(needs.batch, config.pos_embed_seq_len or 257, config.image_dim)
        network.requires_grad_(False)
        if quantized:
            paths = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
            for path in [path for path in paths if "blocks" in path]:
                replace_with_quantized(network, path, "F8_E4M3", scales=1, dtype=number)
        if fused:
            network.fuse_qkv()
        if keeps_text:
            text = network.cache_context(text, extra_inputs.pop("image_BLD", None))
    return lambda: network(x, t, text, **extra_inputs)


@torch.library.custom_op("sora_tests::write", mutates_args=("out",))
def _write(x: Tensor, gamma: Tensor, out: Tensor) -> None:
    """As a kernel on a card: nothing is made on the way."""


class _OnACard(FusedActivation):
    """The meta device does not keep track of the order in memory."""

    def is_faster(self, x_BCTHW: Tensor) -> bool:
        return True


def vae_runs(
    config: WanVAEConfig,
    shape: Shape,
    number: torch.dtype,
    tile: int | None,
    *,
    latents_at_once: int = 1,
    fused: bool = False,
) -> dict[str, Run]:
    """fused: as in ``Autoencoder``."""
    time, height, width = shape
    with torch.device("meta"):
        network = WanVAE(config).to(number).eval()
        network.activation = _OnACard(_write) if fused else None
        latents = torch.zeros(1, config.z_dim, *shape, dtype=number)
        frames = 1 + config.time * (time - 1)
        pixels = torch.zeros(1, 3, frames, height * config.space, width * config.space, dtype=number)

    def decode() -> None:
        for _ in network.stream(latents, tile, latents_at_once):
            pass

    return {"encode": lambda: network.encode(pixels, tile, latents_at_once), "decode": decode}
