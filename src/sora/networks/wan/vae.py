"""The video autoencoders of Wan 2.1 and Wan 2.2 TI2V (arXiv 2503.20314; github.com/Wan-Video), at any size.

Wan 2.1's encodes 4 x 8 x 8 pixels to one latent of 16 channels; Wan 2.2's encodes 4 x 16 x 16 pixels to one of 48, with
pixels patchified two by two first and average shortcuts around its blocks. A clip's first frame has a latent of its
own. Parameters carry the names of diffusers' ``AutoencoderKLWan``, so its files load strictly.

Clips are processed a few frames at a time, in memory that does not grow with their length, and where that is still too
much also tile by tile, exactly: only the layers that attend to the whole frame, at the latents' scale, run on it whole.
A tile of the decoder reads 13 latents around itself, of which 12, 10, 7 and 1 positions are left at 2, 4, 8 and 8 times
the scale; a tile of the encoder reads 75 pixels (75 pairs for Wan 2.2). These follow from the layers
(``vae_tiling.trace_spans``).

Axis letters: B batch; C channels; F Y X pixels in time, height and width; T H W latents, or any scale inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn

from sora.networks.convolver import Activation, NewConvolver
from sora.networks.wan import vae_layers as parts
from sora.networks.wan.vae_config import WAN21, WAN22, WanVAEConfig
from sora.networks.wan.vae_layers import FrameCache, LayerStep, ReceptiveField, Span
from sora.networks.wan.vae_tiling import TiledLayers

__all__ = ["WAN21", "WAN22", "Chunk", "Decoder", "Encoder", "Float16Overflow", "WanVAE", "WanVAEConfig"]


class Encoder(nn.Module):
    """Folded pixels to means and logarithms of variances: a chain down to the latents' scale, then a head."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        dims = [config.base_dim * m for m in (1, *config.dim_mult)]
        halvings = [*config.temperal_downsample, None]
        self.conv_in = parts.conv3x3x3(config.in_channels, dims[0])
        self.down_blocks = nn.ModuleList()
        for dim_in, dim, time in zip(dims[:-1], dims[1:], halvings, strict=True):
            if config.is_residual:
                halve = time is not None
                self.down_blocks.append(parts.DownBlock(dim_in, dim, config.num_res_blocks, halve, bool(time)))
                continue
            self.down_blocks.extend(parts.residual_blocks(dim_in, dim, config.num_res_blocks))
            if time is not None:
                self.down_blocks.append(parts.Downsample(dim, time))
        self.mid_block = parts.MidBlock(dims[-1])
        self.norm_out = parts.ChannelNorm(dims[-1], 3)
        self.conv_out = parts.conv3x3x3(dims[-1], 2 * config.z_dim)

    def steps(self) -> list[LayerStep]:
        """From folded pixels to the scale of the latents."""
        return [(self._enter, ReceptiveField(before=1)), *_steps(self.down_blocks)]

    def head(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        """What sees whole frames, and the last layers: to 2 * z_dim channels."""
        x = self.mid_block(x_BCTHW, past)
        return parts.causal_conv(self.conv_out, x, past, self.norm_out)

    def _enter(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        return parts.causal_conv(self.conv_in, x_BCTHW, past)


class Decoder(nn.Module):
    """Latents to folded pixels: a root at the latents' scale, then a chain up."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        base = config.decoder_base_dim or config.base_dim
        dims = [base * m for m in (config.dim_mult[-1], *reversed(config.dim_mult))]
        doublings = [*reversed(config.temperal_downsample), None]
        block = parts.ResidualUpBlock if config.is_residual else parts.UpBlock
        self.conv_in = parts.conv3x3x3(config.z_dim, dims[0])
        self.mid_block = parts.MidBlock(dims[0])
        self.up_blocks = nn.ModuleList()
        for i, (dim_in, dim, time) in enumerate(zip(dims[:-1], dims[1:], doublings, strict=True)):
            given = dim_in if i == 0 or config.is_residual else dim_in // 2
            self.up_blocks.append(block(given, dim, config.num_res_blocks + 1, time is not None, bool(time)))
        self.norm_out = parts.ChannelNorm(dims[-1], 3)
        self.conv_out = parts.conv3x3x3(dims[-1], config.out_channels)

    def root(self, z_BCTHW: Tensor, past: FrameCache) -> Tensor:
        """The first layers, and what sees whole frames."""
        return self.mid_block(parts.causal_conv(self.conv_in, z_BCTHW, past), past)

    def steps(self) -> list[LayerStep]:
        """From the scale of the latents to folded pixels."""
        return [*_steps(self.up_blocks), (self._leave, ReceptiveField(before=1))]

    def _leave(self, x_BCTHW: Tensor, past: FrameCache) -> Tensor:
        return parts.causal_conv(self.conv_out, x_BCTHW, past, self.norm_out)


def _steps(layers: nn.ModuleList) -> list[LayerStep]:
    return [(layer, layer.reach) for layer in layers]  # type: ignore[misc]


@dataclass(frozen=True)
class Chunk:
    """A piece of a clip. shape: (B, 3, F, Y, X) of its pixels. decode: returns these, in [-1, 1], in the dtype of the
    weights. Raises Float16Overflow."""

    shape: tuple[int, int, int, int, int]
    decode: Callable[[], Tensor]

    def check(self, pixels_BCFYX: Tensor) -> Tensor:
        """Return what ``decode`` gave elsewhere. Raises Float16Overflow, as there."""
        return check_overflow(pixels_BCFYX)


class WanVAE(nn.Module):
    """encode and decode. Freshly made weights are torch's own: load a file.

    convolver: makes what does 3x3 convolutions where that is faster, with the same result but for rounding; None for
    torch's own. activation: computes the norms before them likewise.
    """

    convolver: NewConvolver | None = None
    activation: Activation | None = None
    is_channels_last = False

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv3d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.post_quant_conv = nn.Conv3d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)

    def encode(self, pixels_BCFYX: Tensor, tile: int | None = None, latents_at_once: int = 1) -> Tensor:
        """latents_BCTHW of about unit scale, float32: the posterior's means, normalised. As ``moments`` otherwise."""
        mean, _ = self.moments(pixels_BCFYX, tile, latents_at_once)
        middle, deviation = self._statistics(mean)
        return (mean.float() - middle) / deviation

    def moments(self, pixels_BCFYX: Tensor, tile: int | None = None, latents_at_once: int = 1) -> tuple[Tensor, Tensor]:
        """The posterior's means and logarithms of variances, the latter in [-30, 20], each (B, z_dim, T, H, W) as the
        network has them, not normalised, in the dtype of the weights.

        pixels_BCFYX: in [-1, 1], C = 3, F = 1 + time * k, Y and X multiples of space; read a few frames at a time, on
        whatever device and in whatever float they stand. tile: most latents of a tile's side, None for no tiles.
        latents_at_once: as for ``stream``. Raises ValueError for pixels of other sizes or a number below 1.
        """
        _, c, frames, height, width = pixels_BCFYX.shape
        space, time = self.config.space, self.config.time
        if c != 3 or frames % time != 1 % time or height % space or width % space or pixels_BCFYX.numel() == 0:
            known = f"3 channels, 1 + {time}k frames and sides that are multiples of {space}"
            raise ValueError(
                f"pixels of {tuple(pixels_BCFYX.shape)} (B, C, F, Y, X) cannot be encoded; expected {known}"
            )
        scale, h, w = self.config.scale, height // space, width // space
        past, latents = self.new_cache(), list[Tensor]()
        chain = TiledLayers(
            self.encoder.steps(), (h * scale, w * scale), tile_spans(h, tile), tile_spans(w, tile), past
        )
        for start, stop in _pieces(frames, time, latents_at_once):
            chunk = patchify(pixels_BCFYX[:, :, start:stop].to(self.quant_conv.weight), self.config.patch_size)
            encoded = self.quant_conv(self.encoder.head(chain(self._in_order(chunk), start == 0), past))
            latents.append(check_overflow(encoded))
        mean, logvar = torch.cat(latents, dim=2).chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)

    def decode(self, latents_BCTHW: Tensor, tile: int | None = None, latents_at_once: int = 1) -> Tensor:
        """What ``stream`` gives, joined: pixels_BCFYX, F = 1 + time * (T - 1)."""
        return torch.cat(list(self.stream(latents_BCTHW, tile, latents_at_once)), dim=2)

    def stream(self, latents_BCTHW: Tensor, tile: int | None = None, latents_at_once: int = 1) -> Iterator[Tensor]:
        """Pixels (B, 3, f, Y, X) in [-1, 1], in the dtype of the weights: one frame, then ``time`` for each latent.

        latents_BCTHW: of unit scale, as ``encode`` gives them; read as they are needed, on whatever device. tile: most
        latents of a tile's side, None for no tiles. latents_at_once: in a chunk, all but the first; more of them take
        more memory and may take less time. Neither changes the pixels beyond rounding. Raises ValueError for latents of
        other channels or a number below 1.
        """
        return (chunk.decode() for chunk in self.chunks(latents_BCTHW, tile, latents_at_once))

    def chunks(
        self, latents_BCTHW: Tensor, tile: int | None = None, latents_at_once: int = 1, past: FrameCache | None = None
    ) -> list[Chunk]:
        """The pieces of ``stream``, to be decoded in their order.

        past: what keeps frames from chunk to chunk (``vae_split``); None for an ordinary cache, with which each chunk
        follows the one before. Raises as ``stream`` does.
        """
        b, c, length, h, w = latents_BCTHW.shape
        if c != self.config.z_dim or latents_BCTHW.numel() == 0:
            known = f"{self.config.z_dim} channels"
            raise ValueError(
                f"latents of {tuple(latents_BCTHW.shape)} (B, C, T, H, W) cannot be decoded; expected {known}"
            )
        pieces = _pieces(length, 1, latents_at_once)
        rows, columns = (tile_spans(size, tile, self.config.scale) for size in (h, w))
        past = self.new_cache() if past is None else past
        chain = TiledLayers(self.decoder.steps(), (h, w), rows, columns, past)

        def chunk(start: int, stop: int) -> Chunk:
            frames = self.config.time * (stop - start) if start else 1
            shape = b, 3, frames, h * self.config.space, w * self.config.space
            decode = partial(self._decode_chunk, latents_BCTHW[:, :, start:stop], past, chain, start == 0)
            return Chunk(shape, decode)

        return [chunk(start, stop) for start, stop in pieces]

    def _decode_chunk(self, latents_BCTHW: Tensor, past: FrameCache, chain: TiledLayers, first: bool) -> Tensor:
        middle, deviation = self._statistics(latents_BCTHW)
        z = (latents_BCTHW.float() * deviation + middle).to(self.post_quant_conv.weight)
        x = check_overflow(chain(self.decoder.root(self.post_quant_conv(self._in_order(z)), past), first))
        return unpatchify(x, self.config.patch_size).clamp(-1.0, 1.0)

    def in_channels_last(self) -> WanVAE:
        """Order the weights of convolutions, and with them all that flows, with channels side by side in memory, which
        tensor cores read without copies. Changes the network in place and returns it."""
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        for parameter in self.parameters():
            if parameter.dim() in formats:
                parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])
        self.is_channels_last = True
        return self

    def _in_order(self, x_BCTHW: Tensor) -> Tensor:
        return x_BCTHW.contiguous(memory_format=torch.channels_last_3d) if self.is_channels_last else x_BCTHW

    def new_cache(self) -> FrameCache:
        """An empty one, for a clip."""
        return FrameCache(None if self.convolver is None else self.convolver(True), self.activation)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of latents, float32 of (C, 1, 1, 1). No buffers, since the files have none."""
        numbers = [self.config.latents_mean, self.config.latents_std]
        pair = torch.tensor(numbers, dtype=torch.float32, device=like.device)
        mean, deviation = pair[:, :, None, None, None]
        return mean, deviation


class Float16Overflow(ArithmeticError):
    """Numbers of the autoencoder grew beyond float16, in which it runs."""


def check_overflow(x: Tensor) -> Tensor:
    """Return x, to be called before anything hides what is not finite in it. In float16 alone it waits for the device,
    and raises Float16Overflow."""
    if x.dtype == torch.float16 and not bool(torch.isfinite(x).all()):
        raise Float16Overflow("the autoencoder's numbers overflow float16")
    return x


def _pieces(length: int, time: int, latents_at_once: int) -> list[Span]:
    """Chunks of a clip: the first of its frames or latents, then those of so many latents, each of ``time``."""
    if latents_at_once < 1:
        raise ValueError(f"{latents_at_once} latents at once are none; give 1 or more")
    step = time * latents_at_once
    return [(0, 1), *((start, min(length, start + step)) for start in range(1, length, step))]


def tile_spans(size: int, max_size: int | None, scale: int = 1) -> list[Span]:
    """Pieces of an axis, about equal, of at most ``most`` places (None: one piece), times ``zoom``. ValueError for a
    most below 1."""
    if max_size is not None and max_size < 1:
        raise ValueError(f"tiles of {max_size} latents hold nothing; give 1 or more")
    count = 1 if max_size is None else math.ceil(size / max_size)
    return [(i * size // count * scale, (i + 1) * size // count * scale) for i in range(count)]


def patchify(pixels_BCFYX: Tensor, patch: int) -> Tensor:
    """patch x patch pixels into channels, columns before rows as the files have it."""
    return rearrange(pixels_BCFYX, "B C F (Y p) (X q) -> B (C q p) F Y X", p=patch, q=patch)


def unpatchify(x_BCFYX: Tensor, patch: int) -> Tensor:
    """The inverse of ``fold``."""
    return rearrange(x_BCFYX, "B (C q p) F Y X -> B C F (Y p) (X q)", p=patch, q=patch)
