"""Objects that hold tensors, between processes: the object over a pipe, its tensors by a broadcast.

The processes are the program's own and nobody else has their pipes, so that what comes over one may be unpickled.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch import Tensor


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.tensors: list[Tensor] = []

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return None
        self.tensors.append(obj)
        return tuple(obj.shape), obj.dtype


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, device: torch.device) -> None:
        super().__init__(io.BytesIO(data))
        self.tensors: list[Tensor] = []
        self._device = device

    def persistent_load(self, pid: Any) -> Tensor:
        shape, dtype = pid
        self.tensors.append(torch.empty(shape, dtype=dtype, device=self._device))
        return self.tensors[-1]


def packed(message: object) -> tuple[bytes, list[Tensor]]:
    """(the message without its tensors, the tensors in order)."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(message)
    return file.getvalue(), pickler.tensors


def unpacked(data: bytes, device: torch.device) -> tuple[Any, list[Tensor]]:
    """(the message, its tensors on the device, which are still to be filled)."""
    unpickler = _Unpickler(data, device)
    return unpickler.load(), unpickler.tensors
