"""Tokens divided among processes, and attention among all of them: DeepSpeed Ulysses (arXiv 2309.14509).

Outside attention a process has a share of the tokens, with all heads. For attention an all-to-all exchange gives it all
tokens of a share of the heads, and a second one gives back what became of its own tokens. The number of tokens need not
be a multiple of the number of processes; that of the heads must be.

Axis letters: B batch; H heads; N tokens of all processes; n tokens of one; K channels of a head; C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, ClassVar
from weakref import WeakValueDictionary, ref

import torch
import torch.distributed as dist
from torch import Tensor

Attend = Callable[..., Tensor]


class UlyssesSequence:
    """Divides tokens among the processes of a group (``networks.wan.dit.SequenceParallel``); among none until ``use``.

    bytes_sent: by this process, so far.
    """

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = None
        self._rank, self._degree, self._sizes = 0, 1, [0]
        self._attentions: dict[Attend, UlyssesAttention] = {}
        self.bytes_sent = 0

    def use(self, group: dist.ProcessGroup | None) -> None:
        """Divide tokens among these processes from now on; None and a group of one divide nothing."""
        self._group = group
        self._rank = 0 if group is None else dist.get_rank(group)
        self._degree = 1 if group is None else dist.get_world_size(group)

    def share_of(self, tokens: int) -> slice:
        """This process's share of so many tokens. Those of a pass are what ``gather`` and ``attention`` go by."""
        each, rest = divmod(tokens, self._degree)
        self._sizes = [each + (rank < rest) for rank in range(self._degree)]
        begin = sum(self._sizes[: self._rank])
        return slice(begin, begin + self._sizes[self._rank])

    def gather(self, x_BNC: Tensor) -> Tensor:
        """The shares of all processes, (B, N, C)."""
        if self._degree == 1:
            return x_BNC
        longest = max(self._sizes)  # gloo gathers tensors of one size alone
        b, n, c = x_BNC.shape
        padded = x_BNC.new_zeros(b, longest, c)
        padded[:, :n] = x_BNC
        shares = [torch.empty_like(padded) for _ in self._sizes]
        dist.all_gather(shares, padded, group=self._group)
        self.bytes_sent += padded.nbytes * (self._degree - 1)
        return torch.cat([share[:, :size] for share, size in zip(shares, self._sizes, strict=True)], dim=1)

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the numbers of all processes."""
        if self._degree == 1:
            return x.mean()
        total = torch.stack([x.double().sum(), torch.tensor(x.numel(), dtype=torch.float64, device=x.device)])
        dist.all_reduce(total, group=self._group)
        return (total[0] / total[1]).to(x.dtype)

    def attention(self, inner: Attend) -> Attend:
        """Attention among the tokens of all processes, computed through ``inner``, as ``networks.layers.attention``.
        The same object for the same function, so that blocks are compiled once."""
        if inner not in self._attentions:
            self._attentions[inner] = UlyssesAttention(self, inner)
        return self._attentions[inner]

    def attend(self, inner: Attend, q_BHnK: Tensor, k_BHnK: Tensor, v_BHnK: Tensor) -> Tensor:
        """What ``attention(inner)`` computes."""
        if self._degree == 1:
            return inner(q_BHnK, k_BHnK, v_BHnK)
        seen_BHNK = inner(*self._to_heads([q_BHnK, k_BHnK, v_BHnK]))  # unnamed, so that they are freed before
        return self._to_tokens(seen_BHNK)

    def _to_heads(self, tensors_BHnK: list[Tensor]) -> Tensor:
        """All tokens of this process's heads, (S, B, H / degree, N, K). S: of the tensors, which go together."""
        b, h, _, k = tensors_BHnK[0].shape
        own = h // self._degree
        by_heads = torch.stack([x.unflatten(1, (self._degree, own)).movedim(1, 0) for x in tensors_BHnK], dim=1)
        units = [len(tensors_BHnK) * b * own * size * k for size in self._sizes]
        flat = self._exchange(by_heads, [units[self._rank]] * self._degree, units)
        del by_heads  # of which there is no use, and as much as all queries, keys and values
        shares = [each.view(-1, b, own, size, k) for each, size in zip(flat.split(units), self._sizes, strict=True)]
        return torch.cat(shares, dim=3)

    def _to_tokens(self, x_BHNK: Tensor) -> Tensor:
        """All heads of this process's tokens, (B, H, n, K)."""
        b, h, _, k = x_BHNK.shape
        unit, n = b * h * k, self._sizes[self._rank]
        by_tokens = torch.cat([share.reshape(-1) for share in x_BHNK.split(self._sizes, dim=2)])
        flat = self._exchange(by_tokens, [size * unit for size in self._sizes], [n * unit] * self._degree)
        del by_tokens
        return flat.view(self._degree, b, h, n, k).movedim(0, 1).flatten(1, 2)

    def _exchange(self, x: Tensor, sent: list[int], received: list[int]) -> Tensor:
        """sent, received: numbers to and from each process."""
        out = x.new_empty(sum(received))
        arguments: dict[str, Any] = {"output_split_sizes": received, "input_split_sizes": sent}
        dist.all_to_all_single(out, x.contiguous().view(-1), group=self._group, **arguments)
        self.bytes_sent += (sum(sent) - sent[self._rank]) * x.itemsize
        return out


class UlyssesAttention:
    """An ``AttentionFunction`` among the tokens of all processes. A compiler sees it as one operator, without a break
    in its graph."""

    _by_number: ClassVar[WeakValueDictionary[int, UlyssesAttention]] = WeakValueDictionary()
    _numbers: ClassVar[Iterator[int]] = count()

    def __init__(self, sequence: UlyssesSequence, inner: Attend) -> None:
        self.sequence, self.inner = ref(sequence), inner
        number = next(self._numbers)
        self._by_number[number] = self
        with torch.inference_mode(False):  # a compiler tells tensors of that mode from others
            self.number = torch.tensor(number, device="cpu")  # as a tensor, so that a graph serves all functions

    def __call__(self, q_BHnK: Tensor, k_BHnK: Tensor, v_BHnK: Tensor, mask_BM: None = None) -> Tensor:
        """mask_BM: tokens attend to all tokens. Raises ValueError for a mask."""
        if mask_BM is not None:
            raise ValueError("attention among the tokens of several processes takes no mask")
        if torch.compiler.is_compiling():
            return torch.ops.sora.ulysses_attention(q_BHnK, k_BHnK, v_BHnK, self.number)
        return self.attend(q_BHnK, k_BHnK, v_BHnK)

    def attend(self, q_BHnK: Tensor, k_BHnK: Tensor, v_BHnK: Tensor) -> Tensor:
        sequence = self.sequence()
        assert sequence is not None
        return sequence.attend(self.inner, q_BHnK, k_BHnK, v_BHnK)

    @classmethod
    def of(cls, number: int) -> UlyssesAttention:
        return cls._by_number[number]


@torch.library.custom_op(
    "sora::ulysses_attention", mutates_args=(), schema="(Tensor q, Tensor k, Tensor v, Tensor number) -> Tensor"
)
def ulysses_attention(q: Tensor, k: Tensor, v: Tensor, number: Tensor) -> Tensor:
    """By the function of that number."""
    return UlyssesAttention.of(int(number)).attend(q, k, v).contiguous()


@ulysses_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, number: Tensor) -> Tensor:  # noqa: ARG001
    return q.new_empty(q.shape)
