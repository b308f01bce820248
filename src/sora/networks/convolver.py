"""What an autoencoder asks of somebody who convolves for it: networks name the layers, how they run is decided outside.

Axis letters: B batch; N frames; C D channels in and out; T frames, F the two before them; H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

Layer = nn.Conv2d | nn.Conv3d
Prepare = Callable[[Tensor], object]
"""Changes frames (..., H, W, C) in place before they are convolved, each place on its own."""


class Convolver(Protocol):
    """Computes 3x3 convolutions, alone or with three causal taps in time, up to rounding as the layer itself does. One
    serves a whole pass, and may keep the memory it works in."""

    def is_faster(self, layer: Layer, height: int, width: int, x: Tensor) -> bool:
        """Whether it can stand for the layer, and pays, on frames of this size. like: the layer's input."""
        ...

    def convolve(
        self,
        layer: Layer,
        x_BCTHW: Tensor,
        *,
        past_BCFHW: Tensor | None = None,
        past_is_zero: bool = False,
        upscale: int = 1,
        prepare: Prepare | None = None,
        residual_BDTHW: Tensor | None = None,
        in_place: bool = False,
    ) -> Tensor:
        """(B, D, T, H, W) of x (B, C, T, H, W), channels side by side in memory, zeros around each frame.

        past_BCFHW: the two frames before, prepared already, and in the end the last two of all; None for a layer
        without time. fresh: that the past is zeros, and need not be read. zoom: 2 has each place of x stand for two by
        two. prepare: done to x first. added_BDTHW: is added to the result. over: the result takes x's place in memory.
        """
        ...

    def convolve_frames(
        self,
        layer: nn.Conv2d,
        x_NCHW: Tensor,
        *,
        prepare: Prepare | None = None,
        residual_NDHW: Tensor | None = None,
    ) -> Tensor:
        """As ``convolved``, of frames on their own: (N, D, H, W)."""
        ...


NewConvolver = Callable[[bool], Convolver]
"""A fresh one for a pass. Its argument: whether transformed weights may be kept with the layers, which pays where a few
frames come at a time, again and again."""
