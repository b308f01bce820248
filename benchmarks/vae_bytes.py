"""Bytes that the autoencoders move for a frame at true size, by operation: ``python benchmarks/vae_bytes.py``.

Counted on the meta device in bfloat16: all that operations read and write, views left out. With the kernel for norms,
and step by step.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.norm_silu import FusedActivation

SIZES = {"2.1, 832x480": (WAN21, 60, 104), "2.2, 1280x704": (WAN22, 44, 80)}
FREE = ("empty", "new_empty", "detach")


class Moved(TorchDispatchMode):
    """Counts the bytes that each operation reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        read = [thing for thing in tree_iter((args, kwargs)) if isinstance(thing, Tensor)]
        written = [thing for thing in tree_iter(found) if isinstance(thing, Tensor)]
        name = str(func).split(".")[1]
        mutates = func._schema.is_mutable
        is_view = bool(read and written) and not mutates and _storage(read[0]) == _storage(written[0])
        if not is_view and not name.startswith(FREE):
            reads = read[1:] if name == "copy_" else read
            self.bytes[name] += sum(each.numel() * each.itemsize for each in (*reads, *written))
        return found


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@torch.library.custom_op("sora_benchmarks::norm_silu", mutates_args=("out",))
def _norm_silu(x: Tensor, gamma: Tensor, out: Tensor) -> None:
    """As the kernel: reads its input once and writes its result."""


class _Fused(FusedActivation):
    """The meta device does not keep track of the order in memory."""

    def is_faster(self, x_BCTHW: Tensor) -> bool:  # noqa: ARG002
        return True


def _fused(x: Tensor, gamma: Tensor, out: Tensor) -> None:
    _norm_silu(x, gamma, out)


@torch.inference_mode()
def moved(config: WanVAEConfig, h: int, w: int, direction: str, *, fused: bool) -> Counter[str]:
    """GB a frame by operation, of the chunks after the first two."""
    with torch.device("meta"):
        network = WanVAE(config).bfloat16().eval().in_channels_last()
        latents = torch.zeros(1, config.z_dim, 4, h, w, dtype=torch.bfloat16)
        pixels = torch.zeros(1, 3, 13, h * config.space, w * config.space, dtype=torch.bfloat16)
    network.activation = _Fused(_fused) if fused else None
    if direction == "decode":
        stream = network.stream(latents)
        for _ in range(2):
            next(stream)
        with Moved() as found:
            frames = next(stream).shape[2]
    else:
        frames = pixels.shape[2]
        with Moved() as found:
            network.encode(pixels)
    return Counter({name: count / frames / 1e9 for name, count in found.bytes.items()})  # type: ignore[misc]


def main() -> None:
    for name, (config, h, w) in SIZES.items():
        for direction in ("decode", "encode"):
            for fused in (False, True):
                found = moved(config, h, w, direction, fused=fused)
                most = ", ".join(f"{operation} {count:.2f}" for operation, count in found.most_common(6))
                how = "one kernel" if fused else "step by step"
                print(f"{name}, {direction}, {how:12} {sum(found.values()):6.2f} GB a frame: {most}")


if __name__ == "__main__":
    main()
