"""Blocks compiled: what the first pass takes, what sizes as symbols cost, and what compiling saves where blocks are
streamed out of CPU memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from gpu_parts.networks import filled
from gpu_parts.passes import pass_of
from gpu_parts.result import Machine, Result
from passes_parts import rows
from passes_parts.rows import Row
from sora.networks.wan import graph_inputs
from sora.networks.wan.dit import WanDiT
from sora.runtime.compile import compile_blocks
from sora.runtime.offload import offload_blocks

NAME = "Wan 2.1 1.3B, 832x480, 81 frames"
MAX_GRAPHS = 1  # of films of one sample, whatever their lengths
MAX_SYMBOLS_COST = 1.01  # times a pass whose sizes are constants
MAX_COMPILED_SHARE = 0.85  # of a streamed pass that is not compiled
MAX_DISTANCE = 0.02  # between compiled and not, relative to the velocity's size, in bfloat16

Pass = Callable[[], Tensor]


def measure(machine: Machine) -> Iterator[Result]:
    row = rows.TINY["tiny"] if machine.small else rows.CUDA[NAME]
    with torch.device("meta"):
        network = WanDiT(row.config)
    network = filled(network, machine.device, torch.bfloat16)
    work = pass_of(network, row, machine)
    wanted, plain = work(), machine.seconds(work, runs=3, warm_ups=1)
    yield Result("a pass, not compiled", plain, "s")
    with empty_cache_on_disk():
        yield from _first_passes(network, work, wanted, machine)
        seconds = machine.seconds(work)
        constant = _with_constant_sizes(network, work, machine)
        share, note = seconds / constant, f"{seconds:.4g} s, with constants {constant:.4g} s"
        yield _judged("a compiled pass whose sizes are symbols", share, "x", MAX_SYMBOLS_COST, machine, note)
        yield from _other_lengths(network, row, machine)
        yield from _streamed(network, work, machine)


@contextmanager
def empty_cache_on_disk() -> Iterator[None]:
    """A cache of compiled code of one's own, at first empty."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"TORCHINDUCTOR_CACHE_DIR": folder}):
        torch.compiler.reset()
        yield
        torch.compiler.reset()


def recompile(network: WanDiT) -> None:
    """Forget all graphs in memory, and compile the blocks when they run next."""
    torch.compiler.reset()
    counters.clear()
    compile_blocks(network.blocks_in_order())


def _first_passes(network: WanDiT, work: Pass, wanted: Tensor, machine: Machine) -> Iterator[Result]:
    for cache in ("cold", "warm"):
        recompile(network)
        yield Result(f"first compiled pass, cache {cache}", machine.seconds(work, runs=1, warm_ups=0), "s")
    distance = ((work() - wanted).float().norm() / wanted.float().norm()).item()
    yield _judged("compiled against not, relative distance", distance, "", MAX_DISTANCE, machine)


def _with_constant_sizes(network: WanDiT, work: Pass, machine: Machine) -> float:
    """Seconds of a pass whose graph is of this number of tokens alone."""
    with patch.object(graph_inputs, "_mark", lambda *_: None):
        recompile(network)
        seconds = machine.seconds(work)
    recompile(network)
    work()
    return seconds


def _other_lengths(network: WanDiT, row: Row, machine: Machine) -> Iterator[Result]:
    """First passes of other lengths and of another size, and how many graphs there are by then."""
    t, h, w = row.shape
    for frames, height in ((t // 2 + 1, h), (t // 3 + 1, h), (t // 2 + 1, h // 2)):
        shape = frames, height // 2 * 2, w
        work = pass_of(network, replace(row, shape=shape), machine)
        seconds, tokens = machine.seconds(work, runs=1, warm_ups=0), replace(row, shape=shape).tokens
        yield Result(f"first compiled pass of {tokens:,} tokens", seconds, "s")
    graphs = counters["stats"]["unique_graphs"]
    yield Result("graphs of all these", graphs, target=f"<= {MAX_GRAPHS}", met=graphs <= MAX_GRAPHS)


def _streamed(network: WanDiT, work: Pass, machine: Machine) -> Iterator[Result]:
    with offload_blocks(network.blocks_in_order(), machine.device):
        recompile(network)
        compiled = machine.seconds(work)
        for block in network.blocks:
            block.graph = None  # type: ignore[assignment]
        plain = machine.seconds(work, runs=3)
    note = f"{compiled:.4g} s, not compiled {plain:.4g} s"
    yield _judged("a streamed pass compiled, against not", compiled / plain, "x", MAX_COMPILED_SHARE, machine, note)


def _judged(what: str, value: float, unit: str, most: float, machine: Machine, note: str = "") -> Result:
    return Result(what, value, unit, f"<= {most}", value <= most if machine.is_cuda else None, note)
