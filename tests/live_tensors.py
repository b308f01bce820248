"""Bytes of live tensors while a network runs on the meta device, which computes nothing and takes no memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from sora.models.wan.sizes import Autoencoder, TextEncoder, Transformer, Workload
from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import SharedTimesteps
from sora.networks.wan.vace import build_transformer
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig

Shape = tuple[int, int, int]
Run = Callable[[], object]


class Live(TorchDispatchMode):
    """Counts the bytes of tensors created in its context. peak: the most that were alive at once, on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = {thing.untyped_storage()._cdata for thing in tree_iter((args, kwargs)) if isinstance(thing, Tensor)}
        out = func(*args, **kwargs)
        for thing in tree_iter(out):
            if isinstance(thing, Tensor) and thing.untyped_storage()._cdata not in self._known | inputs:
                self._count(thing.untyped_storage())
        self.peak = max(self.peak, self.now)
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage._cdata)
        self.now += storage.nbytes()
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


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


def transformer_run(config: WanConfig, shape: Shape, needs: Workload, *, times: bool = False) -> Run:
    """A pass of the network as a sampler calls it, without the sampler's own tensors. times: whether the first frame
    has a timestep of its own."""
    number = torch.float32 if needs.itemsize == 4 else torch.bfloat16
    with torch.device("meta"):
        network = build_transformer(config).to(number).eval()
        x = torch.zeros(needs.batch, config.in_channels, *shape, dtype=number)
        t: Tensor | SharedTimesteps = torch.zeros(needs.batch)
        if times:
            first = needs.tokens // shape[0]
            t = SharedTimesteps(torch.zeros(needs.batch, 2), ((0, first, 1), (first, needs.tokens, 0)))
        text = torch.zeros(needs.batch, *needs.transformer.text, dtype=number)
        extra_inputs: dict[str, Any] = {}
        if config.vace_layers:
            extra_inputs["control_BCTHW"] = torch.zeros(needs.batch, config.vace_in_channels, *shape, dtype=number)
        if config.image_dim:
            extra_inputs["image_BLD"] = torch.zeros(needs.batch, config.pos_embed_seq_len or 257, config.image_dim)
    return lambda: network(x, t, text, **extra_inputs)


def vae_runs(config: WanVAEConfig, shape: Shape, number: torch.dtype, tile: int | None) -> dict[str, Run]:
    time, height, width = shape
    with torch.device("meta"):
        network = WanVAE(config).to(number).eval()
        latents = torch.zeros(1, config.z_dim, *shape, dtype=number)
        frames = 1 + config.time * (time - 1)
        pixels = torch.zeros(1, 3, frames, height * config.space, width * config.space, dtype=number)

    def decode() -> None:
        for _ in network.stream(latents, tile):
            pass

    return {"encode": lambda: network.encode(pixels, tile), "decode": decode}
