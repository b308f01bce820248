"""A video autoencoder decodes on several devices at once: the ranks of a process group take turns with the chunks of a
clip, and each causal layer's last frames go from rank to rank (``networks.wan.vae_split``).

Each rank runs::

    ring = DecodeRing(group)                              # once; all ranks of torch.distributed together
    chunks = split_chunks(vae, latents, ring, tile)       # the same latents and weights on every rank
    for frames_BCFYX in ring.stream(chunks): ...          # the whole clip on rank 0, nothing on the others

Frames are bit for bit those of one process. A rank waits for the one before it by a layer, not by a chunk, so N ranks
take about a Nth of the time where there are many more chunks than ranks.

An error on one rank leaves the others waiting: whoever started them ends them. An overflow of float16 is no such error;
it is passed on as frames that are not numbers, and raised on rank 0 once all ranks are done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Protocol

import torch.distributed as dist
from torch import Tensor

MAX_WAIT = timedelta(hours=4)
"""For another process in a collective: longer than whoever reads the frames may take. A process that ends is noticed at
once, by its pipe."""


class Chunk(Protocol):
    """A piece of a clip: ``networks.wan.vae.Chunk``."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def decode(self) -> Tensor: ...

    def check(self, frames_BCFYX: Tensor, /) -> Tensor: ...


class DecodeRing:
    """The ranks of a process group in a ring, along which frames are passed (a ``FrameExchange``)."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        """group: of at least two ranks, None for all. To be called by all ranks of torch.distributed together, of this
        group or not, since it makes groups."""
        self._group: Any = group or dist.group.WORLD
        ranks = dist.get_process_group_ranks(self._group)
        self.rank, self.size = dist.get_rank(self._group), len(ranks)
        edges = [(ranks[i], ranks[(i + 1) % self.size]) for i in range(self.size)]
        # A group for each edge and direction: what two ranks send each other in one group waits in one line on NCCL.
        groups: list[Any] = [dist.new_group(list(edge), timeout=MAX_WAIT) for edge in edges]
        self._zero, self._before, self._after = ranks[0], edges[self.rank - 1][0], edges[self.rank][1]
        self._ranks, self._group_before, self._group_after = ranks, groups[self.rank - 1], groups[self.rank]
        self._sent: deque[tuple[dist.Work, Tensor]] = deque()
        self._is_open = True
        self._in_chunk = self._most = 0  # sent for this chunk, and for the chunk that sent the most

    def receive(self, frames_BTHWC: Tensor) -> None:
        dist.recv(frames_BTHWC, self._before, self._group_before)

    def send(self, frames_BTHWC: Tensor) -> None:
        self._post(frames_BTHWC, self._after, self._group_after)

    def stream(self, chunks: Sequence[Chunk]) -> Iterator[Tensor]:
        """The clip's chunks on rank 0, in order, and nothing on the others; each rank decodes its own as this is read.

        Rank 0 decodes its next chunk before it yields those of the others, so that they go on while the caller is busy.
        Where the caller stops early, what is left is decoded all the same, since the others wait for it. Raises as a
        chunk's ``check`` does, on rank 0, once all is decoded.
        """
        self._most = 0
        frames = self._at_zero(chunks) if self.rank == 0 else self._elsewhere(chunks)
        try:
            for number, each in enumerate(frames):
                yield chunks[number].check(each)
        finally:
            if self._is_open:
                for _ in frames:
                    pass

    def close(self) -> None:
        """The group is of no more use: whoever stops reading a clip now waits for nobody."""
        self._is_open = False

    def _at_zero(self, chunks: Sequence[Chunk]) -> Iterator[Tensor]:
        own = self._decoded(chunks[0])
        yield own
        for start in range(1, len(chunks), self.size):
            stop = min(start + self.size - 1, len(chunks))
            if has_own := stop < len(chunks):
                own = self._decoded(chunks[stop])
            yield from (self._received(number, chunks[number], own) for number in range(start, stop))
            if has_own:
                yield own
        self._wait(0)

    def _elsewhere(self, chunks: Sequence[Chunk]) -> Iterator[Tensor]:
        for chunk in chunks[self.rank :: self.size]:
            self._post(self._decoded(chunk).contiguous(), self._zero, self._group)
        self._wait(0)
        yield from ()

    def _decoded(self, chunk: Chunk) -> Tensor:
        self._in_chunk = 0
        frames = chunk.decode()
        self._most = max(self._most, self._in_chunk)
        return frames

    def _received(self, number: int, chunk: Chunk, like: Tensor) -> Tensor:
        frames = like.new_empty(chunk.shape)
        dist.recv(frames, self._ranks[number % self.size], self._group)
        return frames

    def _post(self, tensor: Tensor, rank: int, group: dist.ProcessGroup) -> None:
        """Send without waiting. What was sent a chunk ago has arrived, and is let go."""
        work = dist.isend(tensor, rank, group)
        assert work is not None
        self._sent.append((work, tensor))
        self._in_chunk += 1
        if self._most:
            self._wait(self._most)

    def _wait(self, most: int) -> None:
        """Until at most so many tensors are on their way."""
        while len(self._sent) > most:
            self._sent.popleft()[0].wait()
