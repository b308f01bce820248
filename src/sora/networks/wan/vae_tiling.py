"""How a chain of the autoencoder's layers runs: chunk by chunk in time and tile by tile in space, exactly.

Axis letters as in ``vae_layers``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sora.networks.wan.vae_layers import FrameCache, LayerStep, ReceptiveField, Span


@dataclass(frozen=True)
class _Tile:
    """rows, columns: the span before each layer, and after the last."""

    rows: list[Span]
    columns: list[Span]
    past: FrameCache


class TiledLayers:
    """Runs layers over a clip chunk by chunk, on one tile after another, with the same result as on the whole.

    A tile is read with as much context around it as its outputs depend on, and after each layer what no later layer
    needs is cropped. Values near a crop's edge, where a convolution met zeros instead of neighbours, are thus gone
    before the end; at the picture's own borders nothing is cropped, and zeros are right. Each tile has its own
    ``FrameCache``.
    """

    def __init__(
        self,
        steps: Sequence[LayerStep],
        size: tuple[int, int],
        rows: Sequence[Span],
        columns: Sequence[Span],
        past: FrameCache,
    ) -> None:
        """size: (H, W) of what goes in. rows, columns: of the tiles, at the scale of what comes out, covering it. past:
        like those of the tiles."""
        self._steps, self._size = steps, (rows[-1][1], columns[-1][1])
        reaches = [reach for _, reach in steps]
        across = [trace_spans(reaches, span, size[1]) for span in columns]
        self._tiles = [_Tile(trace_spans(reaches, span, size[0]), c, past.new()) for span in rows for c in across]

    def __call__(self, x_BCTHW: Tensor, first: bool) -> Tensor:
        """The next chunk of a clip. first: whether it is the clip's first, which is one frame."""
        for tile in self._tiles:
            tile.past.first = first
        if len(self._tiles) == 1:
            return self._run(x_BCTHW, self._tiles[0])
        whole: Tensor | None = None
        for tile in self._tiles:
            output = self._run(x_BCTHW, tile)
            if whole is None:
                whole = output.new_empty(*output.shape[:3], *self._size)
            _cut(whole, tile.rows[-1], tile.columns[-1]).copy_(output)
        assert whole is not None
        return whole

    def _run(self, x_BCTHW: Tensor, tile: _Tile) -> Tensor:
        x = _cut(x_BCTHW, tile.rows[0], tile.columns[0])
        for i, (step, reach) in enumerate(self._steps):
            x = step(x, tile.past)
            x = _cut(x, *(_within(s[i], s[i + 1], reach.scale) for s in (tile.rows, tile.columns)))
        return x


def trace_spans(reaches: Sequence[ReceptiveField], span: Span, size: int) -> list[Span]:
    """The span needed before each layer of a chain for ``span`` to be right after the last, and ``span`` itself.

    size: of the axis before the first layer.
    """
    sizes = [size]
    for reach in reaches[:-1]:
        sizes.append(int(sizes[-1] * reach.scale))
    spans = [span]
    for reach, length in zip(reversed(reaches), reversed(sizes), strict=True):
        spans.append(reach.input_span(spans[-1], length))
    return spans[::-1]


def _within(given: Span, wanted: Span, zoom: float) -> Span:
    """Where the wanted outputs lie within the outputs that a layer computed from the given inputs."""
    start = int(given[0] * zoom)
    return wanted[0] - start, wanted[1] - start


def _cut(x_BCTHW: Tensor, rows: Span, columns: Span) -> Tensor:
    return x_BCTHW[..., slice(*rows), slice(*columns)]
