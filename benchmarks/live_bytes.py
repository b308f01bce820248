"""Bytes of the tensors that are alive while something runs, on whatever device."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class Live(TorchDispatchMode):
    """Counts the bytes of tensors made inside it. peak: the most that stood at once, in any storage, on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = {thing.untyped_storage()._cdata for thing in tree_iter((args, kwargs)) if isinstance(thing, Tensor)}
        out = func(*args, **kwargs)
        for thing in tree_iter(out):
            if isinstance(thing, Tensor) and thing.untyped_storage()._cdata not in self._known | given:
                self._count(thing.untyped_storage())
        self.peak = max(self.peak, self.now)
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage._cdata)
        self.now += storage.nbytes()
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
