"""The embedded model's autoencoder: small, causal in time, made for CPUs.

Four frames and 4x4 pixels are folded into channels before the first layer, so every layer runs once per latent frame
instead of once per pixel frame. The first frame stands alone: it is folded as four copies of itself, which makes the
first latent frame the same whether a picture or a film follows. 4 x 8 x 8 pixels become one latent of 16 channels.

With ``detail`` it reads and paints twice the size: pixels are halved before the first layer, and a last stage draws
what the enlarged picture lacks, so that 4 x 16 x 16 pixels become one latent, at the same price inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sora.networks.convolver import Convolver, NewConvolver
from sora.networks.layers import silu

TEMPORAL_COMPRESSION = 4  # frames behind each latent frame but the first
PATCH_SIZE = 4  # pixels along each side of a patch, which becomes channels before the first layer
SPATIAL_COMPRESSION = 8  # pixels along a latent's side, without the detail stage
PAST_FRAMES = 2  # latent frames a temporal layer looks back


@dataclass(frozen=True)
class MiniVAEConfig:
    """Sizes. encoder_fine, encoder_coarse, decoder_fine, decoder_coarse: channels at a quarter and an eighth of the
    inner size. encoder_blocks, decoder_blocks: residual blocks at each. detail: width of the last stage, which doubles
    the size, 0 for none. reach: spatial kernel of the temporal layers, odd; from 3 on they follow what has moved to a
    neighbouring position."""

    channels: int = 16
    encoder_fine: int = 64
    encoder_coarse: int = 128
    encoder_blocks: tuple[int, int] = (1, 3)
    decoder_fine: int = 128
    decoder_coarse: int = 192
    decoder_blocks: tuple[int, int] = (2, 3)
    detail: int = 0
    reach: int = 1

    @property
    def space(self) -> int:
        """Pixels behind a latent's side."""
        return 2 * SPATIAL_COMPRESSION if self.detail else SPATIAL_COMPRESSION


def channel_norm(x_NCHW: Tensor) -> Tensor:
    """Root-mean-square norm over channels at each place; purely local, so crops and tiles agree with the whole."""
    return F.rms_norm(x_NCHW.permute(0, 2, 3, 1), (x_NCHW.shape[1],), eps=1e-6).permute(0, 3, 1, 2)


def conv3x3(
    conv: nn.Conv2d,
    x_NCHW: Tensor,
    convolver: Convolver | None,
    before: Callable[[Tensor], Tensor],
    added_NDHW: Tensor | None = None,
) -> Tensor:
    """Convolve ``before`` of x. before: works on each position of (..., C) alone. convolver: computes it where it can,
    None to do without one. added_NDHW: is added to the result."""
    h, w = x_NCHW.shape[-2:]
    if convolver is None or not convolver.is_faster(conv, h, w, x_NCHW):
        y = conv(before(x_NCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return y if added_NDHW is None else added_NDHW + y
    return convolver.convolve_frames(conv, x_NCHW, prepare=lambda x: x.copy_(before(x)), residual_NDHW=added_NDHW)


def conv1x1(conv: nn.Conv2d, x_NCHW: Tensor) -> Tensor:
    """A 1x1 convolution. Without gradients it is one matrix product over channels: on a CPU torch splits a
    convolution's sums by the number of threads, which then shows in the last digits."""
    if torch.is_grad_enabled() and (x_NCHW.requires_grad or conv.weight.requires_grad):
        return conv(x_NCHW)
    return F.linear(x_NCHW.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)


def channel_norm_last(x_NHWC: Tensor) -> Tensor:
    """As ``channel_norm``, for tensors with channels last."""
    return F.rms_norm(x_NHWC, x_NHWC.shape[-1:], eps=1e-6)


def norm_silu(x_NHWC: Tensor) -> Tensor:
    """SiLU of ``channel_norm_last``."""
    return silu(channel_norm_last(x_NHWC))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions within a frame and an identity shortcut. ``convolver``: see ``conv3x3``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x_NCHW: Tensor, convolver: Convolver | None = None) -> Tensor:
        y = conv3x3(self.first, x_NCHW, convolver, channel_norm_last)
        return conv3x3(self.second, y, convolver, silu, x_NCHW)


class CausalTemporalConv(nn.Module):
    """A causal temporal layer, reach x reach in space: each latent frame sees itself and the PAST_FRAMES before it."""

    def __init__(self, width: int, reach: int = 1) -> None:
        super().__init__()
        wide = (PAST_FRAMES + 1) * width
        self.mix = nn.Linear(wide, width) if reach == 1 else nn.Conv2d(wide, width, reach, padding=reach // 2)
        nn.init.zeros_(self.mix.weight)

    def forward(
        self, x_NCHW: Tensor, batch: int, past_BTHWC: Tensor | None, convolver: Convolver | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x with its past mixed in, and the past for the latent frames that follow. ``convolver``: see
        ``conv3x3``."""
        x = rearrange(x_NCHW, "(b t) c h w -> b t h w c", b=batch)
        normed = F.rms_norm(x, (x.shape[-1],), eps=1e-6)
        if past_BTHWC is None:
            past_BTHWC = torch.zeros_like(normed[:, :1]).expand(-1, PAST_FRAMES, -1, -1, -1)
        line = torch.cat([past_BTHWC, normed], dim=1)
        length = x.shape[1]
        seen = torch.cat([line[:, i : i + length] for i in range(PAST_FRAMES + 1)], dim=-1)
        if isinstance(self.mix, nn.Linear):
            y = x_NCHW + rearrange(self.mix(silu(seen)), "b t h w c -> (b t) c h w")
        else:
            y = conv3x3(self.mix, seen.flatten(0, 1).permute(0, 3, 1, 2), convolver, silu, x_NCHW)
        return y, line[:, -PAST_FRAMES:]


class DetailStage(nn.Module):
    """Adds detail to the upsampled picture: (N, width, h, w) to (N, pixels, 2h, 2w), zero before it is trained."""

    def __init__(self, width: int, detail: int, pixels: int) -> None:
        super().__init__()
        self.enlarge = nn.Conv2d(width, 4 * detail, 1)
        self.block = ResidualBlock(detail)
        self.unfold = nn.Conv2d(detail, pixels, 3, padding=1)
        for p in self.unfold.parameters():
            nn.init.zeros_(p)

    def forward(self, x_NCHW: Tensor, convolver: Convolver | None = None) -> Tensor:
        x = rearrange(conv1x1(self.enlarge, x_NCHW), "n (c p q) h w -> n c (h p) (w q)", p=2, q=2)
        return conv3x3(self.unfold, self.block(x, convolver), convolver, norm_silu)


class MiniVAE(nn.Module):
    """encode and decode; ``mean`` and ``deviation`` (C) bring latents to unit scale.

    convolver: makes what does its 3x3 convolutions where that is faster, with the same result but for rounding; None
    for torch's own.
    """

    convolver: NewConvolver | None = None
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: MiniVAEConfig | None = None) -> None:
        super().__init__()
        c = config or MiniVAEConfig()
        self.config = c
        pixels = 3 * TEMPORAL_COMPRESSION * PATCH_SIZE * PATCH_SIZE
        self.fold = nn.Conv2d(pixels, c.encoder_fine, 1)
        self.encoder_fine = nn.ModuleList(ResidualBlock(c.encoder_fine) for _ in range(c.encoder_blocks[0]))
        self.reduce = nn.Conv2d(4 * c.encoder_fine, c.encoder_coarse, 1)
        self.encoder_coarse = nn.ModuleList(ResidualBlock(c.encoder_coarse) for _ in range(c.encoder_blocks[1]))
        self.encoder_time = nn.ModuleList(
            CausalTemporalConv(c.encoder_coarse, c.reach) for _ in range(c.encoder_blocks[1] - 1)
        )
        self.to_latents = nn.Conv2d(c.encoder_coarse, c.channels, 1)
        self.from_latents = nn.Conv2d(c.channels, c.decoder_coarse, 3, padding=1)
        self.decoder_coarse = nn.ModuleList(ResidualBlock(c.decoder_coarse) for _ in range(c.decoder_blocks[1]))
        self.decoder_time = nn.ModuleList(
            CausalTemporalConv(c.decoder_coarse, c.reach) for _ in range(c.decoder_blocks[1] - 1)
        )
        self.enlarge = nn.Conv2d(c.decoder_coarse, 4 * c.decoder_fine, 1)
        self.decoder_fine = nn.ModuleList(ResidualBlock(c.decoder_fine) for _ in range(c.decoder_blocks[0]))
        self.unfold = nn.Conv2d(c.decoder_fine, pixels, 3, padding=1)
        self.detail = DetailStage(c.decoder_fine, c.detail, pixels) if c.detail else None
        self.register_buffer("mean", torch.zeros(c.channels))
        self.register_buffer("deviation", torch.ones(c.channels))

    def encode(self, frames_BCFYX: Tensor) -> Tensor:
        """Pixels in [-1, 1], F = 1 + 4k, Y and X multiples of the config's space, to latents_BCTHW of unit scale."""
        return (self.raw_encode(frames_BCFYX) - self._wide(self.mean)) / self._wide(self.deviation)

    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        """Latents of unit scale to pixels_BCFYX, about [-1, 1]; F = 1 + 4 (T - 1)."""
        return torch.cat(list(self.stream(latents_BCTHW, latents_BCTHW.shape[2])), dim=2)

    def stream(self, latents_BCTHW: Tensor, chunk: int = 2):
        """Decode a few latent frames at a time, carrying the temporal layers' past. Yields pixels_BCFYX."""
        raw = latents_BCTHW * self._wide(self.deviation) + self._wide(self.mean)
        past: list[Tensor | None] = [None] * len(self.decoder_time)
        for start in range(0, raw.shape[2], chunk):
            pixels, past = self.raw_decode(raw[:, :, start : start + chunk], past)
            yield pixels[:, :, TEMPORAL_COMPRESSION - 1 :] if start == 0 else pixels

    def raw_encode(self, frames_BCFYX: Tensor) -> Tensor:
        """As ``encode``, before the latents are brought to unit scale."""
        batch = frames_BCFYX.shape[0]
        if self.detail is not None:
            frames_BCFYX = F.avg_pool3d(frames_BCFYX, (1, 2, 2))
        frames = torch.cat(
            [frames_BCFYX[:, :, :1].expand(-1, -1, TEMPORAL_COMPRESSION - 1, -1, -1), frames_BCFYX], dim=2
        )
        x = rearrange(
            frames, "b c (t f) (h p) (w q) -> (b t) (c f p q) h w", f=TEMPORAL_COMPRESSION, p=PATCH_SIZE, q=PATCH_SIZE
        )
        x = conv1x1(self.fold, x.contiguous(memory_format=torch.channels_last))
        convolver = self._convolver(keeps_weights=False)  # all frames come at once
        for block in self.encoder_fine:
            x = block(x, convolver)
        x = conv1x1(self.reduce, rearrange(x, "n c (h p) (w q) -> n (c p q) h w", p=2, q=2))
        for i, block in enumerate(self.encoder_coarse):
            x = block(x, convolver)
            if i < len(self.encoder_time):
                x, _ = self.encoder_time[i](x, batch, None, convolver)
        return rearrange(conv1x1(self.to_latents, channel_norm(x)), "(b t) c h w -> b c t h w", b=batch)

    def raw_decode(self, raw_BCTHW: Tensor, past: list[Tensor | None]) -> tuple[Tensor, list[Tensor | None]]:
        """(TEMPORAL_COMPRESSION pixel frames for each latent frame, of which the clip's first three are copies to drop;
        the new past)."""
        batch = raw_BCTHW.shape[0]
        x = rearrange(raw_BCTHW, "b c t h w -> (b t) c h w").contiguous(memory_format=torch.channels_last)
        convolver, kept = self._convolver(), list(past)
        x = conv3x3(self.from_latents, x, convolver, nn.Identity())
        for i, block in enumerate(self.decoder_coarse):
            x = block(x, convolver)
            if i < len(self.decoder_time):
                x, kept[i] = self.decoder_time[i](x, batch, past[i], convolver)
        x = conv1x1(self.enlarge, silu(channel_norm(x)))
        x = rearrange(x, "n (c p q) h w -> n c (h p) (w q)", p=2, q=2)
        for block in self.decoder_fine:
            x = block(x, convolver)
        if self.detail is None:
            return _unpatchify(conv3x3(self.unfold, x, convolver, norm_silu), batch), kept
        x = silu(channel_norm(x))
        pixels = _unpatchify(conv3x3(self.unfold, x, convolver, nn.Identity()), batch)
        return _upsample_2x(pixels) + _unpatchify(self.detail(x, convolver), batch), kept

    def in_channels_last(self) -> MiniVAE:
        """Lay out the kernels with channels last, which CPUs convolve faster; returns the same module."""
        for p in self.parameters():
            if p.ndim == 4:
                p.data = p.data.contiguous(memory_format=torch.channels_last)
        return self

    def _convolver(self, keeps_weights: bool = True) -> Convolver | None:
        return None if self.convolver is None else self.convolver(keeps_weights)

    def _wide(self, per_channel: Tensor) -> Tensor:
        return per_channel.view(1, -1, 1, 1, 1)


def _unpatchify(x_NCHW: Tensor, batch: int) -> Tensor:
    """Unpatchify: channels back to TEMPORAL_COMPRESSION frames of PATCH_SIZE x PATCH_SIZE pixels: (B, 3, F, Y, X)."""
    return rearrange(
        x_NCHW,
        "(b t) (c f p q) h w -> b c (t f) (h p) (w q)",
        b=batch,
        f=TEMPORAL_COMPRESSION,
        p=PATCH_SIZE,
        q=PATCH_SIZE,
    )


def _upsample_2x(pixels_BCFYX: Tensor) -> Tensor:
    """Twice the height and width, bilinear. Without gradients it is written out, since torch computes it differently
    with one thread and with several."""
    if torch.is_grad_enabled() and pixels_BCFYX.requires_grad:
        flat = rearrange(pixels_BCFYX, "b c f y x -> (b f) c y x")
        flat = F.interpolate(flat, scale_factor=2, mode="bilinear")
        return rearrange(flat, "(b f) c y x -> b c f y x", b=pixels_BCFYX.shape[0])
    return _upsample_axis(_upsample_axis(pixels_BCFYX, -2), -1)


def _upsample_axis(x: Tensor, axis: int) -> Tensor:
    """Each place becomes two, three quarters of its own and a quarter of its neighbour's; at the ends all its own."""
    size = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], axis)
    own = 0.75 * x
    both = torch.stack([own.add(before, alpha=0.25), own.add_(after, alpha=0.25)], axis)
    return both.flatten(axis - 1, axis)
