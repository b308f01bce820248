"""How the passes of a transformer are divided among processes."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PROCESSES = 64


@dataclass(frozen=True)
class ParallelConfig:
    """cfg_degree: 2 where one half of the processes computes the pass of the prompt and the other half that of the
    negative prompt, else 1. ulysses_degree: processes that share the tokens of one pass, and in attention its heads
    (DeepSpeed Ulysses, Jacobs et al., arXiv 2309.14509); called as in diffusers' ``ContextParallelConfig``."""

    cfg_degree: int = 1
    ulysses_degree: int = 1


def choose_config(processes: int, heads: int, *, guided: bool) -> ParallelConfig | None:
    """How so many processes divide the work, None where they cannot. heads: of the transformer, a multiple of the
    Ulysses degree. guided: whether there are two passes a step; they are divided first, since that takes nearly no
    communication."""
    half = processes // 2
    if guided and processes % 2 == 0 and heads % half == 0:
        return ParallelConfig(2, half)
    return ParallelConfig(1, processes) if heads % processes == 0 else None


def config_of_canvas(processes: int, heads: int, *, guided: bool) -> ParallelConfig | None:
    """As ``choose_config``, where half of the processes rest if all of them cannot divide the heads: of a clip that is
    guided, some canvases are not."""
    whole = choose_config(processes, heads, guided=guided)
    return whole or (choose_config(processes // 2, heads, guided=False) if processes % 2 == 0 else None)


def usable_counts(heads: int, *, guided: bool, most: int = 16) -> tuple[int, ...]:
    """The numbers of processes, 2 to ``most``, that can divide the work."""
    return tuple(n for n in range(2, most + 1) if choose_config(n, heads, guided=guided) is not None)
