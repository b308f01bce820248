"""The numbers of a tensor from its file to its device, in pieces.

Plain reads instead of a memory map: pages of a map count as memory for as long as any tensor of the file lives, so that
casting a file of float32 would cost half as much again.
"""

from __future__ import annotations

from io import FileIO
from typing import TYPE_CHECKING

from sora.errors import ModelError
from sora.weights.held import SIZES, TensorEntry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PIECE = 2**22  # bytes read at a time


class Reader:
    """Reads tensors through one buffer, since buffers that come and go leave holes between tensors that stay."""

    def __init__(self) -> None:
        import torch

        self.buffer = torch.empty(PIECE, dtype=torch.uint8)

    def numbers(self, entry: TensorEntry, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """The tensor in ``dtype`` on ``device``, multiplied by its scale if it has one. Raises ModelError for a file
        that ends too early."""
        import torch

        from sora.weights.formats import FORMATS, unpack_into

        out = torch.empty(entry.shape, dtype=dtype, device=device)
        if FORMATS[entry.format].dtype == dtype and entry.scale is None:
            self._fill(entry, out.view(-1).view(torch.uint8))
            return out
        if not entry.numbers:
            return out
        rows, row = _rows(entry)
        out_RK = out.view(rows, -1)
        scale_R = None if entry.scale is None else self.numbers(entry.scale, torch.float32, device).view(-1)
        step = max(1, PIECE // row)
        with entry.file.open("rb", buffering=0) as file:
            file.seek(entry.start)
            for start in range(0, rows, step):
                rows_read = slice(start, min(rows, start + step))
                bytes_RS = self._next(file, (rows_read.stop - start) * row).view(-1, row).to(device)
                scale = scale_R[rows_read] if scale_R is not None and len(scale_R) > 1 else scale_R
                unpack_into(out_RK[rows_read], bytes_RS, entry.format, scale)
        return out

    def blocks(self, entry: TensorEntry, device: torch.device | str) -> Tensor:
        """A matrix as it stands in the file: uint8, (rows, bytes of a row), on ``device``. Raises as ``numbers``."""
        import torch

        out = torch.empty(entry.shape[0], entry.nbytes // entry.shape[0], dtype=torch.uint8, device=device)
        self._fill(entry, out.view(-1))
        return out

    def _fill(self, entry: TensorEntry, out: Tensor) -> None:
        """The file's bytes into a flat uint8 tensor on any device."""
        with entry.file.open("rb", buffering=0) as file:
            file.seek(entry.start)
            for piece in out.split(PIECE) if len(out) else ():
                if piece.device.type == "cpu":
                    _read_into(file, piece)
                else:
                    piece.copy_(self._next(file, len(piece)))

    def _next(self, file: FileIO, count: int) -> Tensor:
        """The next bytes of a file, good until more are asked for."""
        if count > len(self.buffer):
            self.buffer = self.buffer.new_empty(count)
        piece = self.buffer[:count]
        _read_into(file, piece)
        return piece


def _rows(entry: TensorEntry) -> tuple[int, int]:
    """(rows, bytes of a row): rows along the first axis where they are whole blocks, else one for all."""
    block, size = SIZES[entry.format]
    rows = entry.shape[0] if len(entry.shape) > 1 else 1
    if entry.numbers // rows % block:
        rows = 1
    return rows, entry.numbers // rows // block * size


def _read_into(file: FileIO, piece: Tensor) -> None:
    view = piece.numpy().data
    while view:
        got = file.readinto(view)
        if not got:
            raise ModelError(f"the weights file {file.name} ends too early; download it again")
        view = view[got:]
