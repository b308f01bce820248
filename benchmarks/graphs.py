"""How many graphs a process compiles for whatever it may be asked in turn: ``python benchmarks/graphs.py``.

One process, a tiny Wan whose sizes do not matter, torch's eager backend on the CPU, with stand-ins for the attention
kernels of a card. Prints a table: what was asked, how many graphs that took, and how many there are by then.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from sora.models.attention import Choice
from sora.models.guidance import GuidedTransformer
from sora.models.wan import float8_blocks
from sora.models.wan.float8_blocks import convert_blocks_to_float8
from sora.networks.layers import attention
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import SharedTimesteps, WanDiT
from sora.networks.wan.vace import WanVACE
from sora.runtime import lora
from sora.runtime.attention_kernels import KERNELS, Kernel
from sora.runtime.compile import compile_blocks
from sora.runtime.offload import offload_blocks
from sora.runtime.parallel.ulysses import UlyssesSequence
from sora.runtime.quantized import quantize_to_float8

SIZES: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "text_dim": 8, "freq_dim": 16, "ffn_dim": 64}
TINY = WanConfig(num_layers=2, heads=2, head_dim=16, **SIZES)
CONTROLLED = replace(TINY, vace_layers=(0,), vace_in_channels=6)
SHAPE, SHORTER, PICTURE = (3, 4, 6), (2, 6, 8), (1, 4, 6)
TOKENS = 18  # of SHAPE
KERNEL, OTHER = "cudnn", "flash"

Change = Callable[[WanDiT], object]


@dataclass
class Asked:
    """What a pass is asked for. times: None for one time for all tokens."""

    shape: tuple[int, int, int] = SHAPE
    windows: int = 1
    batched: bool = False
    times: Any = None
    control: bool = False
    cache_text: bool = True

    @torch.inference_mode()
    def paint(self, network: WanDiT) -> None:
        draw = torch.Generator().manual_seed(1)
        dtype = network.proj_out.weight.dtype
        x, texts = (torch.randn(n, *rest, generator=draw).to(dtype) for n, *rest in self._shapes)
        times = torch.full((self.windows,), 700.0) if self.times is None else self.times
        passes = GuidedTransformer(
            texts, cache_text=lambda: self.cache_text, batch_guidance=lambda: self.batched, samples=self.windows
        )
        more = {"control_BCTHW": torch.randn(1, 6, *self.shape, generator=draw).to(dtype)} if self.control else {}
        passes.velocities(lambda: network, x, times, guided=True, extra_inputs=lambda _: dict(more))

    @property
    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (self.windows, 4, *self.shape), (2 * self.windows, 5, 8)


@dataclass
class Process:
    """Everything that one process is asked in turn. backend: of the compiler."""

    backend: CompileCounterWithBackend
    networks: list[WanDiT] = field(default_factory=list)

    def network(self, *changes: Change, config: WanConfig = TINY, dtype: torch.dtype = torch.float32) -> WanDiT:
        torch.manual_seed(0)
        network = (WanVACE if config.vace_layers else WanDiT)(config).eval().requires_grad_(False).to(dtype)
        for parameter in network.parameters():
            parameter.normal_(std=0.2)
        network.use_attention(*Choice(KERNEL, KERNEL).functions)
        for change in changes:
            change(network)
        compile_blocks(network.blocks_in_order(), backend=self.backend)  # type: ignore[arg-type]
        return network

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """(what was asked, graphs that it took, graphs by then)."""
        before = 0
        for name, work in self._works():
            work()
            yield name, self.backend.frame_count - before, self.backend.frame_count
            before = self.backend.frame_count

    def _works(self) -> Iterator[tuple[str, Callable[[], object]]]:
        network = self.network(WanDiT.fuse_qkv)
        half = ((0, 6, 1), (6, TOKENS, 0))
        times = torch.tensor([[700.0, 0.0]])
        yield "a first film", lambda: Asked().paint(network)
        yield "another length and size", lambda: Asked(SHORTER).paint(network)
        yield "a picture (one frame)", lambda: Asked(PICTURE).paint(network)
        yield "known frames", lambda: Asked(times=SharedTimesteps(times, half)).paint(network)
        yield "a time for each token", lambda: Asked(times=1000 * torch.rand(1, TOKENS)).paint(network)
        yield "prompt and negative prompt at once (batch of 2)", lambda: Asked(batched=True).paint(network)
        yield (
            "two windows at once (2 and 4)",
            lambda: [Asked(windows=2, batched=b).paint(network) for b in (False, True)],
        )
        yield "the same model loaded anew", lambda: Asked().paint(self.network(WanDiT.fuse_qkv))
        yield "not fused (--disable fused)", lambda: Asked().paint(self.network())
        yield "blocks streamed", lambda: Asked(cache_text=False).paint(self.network(_streamed))
        for kernel in KERNELS:
            yield f"attention by {kernel}", lambda k=kernel: Asked().paint(self.network(_attending(k, k)))
        yield "one kernel among tokens, another to text", lambda: Asked().paint(self.network(_attending(KERNEL, OTHER)))
        control = self.network(WanDiT.fuse_qkv, config=CONTROLLED)
        yield (
            "a VACE network, with control and without",
            lambda: [Asked(control=c).paint(control) for c in (True, False)],
        )
        yield "a LoRA merged, and taken away", lambda: [Asked().paint(self.network(*c)) for c in ((_lora,), ())]
        yield "one of several devices (--gpus)", lambda: Asked().paint(self.network(_parallel(_sequence)))
        yield "a second expert there", lambda: Asked().paint(self.network(_parallel(_sequence)))
        yield (
            "another kernel there",
            lambda: Asked().paint(self.network(_parallel(_sequence), _attending(OTHER, OTHER))),
        )
        yield (
            "no kernel chosen (--disable attention)",
            lambda: Asked().paint(self.network(lambda network: network.use_attention(attention, attention))),
        )
        bfloat16 = torch.bfloat16
        yield "in bfloat16 (other numbers)", lambda: Asked().paint(self.network(dtype=bfloat16))
        yield (
            "products in float8 (--speed fast)",
            lambda: Asked().paint(self.network(convert_blocks_to_float8, WanDiT.fuse_qkv, dtype=bfloat16)),
        )
        yield (
            "those streamed",
            lambda: Asked(cache_text=False).paint(self.network(convert_blocks_to_float8, _streamed, dtype=bfloat16)),
        )
        yield "weights kept in float8 (--memory fp8)", lambda: Asked().paint(self.network(_quantized))
        yield (
            "a LoRA on those, and taken away",
            lambda: [Asked().paint(self.network(_quantized, *c)) for c in ((_lora,), ())],
        )
        yield "a LoRA of another rank on those", lambda: Asked().paint(self.network(_quantized, _other_lora))


_sequence = UlyssesSequence()


def _streamed(network: WanDiT) -> None:
    offload_blocks(network.blocks_in_order(), "cpu")


def _attending(own: str, text: str) -> Change:
    return lambda network: network.use_attention(*Choice(own, text).functions)


def _parallel(sequence: UlyssesSequence) -> Change:
    return lambda network: network.parallelize(sequence)


def _quantized(network: WanDiT) -> None:
    for block in network.blocks_in_order():
        quantize_to_float8(block)


def _lora(network: WanDiT, rank: int = 2) -> None:
    width = network.config.dim
    name = "blocks.{}.attn1.to_v.lora_{}.weight"
    shapes = {"A": (rank, width), "B": (width, rank)}
    lora.merge(network, {name.format(n, s): torch.randn(shapes[s]) for n in range(2) for s in shapes})


def _other_lora(network: WanDiT) -> None:
    _lora(network, 3)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Kernels of a card by the names of the real ones, computed by torch on the CPU; every layer is wide enough for
    float8."""
    kernels = {name: Kernel(name, lambda: _plain, device_types=frozenset({"cpu"})) for name in copy.copy(KERNELS)}
    everything = patch.object(float8_blocks, "pays", lambda _: True)
    with patch.dict(KERNELS, kernels), everything:
        yield


def _plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def main() -> None:
    with stand_ins():
        for name, new, total in Process(CompileCounterWithBackend("eager")).rows():
            print(f"{name:<50}{new:>4}{total:>4}", flush=True)


if __name__ == "__main__":
    main()
