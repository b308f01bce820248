"""What a compiled graph of a block takes: tensors alone, whose sizes are all that differs between films, so that one
graph serves them all.

Compilers specialise on the values of integers, on None and on sizes of 1. Hence runs of tokens become an index of each
token, modulations become rows, six for each timestep, of which there are never fewer than six, and samples that share
something get it for each.

Axis letters: B batch; N tokens; U distinct timesteps; R rows, 6 for each sample's distinct timestep; D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

Runs = tuple[tuple[int, int, int], ...]

MODULATIONS = 6  # of a block: shift, scale and gate of attention and of feed-forward


def graph_inputs(
    x_BND: Tensor,
    kv: Sequence[Tensor | None],
    rotary_emb: tuple[Tensor, Tensor],
    modulation_BU6D: Tensor,
    timestep_index: Runs | Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(tokens of every sample; the modulations' rows (R, D); which of the timesteps in the rows each token has, int64
    (B, N)). Arguments as in ``Block.forward``; kv, (B, h, M, k) each, has all samples, while one sample of tokens or
    of modulations may serve for all. The sizes that differ are marked for the compiler, in kv and rotary_emb too."""
    batch, tokens, (samples, distinct) = _batch_of(kv), x_BND.shape[1], modulation_BU6D.shape[:2]
    if timestep_index is None:
        timestep_index = ((0, tokens, 0),) if distinct == 1 else torch.arange(tokens, device=x_BND.device)
    if isinstance(timestep_index, tuple):
        mode = torch.is_inference_mode_enabled()
        index_BN = _index_of_runs(timestep_index, distinct, samples, batch, x_BND.device, mode)
    else:
        index_BN = _for_samples(timestep_index, distinct, samples, batch)
    if len(x_BND) != batch:
        x_BND = x_BND.repeat(batch, 1, 1)
    rows_RD = modulation_BU6D.reshape(-1, modulation_BU6D.shape[-1])
    _mark([x_BND, index_BN], (0, 1))
    _mark(kv, (0, 2))
    _mark([rows_RD, *rotary_emb], (0,))
    return x_BND, rows_RD, index_BN


def _batch_of(kv: Sequence[Tensor | None]) -> int:
    return next(len(each) for each in kv if each is not None)


def _mark(tensors: Iterable[Tensor | None], axes: tuple[int, ...]) -> None:
    for tensor in tensors:
        if tensor is not None:
            torch._dynamo.maybe_mark_dynamic(tensor, axes)


@lru_cache(maxsize=8)
def _index_of_runs(
    runs: Runs, distinct: int, samples: int, batch: int, device: torch.device, in_inference_mode: bool
) -> Tensor:
    """in_inference_mode: whether it is made in that mode; compilers tell such tensors from others."""
    assert in_inference_mode == torch.is_inference_mode_enabled()
    ends = torch.tensor([end - begin for begin, end, _ in runs])
    index_N = torch.tensor([row for *_, row in runs]).repeat_interleave(ends)
    return _for_samples(index_N, distinct, samples, batch).to(device)


def _for_samples(index_N: Tensor, distinct: int, samples: int, batch: int) -> Tensor:
    """(B, N): an index among one sample's timesteps as one among those of all. samples: that have timesteps."""
    first_B1 = torch.arange(batch, device=index_N.device)[:, None] * (distinct if samples > 1 else 0)
    return index_N + first_B1
