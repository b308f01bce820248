"""The gate: rounded to bfloat16, we must be no further from the truth than diffusers is.

The truth is diffusers' network in float32 on the very weights and inputs that the others have in bfloat16. A block is
given the truth's own tokens, rounded, whatever came out of the blocks before it; a pass runs as it is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from passes_parts.networks import ours, pass_inputs, theirs
from passes_parts.rows import Row
from passes_parts.works import OURS, Pass, diffusers_pass

SLACK = 1.02
"""Two sound roundings of the same numbers differ by this much from one seed to the next."""

FLOAT32_APART = 1e-5
"""How far two orders of the same float32 sums may be apart."""


@dataclass(frozen=True)
class Errors:
    """Relative distances to the truth: of every block, and of the pass."""

    blocks: tuple[float, ...]
    whole: float


@dataclass(frozen=True)
class Verdict:
    """Of one variant, all seeds together (root mean square).

    block: the worst ratio of our error to diffusers' of any block, None where blocks were not looked at. whole,
    whole_theirs: errors of the pass. apart: our float32 pass from diffusers' float32 pass.
    """

    variant: str
    block: float | None
    whole: float
    whole_theirs: float
    apart: float

    @property
    def met(self) -> bool:
        return (self.block or 0) <= SLACK and self.whole <= SLACK * self.whole_theirs and self.apart <= FLOAT32_APART


@torch.inference_mode()
def verdicts(row: Row, device: str, seeds: Sequence[int] = (0, 1, 2)) -> Iterator[Verdict]:
    """Of every variant that does something to this row. Blocks are looked at where a pass calls each once."""
    variants = [v for v in OURS if v.applies(row, device)]
    found: dict[str, list[Errors]] = {v.name: [] for v in variants}
    apart: dict[str, list[float]] = {v.name: [] for v in variants}
    limits: list[Errors] = []
    for seed in seeds:
        rounded, inputs = (
            theirs(row.config, device, torch.bfloat16, seed),
            pass_inputs(row, device, torch.bfloat16, seed),
        )
        exact, exactly = copy.deepcopy(rounded).float(), inputs.to(torch.float32)
        truth = _Truth(exact, diffusers_pass(exact, exactly), blocks=not row.guided)
        limits.append(truth.errors(rounded, diffusers_pass(rounded, inputs)))
        for v in variants:
            network = ours(rounded, row.config)
            found[v.name].append(truth.errors(network, v.work(network, inputs)))
            apart[v.name].append(_distance(v.work(ours(exact, row.config), exactly)(), truth.whole))
    for v in variants:
        yield _verdict(v.name, found[v.name], limits, max(apart[v.name]))


def _verdict(name: str, found: Sequence[Errors], limits: Sequence[Errors], apart: float) -> Verdict:
    blocks = range(len(limits[0].blocks))
    worst = max(
        (_together(e.blocks[i] for e in found) / _together(e.blocks[i] for e in limits) for i in blocks), default=None
    )
    return Verdict(name, worst, _together(e.whole for e in found), _together(e.whole for e in limits), apart)


class _Truth:
    """What a float32 network makes of its inputs: the pass, and every block of rounded tokens."""

    def __init__(self, network: nn.Module, work: Pass, *, blocks: bool) -> None:
        self.whole = work()
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.blocks = blocks
        if blocks:
            with _hooked(network, lambda _, x: x.to(torch.bfloat16).float(), self._keep):
                work()

    def _keep(self, x: Tensor, y: Tensor) -> None:
        self.inputs.append(x)
        self.outputs.append(y)

    def errors(self, network: nn.Module, work: Pass) -> Errors:
        """Of a network that computes in bfloat16."""
        found: list[float] = []
        if self.blocks:
            keep = lambda _, y: found.append(_distance(y, self.outputs[len(found)]))  # noqa: E731
            with _hooked(network, lambda i, x: self.inputs[i].to(x), keep):
                work()
        return Errors(tuple(found), _distance(work(), self.whole))


@contextmanager
def _hooked(
    network: Any, enter: Callable[[int, Tensor], Tensor], leave: Callable[[Tensor, Tensor], None]
) -> Iterator[None]:
    """Every block takes what ``enter`` returns for its number and tokens; ``leave`` is called with the tokens before
    and after."""
    handles = []
    for number, block in enumerate(network.blocks):
        before = lambda _, args, i=number: (enter(i, args[0]), *args[1:])  # noqa: E731
        handles.append(block.register_forward_pre_hook(before))
        handles.append(block.register_forward_hook(lambda _, args, y: leave(args[0], y)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def _together(errors: Iterable[float]) -> float:
    """Root mean square."""
    squares = [error**2 for error in errors]
    return math.sqrt(sum(squares) / len(squares))
