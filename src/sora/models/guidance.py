"""Classifier-free guidance: the passes through a transformer for one canvas, conditional and unconditional.

What is the same at every step is computed once here and cached (keys and values of the text). Under ``--speed fast``,
passes and blocks that change little are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor, nn

from sora.catalog.spec import ModelSpec
from sora.runtime.speed import Speed
from sora.runtime.step_cache import FirstBlockCache

MAX_BATCHED_TOKENS = {"cpu": 1024, "cuda": 8192}
"""The most tokens with which both passes of a guided step run as one batch, by device. The CPU's was measured by
``benchmarks/passes.py``, CUDA's calculated: with more tokens a single pass already fills the device."""

BatchRows = tuple[int, int]
Retry = Callable[[Callable[[], Tensor]], Tensor]


class Transformer(Protocol):
    """A transformer that predicts velocities."""

    def __call__(self, x_BCTHW: Tensor, times: Any, text: Any, /, **more: Any) -> Tensor:
        """The velocity. times: in the network's own unit. text: embeddings, or what ``read`` made of them. more:
        image_BLD, image embeddings; skip, a step cache or None; and whatever else the network takes."""
        ...

    def cache_context(self, text_BLD: Tensor, image_BLD: Tensor | None = None) -> Any:
        """Project text and image embeddings to keys and values once for all steps; to be passed in place of the
        text."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class GuidanceHalves(Protocol):
    """Two halves of the processes that paint together, one for each pass of a guided step. half: this process's."""

    half: int

    def join(self, flow: Tensor) -> Tensor:
        """On the first process, the velocities of both halves, one after the other."""
        ...


@dataclass
class GuidedTransformer:
    """A transformer with the embeddings of one canvas.

    text_BLD: embeddings of the prompt, followed by those of the negative prompt where guidance is used. image_1MD:
    image embeddings, if any. cache_text: whether the keys and values of the text are cached between steps; it is called
    at every pass, since offloaded weights cannot be cached for. While any weight is being trained there is no cache.
    batch_guidance: whether both passes of a guided step run as one batch; called likewise. step_cache_threshold: see
    ``runtime.step_cache``; 0 for no step cache. samples: canvases that are sampled at once, as many prompts, and as
    many negative prompts. halves: compute a guided step's passes at the same time, None for one process after another.
    mean: over all tokens, of which this process may have a share.
    """

    text_BLD: Tensor
    image_1MD: Tensor | None = None
    cache_text: Callable[[], bool] = lambda: True
    batch_guidance: Callable[[], bool] = lambda: False
    step_cache_threshold: float = 0.0
    samples: int = 1
    halves: GuidanceHalves | None = None
    mean: Callable[[Tensor], Tensor] = torch.mean
    # Networks are held by weak references, so that a memory plan can free one before it loads the next.
    _text_caches: dict[BatchRows, tuple[ref[Transformer], Any]] = field(default_factory=dict)
    _step_caches: dict[BatchRows, tuple[ref[Transformer], FirstBlockCache]] = field(default_factory=dict)
    _restored: dict[BatchRows, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def velocities(
        self,
        dit: Callable[[], Transformer],
        x_BCTHW: Tensor,
        times: Any,
        *,
        guided: bool,
        retry_on_oom: Retry = lambda work: work(),
        extra_inputs: Callable[[Any], dict[str, Any]] = lambda _: {},
    ) -> Tensor:
        """The velocity under the prompt of each sample, (B, C, T, H, W), or where guided these and those under the
        negative prompts, (2 B, C, T, H, W). The caller combines them. retry_on_oom: runs each pass. extra_inputs:
        further keyword arguments of the network, given the network."""
        n = self.samples
        rows = [(0, n), (n, 2 * n)] if guided else [(0, n)]
        if guided and self.halves is not None:
            own = rows[self.halves.half]
            return self.halves.join(retry_on_oom(lambda: self._forward(dit(), own, x_BCTHW, times, extra_inputs)))
        if guided and self.batch_guidance():
            rows = [(0, 2 * n)]
            if n > 1:  # one sample serves for a whole batch of texts, several do not
                x_BCTHW, times = x_BCTHW.repeat(2, 1, 1, 1, 1), self._for_both(times)
        return torch.cat(
            [retry_on_oom(lambda r=r: self._forward(dit(), r, x_BCTHW, times, extra_inputs)) for r in rows]
        )

    def _for_both(self, times: Any) -> Any:
        """Times of the samples, for both passes; one for all samples stays as it is."""
        return times.repeat(2) if isinstance(times, Tensor) and times.shape == (self.samples,) else times

    def _forward(
        self, dit: Transformer, rows: BatchRows, x: Tensor, times: Any, extra: Callable[[Any], dict[str, Any]]
    ) -> Tensor:
        skip, more = self._step_cache(dit, rows), extra(dit)
        if self.cache_text() and not any(p.requires_grad for p in dit.parameters()):
            return dit(x, times, self._cached_text(dit, rows), step_cache=skip, **more)
        text_BLD, image_BLD = self._text_inputs(rows)
        return dit(x, times, text_BLD, image_BLD=image_BLD, step_cache=skip, **more)

    def _text_inputs(self, rows: BatchRows) -> tuple[Tensor, Tensor | None]:
        text_BLD = self.text_BLD[slice(*rows)]
        return text_BLD, None if self.image_1MD is None else self.image_1MD.expand(len(text_BLD), -1, -1)

    def _cached_text(self, dit: Transformer, rows: BatchRows) -> Any:
        """The projected text for this network. Another network (of two experts) gets its own, and replaces the
        cache."""
        cached = self._text_caches.get(rows)
        if cached is None or cached[0]() is not dit:
            self._text_caches = {r: pair for r, pair in self._text_caches.items() if pair[0]() is dit}
            cached = self._text_caches[rows] = ref(dit), dit.cache_context(*self._text_inputs(rows))
        return cached[1]

    def _step_cache(self, dit: Transformer, rows: BatchRows) -> FirstBlockCache | None:
        if not self.step_cache_threshold:
            return None
        cached = self._step_caches.get(rows)
        if cached is None or cached[0]() is not dit:
            cached = self._step_caches[rows] = ref(dit), FirstBlockCache(self.step_cache_threshold, self.mean)
            if rows in self._restored:
                change, others = self._restored.pop(rows)
                cached[1].state = change.to(self.text_BLD), others.to(self.text_BLD)
        return cached[1]

    def state(self) -> dict[str, Tensor]:
        """What the step caches hold, by name; empty without them."""
        states = {rows: cache.state for rows, (dit, cache) in self._step_caches.items() if dit() is not None}
        return {
            f"step cache {rows[0]} {rows[1]} {n}": each
            for rows, state in states.items()
            if state is not None
            for n, each in enumerate(state)
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` gave, for the network that is called next, in place of what is there."""
        self._restored.clear()
        names = [name.split() for name in state if name.startswith("step cache")]
        for first, last in {(int(words[2]), int(words[3])) for words in names}:
            change, others = (state[f"step cache {first} {last} {n}"] for n in range(2))
            self._restored[first, last] = change, others
            self._step_caches.pop((first, last), None)


def should_batch_guidance(speed: Speed, device: torch.device, tokens: int) -> bool:
    """Whether both passes of a guided step should run as one batch, for a canvas of so many tokens."""
    return speed.uses("batched-guidance") and tokens <= MAX_BATCHED_TOKENS.get(device.type, 0)


def is_guided(spec: ModelSpec, speed: Speed, t: float) -> bool:
    """Whether guidance is used at time t in [0, 1]."""
    return not speed.fast or t >= spec.defaults.guidance_stop


def step_cache_threshold(spec: ModelSpec, speed: Speed) -> float:
    """The threshold of the step cache; 0 for no step cache."""
    return spec.defaults.cache_threshold if speed.fast else 0.0
