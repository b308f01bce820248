"""Whether a network's blocks are compiled: where what is asked of a process is long enough for that to save time."""

from __future__ import annotations

import hashlib
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from sora import __version__
from sora.runtime.compile import compile_blocks
from sora.runtime.float8 import MIN_CAPABILITY
from sora.runtime.quantized import QuantizedLinear
from sora.runtime.speed import Speed
from sora.storage import cache

DEVICES = ("cuda",)
"""Where blocks are compiled."""

BACKEND = "inductor"

SHARE_SAVED = 0.2
"""The share of a pass that compiling saves: on an H100 0.219 of the 5B's, 0.207 of the 1.3B's (torch 2.11)."""

COLD_SECONDS, CACHED_SECONDS = 20.0, 2.5
"""What the first compiled pass takes longer: 13 to 20 s there, 2.4 s from torch's cache on disk."""

_compiled: set[str] = set()  # graphs that this process has


class Network(Protocol):
    """A network of blocks that can be compiled."""

    def blocks_in_order(self) -> list[nn.Module]: ...


@dataclass
class Compiling:
    """The choice for the networks of one model. expected_seconds: that the passes of all jobs since the model was
    loaded are predicted to take uncompiled; None before the first job, infinite where one is unknown. Both mean that
    blocks are compiled."""

    expected_seconds: float | None = None

    def expect(self, seconds: float | None) -> None:
        """Add a job whose passes are predicted to take so many seconds uncompiled; None: unknown."""
        self.expected_seconds = (self.expected_seconds or 0.0) + (math.inf if seconds is None else seconds)

    def apply(self, network: Network, device: torch.device, speed: Speed, variant: str = "") -> None:
        """Compile the network's blocks if that pays, unless they are compiled already. variant: what distinguishes how
        it runs from other networks of the same layers."""
        blocks = network.blocks_in_order()
        if getattr(blocks[0], "graph", None) is not None or not _is_possible(blocks, device, speed):
            return
        _choose_cache_folder()
        key = graph_key(blocks[0], device, variant)
        if self.expected_seconds is None or self.expected_seconds * SHARE_SAVED >= compile_seconds(key):
            compile_blocks(blocks, BACKEND, lambda: remember(key))


def _is_possible(blocks: list[nn.Module], device: torch.device, speed: Speed) -> bool:
    if not speed.uses("compile") or device.type not in DEVICES:
        return False
    converts = device.type != "cuda" or torch.cuda.get_device_capability(device) >= MIN_CAPABILITY
    return converts or not any(_is_float8(module) for block in blocks for module in block.modules())


def _is_float8(module: nn.Module) -> bool:
    """Whether a layer's weight is eight-bit floats, which compiled code converts only where the device does so."""
    return isinstance(module, QuantizedLinear) and module.format.startswith("F8")


def graph_key(block: nn.Module, device: torch.device, variant: str = "") -> str:
    """The name of a block's graph: the same for blocks of the same layers, on the same device with the same versions.
    variant: as in ``Compiling.apply``."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    layers = [f"{path} {type(module).__name__}" for path, module in block.named_modules()]
    tensors = [f"{path} {tuple(tensor.shape)} {tensor.dtype}" for path, tensor in block.state_dict().items()]
    lines = [name, torch.__version__, str(torch.version.cuda), __version__, variant, *layers, *tensors]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def compile_seconds(key: str) -> float:
    """What compiling a graph would take in this process: nothing once it has it, little where an earlier process had it
    and torch's cache is still there."""
    if key in _compiled:
        return 0.0
    with suppress(OSError):
        if (_markers() / key).is_file() and any((_markers().parent / "fxgraph").iterdir()):
            return CACHED_SECONDS
    return COLD_SECONDS


def remember(key: str) -> None:
    """Note that this process has compiled a graph, with an empty file in torch's cache for the next ones. A folder that
    cannot be written to only costs time."""
    _compiled.add(key)
    with suppress(OSError):
        _markers().mkdir(parents=True, exist_ok=True)
        (_markers() / key).touch()


def _choose_cache_folder() -> None:
    """Let torch keep what it compiles in our cache, unless a person chose another place or it cannot be written to."""
    if not os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        folder = cache.folder() / "compiled"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


def _markers() -> Path:
    """In the folder of torch's cache, so that whoever empties that removes them, too."""
    return Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or cache.folder() / "compiled") / "sora"
