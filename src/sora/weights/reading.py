"""The numbers of a tensor from its file to its device, in pieces.

Plain reads instead of a memory map: pages of a map count as memory for as long as any tensor of the file lives, so that
casting a file of float32 would cost half as much again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import FileIO
from typing import TYPE_CHECKING

from sora.errors import ModelError
from sora.weights.tensor_entry import SIZES, TensorEntry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sora.weights.read_ahead import ReadAhead

PIECE = 2**22  # bytes read at a time


class Reader:
    """Reads tensors through a few buffers, since buffers that come and go leave holes between tensors that stay. For a
    GPU they are filled in threads while the ones before are copied. Close it at the end, or use it in a with
    statement."""

    def __init__(self) -> None:
        import torch

        self.buffer = torch.empty(PIECE, dtype=torch.uint8)
        self._ahead: ReadAhead | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def numbers(self, entry: TensorEntry, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """The tensor in ``dtype`` on ``device``, multiplied by its scale if it has one. Raises ModelError for a file
        that ends too early."""
        import torch

        from sora.weights.formats import FORMATS, dequantize_into

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
        spans = [slice(start, min(rows, start + step)) for start in range(0, rows, step)]
        pieces = self._pieces(entry, [(span.stop - span.start) * row for span in spans], out.device)
        for span, piece in zip(spans, pieces, strict=True):
            bytes_RS = piece.view(-1, row).to(device, non_blocking=out.is_cuda)
            scale = scale_R[span] if scale_R is not None and len(scale_R) > 1 else scale_R
            dequantize_into(out_RK[span], bytes_RS, entry.format, scale)
        return out

    def blocks(self, entry: TensorEntry, device: torch.device | str) -> Tensor:
        """A matrix as it stands in the file: uint8, (rows, bytes of a row), on ``device``. Raises as ``numbers``."""
        import torch

        out = torch.empty(entry.shape[0], entry.nbytes // entry.shape[0], dtype=torch.uint8, device=device)
        self._fill(entry, out.view(-1))
        return out

    def _fill(self, entry: TensorEntry, out: Tensor) -> None:
        """The file's bytes into a flat uint8 tensor on any device."""
        if out.device.type == "cpu":
            with entry.file.open("rb", buffering=0) as file:
                file.seek(entry.start)
                _read_into(file, out)
            return
        places = out.split(PIECE) if len(out) else ()
        for place, piece in zip(places, self._pieces(entry, [len(p) for p in places], out.device), strict=True):
            place.copy_(piece, non_blocking=out.is_cuda)

    def _pieces(self, entry: TensorEntry, counts: Sequence[int], device: torch.device) -> Iterator[Tensor]:
        """The entry's bytes in pieces of so many, each good until the next is asked for."""
        if device.type == "cuda" and max(counts, default=0) <= PIECE:
            yield from self._read_ahead(device).pieces(entry.file, entry.start, counts)
            return
        with entry.file.open("rb", buffering=0) as file:
            file.seek(entry.start)
            for count in counts:
                yield self._next(file, count)

    def _read_ahead(self, device: torch.device) -> ReadAhead:
        from sora.weights.read_ahead import ReadAhead

        if self._ahead is None:
            self._ahead = ReadAhead(device, PIECE)
        return self._ahead

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
