"""The passes of one canvas through a transformer: with the words and, where guided, without them.

What is the same in all passes of a clip is made once here, and what may be left out under ``--speed fast`` is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor, nn

from sora.catalog.spec import ModelSpec
from sora.runtime.speed import Speed
from sora.runtime.step_cache import FirstBlockCache

MAX_BATCHED_TOKENS = {"cpu": 1024, "cuda": 8192}
"""Tokens up to which both passes of a guided step run as one batch, by device. On a CPU measured by
``benchmarks/passes.py``; on CUDA by arithmetic: from there on one pass fills the device."""

BatchRows = tuple[int, int]
Retry = Callable[[Callable[[], Tensor]], Tensor]


class Transformer(Protocol):
    """A network whose passes these are."""

    def __call__(self, x_BCTHW: Tensor, times: Any, text: Any, /, **more: Any) -> Tensor:
        """The velocity. times: as the network takes them. text: the encoder's, or what ``read`` made of it. more:
        image_BLD, of pictures; skip, a step cache or None; and what else the network takes."""
        ...

    def read(self, text_BLD: Tensor, image_BLD: Tensor | None = None) -> Any:
        """Text and pictures for all passes of a clip, to be given in place of the text."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


@dataclass
class GuidedTransformer:
    """text_BLD: what is asked for first, and what is steered away from second, where guided. image_1MD: of pictures.
    once: whether keys and values of the text are kept from pass to pass, asked at each; not where weights come and go,
    and never where any of them learns. together: whether both passes are one batch, asked likewise. threshold: of the
    step cache, 0 for none.
    """

    text_BLD: Tensor
    image_1MD: Tensor | None = None
    cache_text: Callable[[], bool] = lambda: True
    batch_guidance: Callable[[], bool] = lambda: False
    step_cache_threshold: float = 0.0
    # Networks by weak references: the memory plan lets one go before it loads the next.
    _text_caches: dict[BatchRows, tuple[ref[Transformer], Any]] = field(default_factory=dict)
    _step_caches: dict[BatchRows, tuple[ref[Transformer], FirstBlockCache]] = field(default_factory=dict)

    def velocities(
        self,
        dit: Callable[[], Transformer],
        x_1CTHW: Tensor,
        times: Any,
        *,
        guided: bool,
        retry_on_oom: Retry = lambda work: work(),
        extra_inputs: Callable[[Any], dict[str, Any]] = lambda _: {},
    ) -> Tensor:
        """Velocities (1, C, T, H, W) of the words, or (2, ...) with that of none behind it. frugal: what every pass is
        run by. more: else for the network."""
        rows = [(0, 1), (1, 2)] if guided else [(0, 1)]
        if guided and self.batch_guidance():
            rows = [(0, 2)]
        return torch.cat(
            [retry_on_oom(lambda r=r: self._forward(dit(), r, x_1CTHW, times, extra_inputs)) for r in rows]
        )

    def _forward(
        self, dit: Transformer, rows: BatchRows, x: Tensor, times: Any, extra: Callable[[Any], dict[str, Any]]
    ) -> Tensor:
        skip, more = self._step_cache(dit, rows), extra(dit)
        if self.cache_text() and not any(p.requires_grad for p in dit.parameters()):
            return dit(x, times, self._cached_text(dit, rows), skip=skip, **more)
        text_BLD, image_BLD = self._text_inputs(rows)
        return dit(x, times, text_BLD, image_BLD=image_BLD, skip=skip, **more)

    def _text_inputs(self, rows: BatchRows) -> tuple[Tensor, Tensor | None]:
        text_BLD = self.text_BLD[slice(*rows)]
        return text_BLD, None if self.image_1MD is None else self.image_1MD.expand(len(text_BLD), -1, -1)

    def _cached_text(self, dit: Transformer, rows: BatchRows) -> Any:
        """Made anew for another network, whose predecessor's is then let go."""
        held = self._text_caches.get(rows)
        if held is None or held[0]() is not dit:
            self._text_caches = {r: pair for r, pair in self._text_caches.items() if pair[0]() is dit}
            held = self._text_caches[rows] = ref(dit), dit.read(*self._text_inputs(rows))
        return held[1]

    def _step_cache(self, dit: Transformer, rows: BatchRows) -> FirstBlockCache | None:
        if not self.step_cache_threshold:
            return None
        held = self._step_caches.get(rows)
        if held is None or held[0]() is not dit:
            held = self._step_caches[rows] = ref(dit), FirstBlockCache(self.step_cache_threshold)
        return held[1]


def should_batch_guidance(speed: Speed, device: torch.device, tokens: int) -> bool:
    """Whether both passes of a guided step run as one batch."""
    return speed.uses("batched-guidance") and tokens <= MAX_BATCHED_TOKENS.get(device.type, 0)


def is_guided(spec: ModelSpec, speed: Speed, t: float) -> bool:
    """Whether guidance pushes at this time in [0, 1]."""
    return not speed.fast or t >= spec.defaults.guided_from


def step_cache_threshold(spec: ModelSpec, speed: Speed) -> float:
    """Of the step cache; 0 for none."""
    return spec.defaults.near if speed.fast else 0.0
