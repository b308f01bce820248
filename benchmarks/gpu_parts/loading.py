"""A checkpoint from the page cache to the card."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from gpu_parts.result import Machine, Result
from sora import weights

WIDE = 5120


class Linears(nn.Module):
    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(count)])


def measure(machine: Machine) -> Iterator[Result]:
    count, width = (4, 256) if machine.small else (80, WIDE)
    size = count * width * width * 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        part = torch.randn(width, width).to(torch.bfloat16)
        save_file({f"maps.{i}.weight": part.clone() for i in range(count)}, path)
        for dtype in (torch.bfloat16, torch.float32):
            seconds = machine.seconds(lambda d=dtype: load(path, count, width, machine, d), runs=3, warm_ups=1)
            goal = dtype == torch.bfloat16
            rate = size / seconds / 1e9
            met = rate >= 8 if goal and machine.is_cuda else None
            what = f"bfloat16 to {str(dtype).removeprefix('torch.')}, {size / 1e9:.1f} GB, checked for NaN"
            yield Result(what, rate, "GB/s", ">= 8 GB/s" if goal else "", met)


def load(path: Path, count: int, width: int, machine: Machine, dtype: torch.dtype) -> nn.Module:
    with torch.device("meta"):
        module = Linears(count, width)
    rules = weights.LayoutRules()
    return weights.load_checkpoint(module, path, rules=rules, device=machine.device, dtype=dtype)
