"""The layers of Wan's video autoencoders (arXiv 2503.20314); ``vae_tiling`` runs chains of them chunk by chunk.

All layers are causal in time: each sees its own frame and a few before it, which a ``FrameCache`` keeps, so a clip can
go through in chunks and come out as if it had gone through whole. A clip's first frame is a chunk of its own, because
the layers that halve or double the frames let it pass alone. Parameters carry the names of diffusers'
``AutoencoderKLWan``.

Axis letters: B batch; C D channels; T H W frames, height and width at whatever scale a layer stands; N frames of all
the batch. Lengths and places along H and W are counted at that scale too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from sora.networks.convolver import Activation, Convolver
from sora.networks.layers import attention

Span = tuple[int, int]
"""The first place along an axis, and the one after the last."""


class FrameCache:
    """The last frames that each causal layer saw in the chunks before; its size does not grow with the clip.

    first: whether the current chunk is the clip's first, which is one frame. convolver, activation: compute 3x3
    convolutions, and norms before them, where they can; None to do without.
    """

    def __init__(self, convolver: Convolver | None = None, activation: Activation | None = None) -> None:
        self.first, self.convolver, self.activation = True, convolver, activation
        self._kept: dict[nn.Module, Tensor] = {}

    def new(self) -> FrameCache:
        """An empty cache with the same convolver and activation."""
        return FrameCache(self.convolver, self.activation)

    def prepend(self, layer: nn.Module, x_BCTHW: Tensor, frames: int) -> Tensor:
        """Return x with the layer's last ``frames`` frames before it, zeros at the clip's start, and cache x's own last
        ones."""
        kept = self._kept.get(layer)
        if kept is None:
            b, c, _, h, w = x_BCTHW.shape
            kept = x_BCTHW.new_zeros(b, c, frames, h, w)
            # In the order of x in memory: joined to another, x would be copied into that.
            kept = self._kept[layer] = in_order_of(x_BCTHW, kept)
        # Joined, not padded: F.pad of five axes is wrong on MPS.
        line = torch.cat([kept, x_BCTHW], dim=2)
        kept.copy_(line[:, :, -frames:])
        return line

    def prepend_activated(self, layer: nn.Module, x_BCTHW: Tensor, norm: ChannelNorm, frames: int) -> Tensor:
        """As ``prepend``, of SiLU of the norm of x."""
        if self.activation is None or not self.activation.is_faster(x_BCTHW):
            return self.prepend(layer, norm_silu(norm, x_BCTHW), frames)
        b, c, t, h, w = x_BCTHW.shape
        kept, is_zero = self.frames_of(layer, x_BCTHW, frames)
        line = x_BCTHW.new_empty(b, frames + t, h, w, c).permute(0, 4, 1, 2, 3)
        line[:, :, :frames] = 0 if is_zero else kept
        self.activation(x_BCTHW, norm.gamma, line[:, :, frames:])
        kept.copy_(line[:, :, -frames:])
        self.overwritten(layer)
        return line

    def frames_of(self, layer: nn.Module, x_BCTHW: Tensor, frames: int) -> tuple[Tensor, bool]:
        """The frames that ``prepend`` would join to x, for the caller to read and then to overwrite; and whether they
        are still uninitialised and stand for zeros."""
        fresh = layer not in self._kept
        if fresh:
            b, c, _, h, w = x_BCTHW.shape
            self._kept[layer] = x_BCTHW.new_empty(b, frames, h, w, c).permute(0, 4, 1, 2, 3)  # channels side by side
        return self._kept[layer], fresh

    def overwritten(self, layer: nn.Module) -> None:
        """What ``frames_of`` gave for a layer now holds that layer's last frames."""


@dataclass(frozen=True)
class ReceptiveField:
    """Which inputs a layer's outputs depend on, along H as along W.

    before: positions to each side, at the scale of the input. scale: outputs for each input, 2, 1 or 1/2. after:
    positions to each side, at the scale of the output.
    """

    before: int = 0
    scale: float = 1
    after: int = 0

    def input_span(self, span: Span, size: int) -> Span:
        """The inputs, of ``size`` there are, that a span of outputs needs. Where outputs are halved both ends are even,
        so that a crop halves as the whole does."""
        low = math.floor((span[0] - self.after) / self.scale) - self.before
        high = math.ceil((span[1] + self.after) / self.scale) + self.before
        return max(0, low), min(size, high)


LayerStep = tuple[Callable[[Tensor, FrameCache], Tensor], ReceptiveField]


def is_channels_last(x_BCTHW: Tensor) -> bool:
    """Whether channels, and not places, are side by side in memory."""
    return x_BCTHW.is_contiguous(memory_format=torch.channels_last_3d) and not x_BCTHW.is_contiguous()


def in_order_of(like_BCTHW: Tensor, x_BCTHW: Tensor) -> Tensor:
    """x, its channels side by side in memory where those of ``like`` are."""
    if is_channels_last(like_BCTHW):
        return x_BCTHW.contiguous(memory_format=torch.channels_last_3d)
    return x_BCTHW


def causal_conv(
    conv: nn.Conv3d,
    x_BCTHW: Tensor,
    cache: FrameCache,
    norm: ChannelNorm | None = None,
    residual_BDTHW: Tensor | None = None,
    in_place: bool = False,
) -> Tensor:
    """A convolution whose last tap in time is the frame itself. As many frames come out as go in.

    cache: holds the frames before. norm: x goes through it and a SiLU first. residual: is added to the result.
    in_place: x is not needed afterwards, so the result may overwrite it.
    """
    h, w = x_BCTHW.shape[-2:]
    if cache.convolver is not None and cache.convolver.is_faster(conv, h, w, x_BCTHW):
        kept, past_is_zero = cache.frames_of(conv, x_BCTHW, 2)
        in_place = in_place and conv.in_channels == conv.out_channels and x_BCTHW.stride(1) == 1
        y = cache.convolver.convolve(
            conv,
            x_BCTHW,
            past_BCFHW=kept,
            past_is_zero=past_is_zero,
            prepare=norm and norm.activate,
            residual_BDTHW=residual_BDTHW,
            in_place=in_place,
        )
        cache.overwritten(conv)
        return y
    past = conv.kernel_size[0] - 1
    y = cache.prepend(conv, x_BCTHW, past) if norm is None else cache.prepend_activated(conv, x_BCTHW, norm, past)
    y = conv(y)
    if residual_BDTHW is not None:
        y += residual_BDTHW
    return y


def conv3x3x3(dim_in: int, dim_out: int) -> nn.Conv3d:
    """3 x 3 x 3, zeros around each frame, for ``causal_conv``."""
    return nn.Conv3d(dim_in, dim_out, 3, padding=(0, 1, 1))


class ChannelNorm(nn.Module):
    """x / |x| * sqrt(C) * gamma over the channels at each place, in float32 inside. axes: of x after C."""

    def __init__(self, dim: int, axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim, *[1] * axes))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
        y = x * (math.sqrt(x.shape[1]) / length.clamp_min(1e-12))
        has_graph = torch.is_grad_enabled() and (y.requires_grad or self.gamma.requires_grad)
        return (y * self.gamma if has_graph else y.mul_(self.gamma)).type_as(x)

    def activate(self, x_THWC: Tensor) -> None:
        """SiLU of the norm, in place, of float32."""
        length = torch.linalg.vector_norm(x_THWC, dim=-1, keepdim=True).clamp_min_(1e-12)
        x_THWC.mul_(length.reciprocal_().mul_(math.sqrt(x_THWC.shape[-1]))).mul_(self.gamma.flatten())
        F.silu(x_THWC, inplace=True)


def norm_silu(norm: nn.Module, x: Tensor) -> Tensor:
    """SiLU of the norm of x."""
    y = norm(x)
    return F.silu(y, inplace=not y.requires_grad)


class ResidualBlock(nn.Module):
    """Two causal convolutions and a shortcut, which is the identity or, where the channels change, a 1 x 1 x 1
    convolution."""

    reach = ReceptiveField(before=2)

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(dim_in, 3), conv3x3x3(dim_in, dim_out)
        self.norm2, self.conv2 = ChannelNorm(dim_out, 3), conv3x3x3(dim_out, dim_out)
        self.conv_shortcut = nn.Identity() if dim_in == dim_out else nn.Conv3d(dim_in, dim_out, 1)

    def forward(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        y = causal_conv(self.conv1, x_BCTHW, past, self.norm1)
        return causal_conv(self.conv2, y, past, self.norm2, self.conv_shortcut(x_BCTHW), in_place=True)


def residual_blocks(dim_in: int, dim_out: int, count: int) -> nn.ModuleList:
    """``count`` blocks, of which the first changes the channels."""
    return nn.ModuleList(ResidualBlock(dim_in if i == 0 else dim_out, dim_out) for i in range(count))


class FrameAttention(nn.Module):
    """Single-head self-attention within each frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim, 2)
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        b, _, _, h, w = x_BCTHW.shape
        frames_NCHW = rearrange(x_BCTHW, "B C T H W -> (B T) C H W")
        # Contiguous, since fused attention wants the channels of a token side by side.
        qkv = rearrange(self.to_qkv(self.norm(frames_NCHW)), "N D H W -> N 1 (H W) D").contiguous()
        seen = attention(*qkv.chunk(3, dim=-1))
        y_NCHW = self.proj(rearrange(seen, "N 1 (H W) C -> N C H W", H=h, W=w))
        return x_BCTHW + rearrange(y_NCHW, "(B T) C H W -> B C T H W", B=b)


class MidBlock(nn.Module):
    """Attention between two residual blocks, at the scale of the latents."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([FrameAttention(dim)])
        self.resnets = residual_blocks(dim, dim, 2)

    def forward(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        x = self.resnets[0](x_BCTHW, past)
        return self.resnets[1](self.attentions[0](x), past)


class Downsample(nn.Module):
    """Halves height and width; with ``time`` also the frames, except the clip's first, which stays alone."""

    reach = ReceptiveField(scale=0.5, after=1)

    def __init__(self, dim: int, time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(dim, dim, 3, stride=2))
        self.time_conv = nn.Conv3d(dim, dim, (3, 1, 1), stride=(2, 1, 1)) if time else None

    def forward(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        frames_NCHW = self.resample(rearrange(x_BCTHW, "B C T H W -> (B T) C H W"))
        x = rearrange(frames_NCHW, "(B T) C H W -> B C T H W", B=x_BCTHW.shape[0])
        if self.time_conv is None:
            return x
        line = past.prepend(self.time_conv, x, 1)
        return x if past.first else self.time_conv(line)


class Upsample(nn.Module):
    """Doubles height and width; with ``time`` also the frames, except the clip's first, which stays alone and does not
    enter the frames after it."""

    def __init__(self, dim: int, dim_out: int, time: bool) -> None:
        super().__init__()
        # The first place is where the files count the enlarging.
        self.resample = nn.Sequential(nn.Identity(), nn.Conv2d(dim, dim_out, 3, padding=1))
        self.time_conv = nn.Conv3d(dim, 2 * dim, (3, 1, 1)) if time else None

    def forward(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        b = x_BCTHW.shape[0]
        if self.time_conv is not None and not past.first:
            y = rearrange(causal_conv(self.time_conv, x_BCTHW, past), "B (t C) T H W -> B C (T t) H W", t=2)
            x_BCTHW = in_order_of(x_BCTHW, y)
        conv: nn.Conv2d = self.resample[1]  # type: ignore[assignment]
        h, w = x_BCTHW.shape[-2:]
        if past.convolver is not None and past.convolver.is_faster(conv, 2 * h, 2 * w, x_BCTHW):
            return past.convolver.convolve(conv, x_BCTHW, upscale=2)
        frames_NCHW = F.interpolate(rearrange(x_BCTHW, "B C T H W -> (B T) C H W"), scale_factor=2.0, mode="nearest")
        return rearrange(self.resample(frames_NCHW), "(B T) C H W -> B C T H W", B=b)


class DownBlock(nn.Module):
    """A down block of Wan 2.2: residual blocks and ``Downsample``, with a shortcut that averages the input.

    halve, time: whether height and width, and frames, are halved. Raises ValueError where no average has ``dim_out``
    channels.
    """

    def __init__(self, dim_in: int, dim_out: int, blocks: int, halve: bool, time: bool) -> None:
        super().__init__()
        self.time, self.space = 2 if time else 1, 2 if halve else 1
        if dim_in * self.time * self.space**2 % dim_out:
            volume = f"{self.time}x{self.space}x{self.space} places"
            raise ValueError(f"{dim_in} channels of {volume} do not fold to {dim_out}")
        self.resnets = residual_blocks(dim_in, dim_out, blocks)
        self.downsampler = Downsample(dim_out, time) if halve else None
        self.reach = (
            ReceptiveField(before=2 * blocks, scale=0.5, after=1) if halve else ReceptiveField(before=2 * blocks)
        )

    def forward(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        y = x_BCTHW
        for block in self.resnets:
            y = block(y, past)
        if self.downsampler is not None:
            y = self.downsampler(y, past)
        return y + average_shortcut(x_BCTHW, y.shape[1], self.time, self.space)


def average_shortcut(x_BCTHW: Tensor, channels: int, time: int, space: int) -> Tensor:
    """Fold time x space x space positions into channels and average these in groups down to ``channels``. Zeros are put
    before frames that do not divide."""
    b, c, t, h, w = x_BCTHW.shape
    if t % time:
        x_BCTHW = torch.cat([x_BCTHW.new_zeros(b, c, time - t % time, h, w), x_BCTHW], dim=2)
    x = rearrange(x_BCTHW, "B C (T t) (H p) (W q) -> B (C t p q) T H W", t=time, p=space, q=space)
    return reduce(x, "B (D run) T H W -> B D T H W", "mean", D=channels)


class UpBlock(nn.Module):
    """An up block of Wan 2.1: residual blocks, then, with ``double``, ``Upsample`` to half the channels."""

    def __init__(self, dim_in: int, dim_out: int, blocks: int, double: bool, time: bool) -> None:
        super().__init__()
        self.resnets = residual_blocks(dim_in, dim_out, blocks)
        self.upsamplers = nn.ModuleList([Upsample(dim_out, dim_out // 2, time)] if double else [])
        self.reach = (
            ReceptiveField(before=2 * blocks, scale=2, after=1) if double else ReceptiveField(before=2 * blocks)
        )

    def forward(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        for layer in (*self.resnets, *self.upsamplers):
            x_BCTHW = layer(x_BCTHW, past)
        return x_BCTHW


class ResidualUpBlock(nn.Module):
    """An up block of Wan 2.2: residual blocks and ``Upsample``, with a shortcut that unfolds the input's channels to
    the new positions.

    Raises ValueError where the channels do not divide over the new positions.
    """

    def __init__(self, dim_in: int, dim_out: int, blocks: int, double: bool, time: bool) -> None:
        super().__init__()
        self.time = 2 if time else 1
        if double and dim_out * self.time * 4 % dim_in:
            raise ValueError(f"{dim_in} channels cannot be dealt out to {dim_out} at {self.time}x2x2 places")
        self.resnets = residual_blocks(dim_in, dim_out, blocks)
        self.upsampler = Upsample(dim_out, dim_out, time) if double else None
        self.reach = (
            ReceptiveField(before=2 * blocks, scale=2, after=1) if double else ReceptiveField(before=2 * blocks)
        )

    def forward(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        y = x_BCTHW
        for block in self.resnets:
            y = block(y, past)
        if self.upsampler is None:
            return y
        y = self.upsampler(y, past)
        add_shortcut(x_BCTHW, y, self.time, past.first)
        return y


def add_shortcut(x_BCTHW: Tensor, y_BDTHW: Tensor, time: int, first: bool) -> None:
    """Add to y the channels of x unfolded to time x 2 x 2 positions, each repeated where there are too few. first: y
    has only the last of the positions in time. Nothing of the size of y is made on the way."""
    b, c, t, h, w = x_BCTHW.shape
    d = y_BDTHW.shape[1]
    copies = d * time * 4 // c
    repeated = x_BCTHW.unflatten(1, (d, c // d)).unsqueeze(3).expand(b, d, c // d, copies, t, h, w)
    unfolded = repeated.reshape(b, d, time, 2, 2, t, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    places = y_BDTHW.unflatten(4, (w, 2)).unflatten(3, (h, 2)).unflatten(2, (t, -1))
    places += unfolded[:, :, :, -1:] if first else unfolded
