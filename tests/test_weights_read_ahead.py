"""Files read ahead in threads: the same bytes in the same order, whatever the sizes of the pieces."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch

from sora.errors import ModelError
from sora.weights.read_ahead import BUFFERS, ReadAhead


@pytest.mark.parametrize("pieces", [1, BUFFERS - 1, BUFFERS, 5 * BUFFERS + 3])
def test_pieces_come_whole_and_in_order(tmp_path: Path, pieces: int) -> None:
    rng = Random(pieces)
    counts = [rng.randint(1, 1000) for _ in range(pieces)]
    data = rng.randbytes(7 + sum(counts))
    (tmp_path / "a").write_bytes(data)
    ahead = ReadAhead(torch.device("cpu"), 1000)
    for _ in range(2):  # buffers are used anew for the next tensor
        read = b"".join(piece.numpy().tobytes() for piece in ahead.pieces(tmp_path / "a", 7, counts))
        assert read == data[7:]
    ahead.close()


def test_a_file_that_ends_too_early_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(1500))
    (tmp_path / "whole").write_bytes(bytes(range(100)))
    ahead = ReadAhead(torch.device("cpu"), 1000)
    with pytest.raises(ModelError, match="short ends too early"):
        list(ahead.pieces(tmp_path / "short", 0, [1000, 1000, 10]))
    (piece,) = ahead.pieces(tmp_path / "whole", 1, [99])
    assert piece.tolist() == list(range(1, 100))
    ahead.close()
