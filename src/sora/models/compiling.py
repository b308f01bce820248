"""Whether a network's blocks are compiled: where what is asked of a process is long enough for that to save time."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from sora import __version__
from sora.models import compile_cost
from sora.runtime.compile import compile_blocks
from sora.runtime.float8 import MIN_CAPABILITY
from sora.runtime.quantized import QuantizedLinear
from sora.runtime.speed import Speed

DEVICES = ("cuda",)
"""Where blocks are compiled."""

BACKEND = "inductor"

_compiled: set[str] = set()  # graphs that this process has


class Network(Protocol):
    """A network of blocks that can be compiled."""

    def blocks_in_order(self) -> list[nn.Module]: ...


@dataclass
class Compiling:
    """The choice for the networks of one model. expected_seconds: that the passes of all jobs since the model was
    loaded are predicted to take uncompiled; None before the first job, infinite where one is unknown. Both mean that
    blocks are compiled. has_run: whether compiled blocks have run since.
    """

    expected_seconds: float | None = None
    has_run: bool = False

    def expect(self, seconds: float | None) -> None:
        """Add a job whose passes are predicted to take so many seconds uncompiled; None: unknown."""
        self.expected_seconds = (self.expected_seconds or 0.0) + (math.inf if seconds is None else seconds)

    def apply(self, network: Network, device: torch.device, speed: Speed) -> None:
        """Compile the network's blocks if that pays, unless they are compiled already."""
        blocks = network.blocks_in_order()
        if getattr(blocks[0], "graph", None) is not None or not _is_possible(blocks, device, speed):
            return
        compile_cost.choose_folder()
        key = graph_key(blocks[0], device)
        if self.expected_seconds is None or compile_cost.pays(self.expected_seconds, compile_seconds(key)):
            compile_blocks(blocks, BACKEND, lambda: self._ran(key), lambda: compile_cost.discard(key))

    def _ran(self, key: str) -> None:
        self.has_run = True
        remember(key)


def _is_possible(blocks: list[nn.Module], device: torch.device, speed: Speed) -> bool:
    if not speed.uses("compile") or device.type not in DEVICES:
        return False
    converts = device.type != "cuda" or torch.cuda.get_device_capability(device) >= MIN_CAPABILITY
    return converts or not any(_is_float8(module) for block in blocks for module in block.modules())


def _is_float8(module: nn.Module) -> bool:
    """Whether a layer's weight is eight-bit floats, which compiled code converts only where the device does so."""
    return isinstance(module, QuantizedLinear) and module.format.startswith("F8")


def graph_key(block: nn.Module, device: torch.device) -> str:
    """The name of a block's graph: the same for blocks of the same layers, on the same device with the same
    versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    layers = [f"{path} {type(module).__name__}" for path, module in block.named_modules()]
    tensors = [f"{path} {tuple(tensor.shape)} {tensor.dtype}" for path, tensor in block.state_dict().items()]
    lines = [name, torch.__version__, str(torch.version.cuda), __version__, *layers, *tensors]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def compile_seconds(key: str) -> float:
    """What compiling a graph would take in this process: nothing once it has it, little where an earlier process had it
    and torch's cache is still there."""
    return 0.0 if key in _compiled else compile_cost.cost_of(key)


def remember(key: str) -> None:
    """Note that this process has compiled a graph, for itself and for the next ones."""
    _compiled.add(key)
    compile_cost.mark(key)
