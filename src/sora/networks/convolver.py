"""The interfaces of 3x3 convolutions and of what comes before them: networks name the layers, and how they are computed
is decided outside.

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
    """Computes 3x3 convolutions, alone or with three causal taps in time, equal to the layer itself up to rounding. One
    serves a whole pass and may keep its working memory."""

    def is_faster(self, layer: Layer, height: int, width: int, x: Tensor) -> bool:
        """Whether it can replace the layer, and is faster, on frames of this size. x: the layer's input."""
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
        """Convolve x (B, C, T, H, W) to (B, D, T, H, W), channels last in memory, with zeros around each frame.

        past_BCFHW: the two frames before, prepared already; it is overwritten with the last two of all. None for a
        layer without time. past_is_zero: the past is zeros and need not be read. upscale: 2 repeats each position of x
        two by two (nearest neighbour). prepare: applied to x first. residual_BDTHW: is added to the result. in_place:
        the result may overwrite x.
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
        """As ``convolve``, for independent frames: (N, D, H, W)."""
        ...


NewConvolver = Callable[[bool], Convolver]
"""A fresh one for a pass. Its argument: whether transformed weights may be kept with the layers, which pays where a few
frames come at a time, again and again."""


class Activation(Protocol):
    """Computes SiLU of a norm over channels, equal to the layers themselves up to rounding."""

    def is_faster(self, x_BCTHW: Tensor) -> bool:
        """Whether it can do so with x, and is faster than the layers."""
        ...

    def __call__(self, x_BCTHW: Tensor, gamma: Tensor, out_BCTHW: Tensor) -> None:
        """Write silu(x / |x| * sqrt(C) * gamma) to ``out``, whose channels are side by side in memory and whose frames
        follow one another; |x| is over the channels at each place. gamma: C numbers in any shape."""
        ...
