"""The project's own Triton kernels, compiled as they are launched, for cards that need not be there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import triton  # type: ignore[import-not-found]
from torch import Tensor
from triton.backends.compiler import GPUTarget  # type: ignore[import-not-found]
from triton.runtime.jit import JITFunction  # type: ignore[import-not-found]

from kernels_parts.machine_code import WARP, MachineCode
from sora.models.wan.layout import CONFIGS
from sora.networks.wan.vae import WAN21, WAN22
from sora.runtime.float8_triton import quantize_rows_in_triton
from sora.runtime.norm_silu_triton import norm_silu_in_triton

CAPABILITIES = (80, 89, 90, 100, 120)
"""Compute capabilities, ten times the major number and the minor one: Ampere's, Ada's, Hopper's, two of Blackwell's."""

FLOAT8_FROM = 89


@dataclass(frozen=True)
class Target:
    """In place of Triton's driver: a card of this compute capability, which is its number, too, so that Triton keeps
    what it compiles for each apart."""

    capability: int

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, WARP)

    def get_current_device(self) -> int:
        return self.capability

    def get_current_stream(self, _: int) -> int:
        return 0


@contextmanager
def compiling_for(capability: int) -> Iterator[list[Any]]:
    """Kernels that are launched meanwhile are compiled and not run; yields them in order as Triton returns them."""
    compiled, run = [], JITFunction.run

    def compile_only(self: JITFunction, *args: Any, warmup: bool, **options: Any) -> Any:  # noqa: ARG001
        compiled.append(run(self, *args, warmup=True, **options))
        return compiled[-1]

    with patch.dict(vars(triton.runtime.driver)), patch.object(JITFunction, "run", compile_only):
        triton.runtime.driver.set_active(Target(capability))  # type: ignore[arg-type]
        yield compiled


def machine_code(kernel: Any, capability: int) -> MachineCode:
    return MachineCode(kernel.asm["cubin"], capability, kernel.metadata.num_warps, kernel.metadata.shared)


def norms(dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """Launches of the norm and SiLU, one for each kernel that the autoencoders' sizes make."""
    widths: dict[int, int] = {}
    for config in (WAN21, WAN22):
        for base in (config.base_dim, config.decoder_base_dim or config.base_dim):
            for times in config.dim_mult:
                widths.setdefault(triton.next_power_of_2(base * times), base * times)
    return {f"norm and SiLU, {c} channels": lambda c=c: _norm(c, dtype) for c in widths.values()}


def _norm(channels: int, dtype: torch.dtype) -> None:
    x, out = (_frames(frames, channels, dtype) for frames in (4, 6))
    norm_silu_in_triton(x, torch.empty(channels, dtype=dtype, device="meta"), out[:, :, 2:])


def _frames(frames: int, channels: int, dtype: torch.dtype) -> Tensor:
    """(B, C, T, H, W), channels side by side."""
    return torch.empty(1, frames, 60, 104, channels, dtype=dtype, device="meta").permute(0, 4, 1, 2, 3)


def roundings() -> dict[str, Callable[[], object]]:
    """Launches of the rounding to float8, one for each kernel that the transformers' sizes make."""
    widths: dict[tuple[int, bool], int] = {}
    for config in CONFIGS.values():
        for width, gelu in ((config.dim, False), (config.ffn_dim, True)):
            widths.setdefault((triton.next_power_of_2(width), gelu), width)
    return {
        f"rounding of {width} to float8{', after GELU' if gelu else ''}": lambda w=width, g=gelu: _rounding(w, gelu=g)
        for (_, gelu), width in widths.items()
    }


def _rounding(width: int, *, gelu: bool) -> None:
    quantize_rows_in_triton(torch.empty(32760, width, dtype=torch.bfloat16, device="meta"), gelu)


def launches(capability: int) -> dict[str, Callable[[], object]]:
    """All for a card of this compute capability, by name."""
    found = {
        f"{name}, {str(dtype).removeprefix('torch.')}": launch
        for dtype in (torch.float16, torch.bfloat16)
        for name, launch in norms(dtype).items()
    }
    return found | (roundings() if capability >= FLOAT8_FROM else {})
