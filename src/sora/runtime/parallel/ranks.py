"""One process's place among those that compute together, and what they exchange: torch.distributed's groups.

Rank 0 is the program itself. NCCL connects CUDA devices, gloo everything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import Tensor

from sora.errors import UsageError
from sora.runtime.parallel.config import ParallelConfig
from sora.runtime.parallel.ulysses import UlyssesSequence
from sora.runtime.parallel_vae import MAX_WAIT, DecodeRing


class Ranks:
    """One of ``size`` processes. rank: which, from 0. sequence: divides the tokens of a pass, once ``use`` was called.

    half: which half of the processes it is in where these compute the two passes of a guided step.
    """

    def __init__(
        self, rank: int, size: int, device: torch.device, store: str, sequence: UlyssesSequence | None = None
    ) -> None:
        """Waits for all other processes. store: a file that is not there yet, the same for all. sequence: of a group
        that this one takes the place of. Raises UsageError where this process belongs to a group already."""
        if dist.is_initialized():
            other = "another session" if _in_group else "another program's group of torch.distributed"
            raise UsageError(f"this process paints for --gpus in {other} already; close that first")
        _in_group.add(self)
        self.rank, self.size, self.device = rank, size, device
        # The end of a process is for ``workers`` to notice: NCCL's own watch would end this one without a word.
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
        if sys.platform == "linux":  # all are on this machine
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        os.environ.setdefault("TORCH_NCCL_SHOW_EAGER_INIT_P2P_SERIALIZATION_WARNING", "false")
        shared = dist.FileStore(store, size)  # pyright: ignore[reportPrivateImportUsage]
        how: dict[str, Any] = {"store": shared, "rank": rank, "world_size": size, "timeout": MAX_WAIT}
        if device.type == "cuda":
            # With its device a process connects at once, and what cannot work fails here; all that two ranks send each
            # other goes through this communicator, where each pair would make one of its own in the midst of a film.
            how["device_id"] = torch.device("cuda", torch.cuda.current_device())
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", **how)
        self._all, *self._halves = [_group(range(size)), *map(_group, _halves(size) if size % 2 == 0 else ())]
        self.half = 0 if size == 1 else rank // max(1, size // 2)
        self.sequence = sequence or UlyssesSequence()
        self.sequence.use(None)

    def use(self, config: ParallelConfig) -> bool:
        """Divide the next pass by this configuration; returns whether this process has a part in it."""
        if config.ulysses_degree == self.size:
            self.sequence.use(self._all)
            return True
        self.sequence.use(self._halves[self.half])
        return config.cfg_degree == 2 or self.half == 0

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Send rank 0's tensors to all others, which have some of the same shapes and dtypes to fill."""
        for tensor in tensors:
            dist.broadcast(tensor.to(self.device).contiguous() if self.rank == 0 else tensor, src=0)

    def join(self, flow: Tensor) -> Tensor:
        """On rank 0, its own half's result followed by the other half's, of the same shape; elsewhere what is given."""
        second = self.size // 2
        if self.rank == 0:
            other = torch.empty_like(flow)
            dist.recv(other, src=second)
            return torch.cat([flow, other])
        if self.rank == second:
            dist.send(flow.contiguous(), dst=0)
        return flow

    @cached_property
    def ring(self) -> DecodeRing:
        """Of all processes, which ask for it at the same time when they do so first."""
        return DecodeRing(self._all)

    def leave(self) -> None:
        """Leave the group, whose other processes are gone."""
        _in_group.discard(self)
        if "ring" in vars(self):
            self.ring.close()
        if not dist.is_initialized():
            return
        if self.device.type == "cuda":
            abort()
        else:
            dist.destroy_process_group()


_in_group: WeakSet[Ranks] = WeakSet()
"""This process's place in a group that was made here; torch.distributed has one group for a process."""


def abort() -> None:
    """End all collectives that wait for a process that is gone. gloo's end by themselves; NCCL's would wait for ever.
    May be called from another thread, and while the main one ends the group itself."""
    end = getattr(dist.distributed_c10d, "_abort_process_group", None)
    if end is not None and dist.is_initialized():
        with suppress(ValueError, AssertionError, RuntimeError):  # ended meanwhile
            end()


def _group(ranks: range) -> Any:
    """The group of these ranks, which all processes must make; of no use to those that are not in it."""
    return dist.new_group(list(ranks), timeout=MAX_WAIT)


def _halves(size: int) -> tuple[range, range]:
    return range(size // 2), range(size // 2, size)
