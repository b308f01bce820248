"""A transformer's passes, computed by this process alone or together with others (``runtime.parallel``).

Rank 0 samples. Before a pass it sends the others what they need for theirs: the embeddings of a canvas once, then the
latents and the time of each pass. All run the same code on their own weights, and rank 0 gets the velocity.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from sora.memory import MemoryPlan
from sora.models.guidance import GuidedTransformer
from sora.models.wan.components import Components
from sora.models.wan.conditioning import Conditioning
from sora.models.wan.parallel_decoding import Decode, decode_share
from sora.networks.wan.dit import SharedTimesteps
from sora.runtime.parallel.config import ParallelConfig, config_of_canvas

if TYPE_CHECKING:
    from sora.runtime.parallel.ranks import Ranks
    from sora.runtime.parallel.ulysses import UlyssesSequence
    from sora.runtime.parallel.workers import Workers

Times = Tensor | SharedTimesteps
Retry = Callable[[Callable[[], Any]], Any]
Result = TypeVar("Result")
Predict = Callable[[GuidedTransformer, int, Tensor, Times, Conditioning, bool], Tensor]


@dataclass(frozen=True)
class Expect:
    """A job begins whose passes are predicted to take so many seconds, by which every process chooses to compile."""

    sampling_seconds: float | None


@dataclass(frozen=True)
class Load:
    """Load the first expert's transformer, as the plan says, before it is used."""

    plan: MemoryPlan


@dataclass(frozen=True)
class Bind:
    """A canvas. number: names it in the messages about it. text_BLD, image_1MD, samples: as in ``GuidedTransformer``.
    tokens: that the transformer makes of it. control_latents, control_scales: as in ``Conditioning``. config: how its
    passes are divided. unguided: the same in steps without guidance, where it is guided in others. released: canvases
    that are done with."""

    number: int
    text_BLD: Tensor
    image_1MD: Tensor | None
    samples: int
    tokens: int
    control_latents: Tensor | None
    control_scales: tuple[float, ...]
    config: ParallelConfig
    unguided: ParallelConfig
    released: tuple[int, ...]


@dataclass(frozen=True)
class Pass:
    """What one step needs of the transformer. number: of the canvas. plan: that rank 0 follows; others are as in
    ``Passes.__call__``."""

    number: int
    plan: MemoryPlan
    expert: int
    x: Tensor
    times: Times
    guided: bool


Followed = Load | Pass | Decode
"""Messages that say which memory plan to follow."""


@dataclass(frozen=True)
class State:
    """Asks for what the step caches of a canvas hold. number: of the canvas."""

    number: int


@dataclass(frozen=True)
class Restore:
    """Gives back what ``State`` got. number: of the canvas."""

    number: int
    state: Mapping[str, Tensor]


@dataclass
class Passes:
    """The passes of one canvas, in this process. predict: runs the transformer."""

    transformer: GuidedTransformer
    conditioning: Conditioning
    predict: Predict

    def __call__(self, expert: int, x: Tensor, times: Times, guided: bool) -> Tensor:
        """As ``GuidedTransformer.velocities``. expert: 0 or 1. x, times: of ``Conditioning.model_input``."""
        return self.predict(self.transformer, expert, x, times, self.conditioning, guided)

    def state(self) -> dict[str, Tensor]:
        return self.transformer.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.transformer.restore(state)


@dataclass
class RankPasses:
    """The share of one process in the passes of a canvas. tokens, config, unguided: as in ``Bind``."""

    passes: Passes
    ranks: Ranks
    tokens: int
    config: ParallelConfig
    unguided: ParallelConfig
    _restored: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        halves = self.ranks if self.config.cfg_degree == 2 else None
        self.passes.transformer = replace(self.passes.transformer, halves=halves, mean=self.ranks.sequence.mean)
        self._prompt = self.config  # by which the step cache of the prompt's pass is divided

    def __call__(self, expert: int, x: Tensor, times: Times, guided: bool) -> Tensor | None:
        """The velocity on rank 0; elsewhere nothing of meaning."""
        config = self.config if guided else self.unguided
        self._divide(config)
        return self.passes(expert, x, times, guided) if self.ranks.use(config) else None

    def state(self) -> dict[str, Tensor]:
        """What this process's step caches hold, of all tokens."""
        if self._restored is not None:
            return dict(self._restored)
        return {name: self._sequence(name).gather(each) for name, each in self.passes.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` gave; it is divided once the next pass says how."""
        self._restored = state

    def _divide(self, config: ParallelConfig) -> None:
        """Give each process its share of what the step caches hold, as the next pass divides the tokens."""
        state, self._restored = self._restored, None
        changes = config.ulysses_degree != self._prompt.ulysses_degree
        if state is None and changes and self.passes.transformer.step_cache_threshold:
            state = self._prompts_state()
        self._prompt = config
        if state is not None:
            own = {name: each for name, each in state.items() if self._computes(name)}
            self.passes.restore(
                {name: each[:, self._sequence(name).share_of(self.tokens)] for name, each in own.items()}
            )

    def _computes(self, name: str) -> bool:
        """Whether this process has a part in the pass of this step cache."""
        config = self._prompt if _is_prompts(name) else self.config
        return config.ulysses_degree == self.ranks.size or self.ranks.half == (0 if _is_prompts(name) else 1)

    def _prompts_state(self) -> dict[str, Tensor]:
        """What the step cache of the prompt's pass holds, of all tokens, in every process."""
        own = {
            name: self._sequence(name).gather(each) for name, each in self.passes.state().items() if _is_prompts(name)
        }
        if self._prompt.ulysses_degree == self.ranks.size:
            return own
        # Only the first half has it. The other is sent how many tensors there are, and of how many channels.
        text_BLD, samples = self.passes.transformer.text_BLD, self.passes.transformer.samples
        channels = next((each.shape[-1] for each in own.values()), 0)
        sizes = torch.tensor([len(own), channels], device=text_BLD.device)
        self.ranks.broadcast([sizes])
        number, channels = sizes.tolist()
        names = [f"step cache 0 {samples} {n}" for n in range(number)]
        if self.ranks.half == 1:
            own = {name: text_BLD.new_empty(samples, self.tokens, channels) for name in names}
        self.ranks.broadcast([own[name] for name in names])
        return own

    def _sequence(self, name: str) -> UlyssesSequence:
        """What divides the tokens that a step cache holds."""
        self.ranks.use(self._prompt if _is_prompts(name) else self.config)
        self.ranks.sequence.share_of(self.tokens)
        return self.ranks.sequence


def _share_of(passes: Passes, ranks: Ranks, bind: Bind) -> RankPasses:
    return RankPasses(passes, ranks, bind.tokens, bind.config, bind.unguided)


def _is_prompts(name: str) -> bool:
    """Whether a step cache of ``GuidedTransformer.state`` is that of the prompt's pass."""
    return name.split()[2] == "0"


class SharedPasses:
    """The passes of a canvas on rank 0, together with all workers. As ``Passes``. Where memory runs out in any process,
    the others are started anew and computing goes on under a smaller plan."""

    _numbers = count()

    def __init__(
        self, passes: Passes, workers: Workers, plan: Callable[[], MemoryPlan], retry: Retry, **canvas: Any
    ) -> None:
        """plan: that is followed now. retry: runs what may run out of memory, until a plan is small enough. canvas:
        tokens, heads (of the transformer) and guided (whether there is a negative prompt)."""
        self._passes, self._workers, self._plan, self._retry = passes, workers, plan, retry
        heads = canvas["heads"]
        config = config_of_canvas(workers.size, heads, guided=canvas["guided"])
        unguided = config_of_canvas(workers.size, heads, guided=False)
        assert config is not None and unguided is not None, "the number was checked before they were started"
        transformer, conditioning = passes.transformer, passes.conditioning
        self._bind = Bind(
            next(self._numbers),
            transformer.text_BLD,
            transformer.image_1MD,
            transformer.samples,
            canvas["tokens"],
            conditioning.control_latents,
            conditioning.control_scales,
            config,
            unguided,
            (),
        )
        self._starts = 0  # of the processes that know the canvas
        weakref.finalize(self, workers.released.append, self._bind.number)

    def __call__(self, expert: int, x: Tensor, times: Times, guided: bool) -> Tensor:
        def compute(own: RankPasses) -> Tensor:
            self._workers.send(Pass(self._bind.number, self._plan(), expert, x, times, guided))
            flow = own(expert, x, times, guided)
            assert flow is not None
            return flow

        return self._together(compute)

    def state(self) -> dict[str, Tensor]:
        def gather(own: RankPasses) -> dict[str, Tensor]:
            self._workers.send(State(self._bind.number))
            state = own.state()
            for reply in self._workers.replies():
                state |= {name: each.to(self._workers.device) for name, each in reply.items()}
            return state

        return self._together(gather)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        def divide(own: RankPasses) -> None:
            self._workers.send(Restore(self._bind.number, dict(state)))
            own.restore(state)

        self._together(divide)

    def _together(self, work: Callable[[RankPasses], Result]) -> Result:
        """What this work gives, which all processes do, once all know the canvas."""

        def attempt() -> Result:
            self._workers.recover()
            with self._workers.guarded():
                return work(self._bound())

        return self._retry(attempt)

    def _bound(self) -> RankPasses:
        if self._starts != self._workers.starts:
            self._workers.send(replace(self._bind, released=tuple(self._workers.released)))
            self._workers.released.clear()
            assert self._workers.ranks is not None
            self._own = _share_of(self._passes, self._workers.ranks, self._bind)
            self._starts = self._workers.starts
        return self._own


class Server:
    """Handles rank 0's messages in another process. bind: makes the passes of a canvas."""

    def __init__(self, ranks: Ranks, components: Components, bind: Callable[[Bind], Passes]) -> None:
        self._ranks, self._components, self._bind = ranks, components, bind
        self._canvases: dict[int, RankPasses] = {}

    @torch.inference_mode()
    def __call__(self, message: Any) -> Any:
        if isinstance(message, Followed):
            self._components.apply_plan(message.plan)
        if isinstance(message, Load):
            self._components.expert(0)
        elif isinstance(message, Expect):
            self._components.expect(message.sampling_seconds)
        elif isinstance(message, Decode):
            decode_share(self._components, self._ranks, message)
        elif isinstance(message, Bind):
            self._canvases = {n: each for n, each in self._canvases.items() if n not in message.released}
            self._canvases[message.number] = _share_of(self._bind(message), self._ranks, message)
        elif isinstance(message, Pass):
            self._canvases[message.number](message.expert, message.x, message.times, message.guided)
        elif isinstance(message, Restore):
            self._canvases[message.number].restore(message.state)
        elif isinstance(message, State):
            state = self._canvases[message.number].state()
            leads = self._ranks.half == 1 and self._ranks.rank == self._ranks.size // 2
            return {name: each.cpu() for name, each in state.items() if leads and not _is_prompts(name)}
        return None
