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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from sora.networks.convolver import NewConvolver
from sora.networks.wan import vae_layers as parts
from sora.networks.wan.vae_layers import FrameCache, LayerStep, ReceptiveField, Span
from sora.networks.wan.vae_tiling import TiledLayers

MEAN_21 = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508)
MEAN_21 += (0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
STD_21 = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743)
STD_21 += (3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)


MAX_COUNT = 1 << 13  # of anything in a VAE's configuration
_MAX_SCALES, _MAX_BLOCKS = 8, 32


@dataclass(frozen=True)
class WanVAEConfig:
    """Sizes, under the names of the files' config.json; the defaults are Wan 2.1's. ValueError where they disagree.

    base_dim, decoder_base_dim: width at the pixels' end; None is the encoder's. z_dim: channels of a latent. dim_mult:
    width of each scale, in base_dims; each but the last is halved into the next. temperal_downsample (sic): which of
    these halvings are in time too. num_res_blocks: at each scale; the decoder has one more. latents_mean, latents_std:
    of each channel. is_residual: Wan 2.2's shortcuts. in_channels, out_channels: of the pixels once folded. patch_size:
    pixels folded at the door, along each side.
    """

    base_dim: int = 96
    decoder_base_dim: int | None = None
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...] = MEAN_21
    latents_std: tuple[float, ...] = STD_21
    is_residual: bool = False
    in_channels: int = 3
    out_channels: int = 3
    patch_size: int = 1

    def __post_init__(self) -> None:
        folded = 3 * self.patch_size**2
        if not self.in_channels == self.out_channels == folded:
            raise ValueError(f"{self.in_channels} channels go in and {self.out_channels} out; {folded} are expected")
        widest = max(self.base_dim, self.decoder_base_dim or 0) * max(self.dim_mult)
        if len(self.dim_mult) > _MAX_SCALES or self.num_res_blocks > _MAX_BLOCKS or widest > 1 << 16:
            raise ValueError(f"{self.dim_mult} scales of {self.num_res_blocks} blocks, {widest} wide, are no VAE's")
        if len(self.temperal_downsample) != len(self.dim_mult) - 1:
            raise ValueError(f"{self.temperal_downsample} does not say for {self.dim_mult} which scales halve time")
        if not len(self.latents_mean) == len(self.latents_std) == self.z_dim:
            counts = f"{len(self.latents_mean)} means and {len(self.latents_std)} deviations"
            raise ValueError(f"{counts} are given for {self.z_dim} channels of latents")
        if min(self.latents_std) <= 0:
            raise ValueError(f"latents_std holds {min(self.latents_std)}; deviations are above 0")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> WanVAEConfig:
        """What a folder's vae/config.json says. Keys it lacks are Wan 2.1's, as for diffusers; others are ignored.

        Raises ValueError for values of the wrong kind, sizes that disagree, and attention at further scales.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"the VAE's config.json holds {type(values).__name__}, where an object belongs")
        if values.get("attn_scales"):
            raise ValueError(f"attn_scales is {values['attn_scales']!r} in the VAE's config.json; only none is known")
        found: dict[str, Any] = {}
        for key, (fits, expected) in _KINDS.items():
            value = values.get(key)
            if value is None and (key not in values or key in _MAY_BE_NULL):
                continue
            if not fits(value):
                raise ValueError(f"{key} is {value!r} in the VAE's config.json, where {expected} belongs")
            found[key] = tuple(value) if isinstance(value, list | tuple) else value
        return cls(**found)

    @property
    def time(self) -> int:
        """Frames behind a latent, all but the first."""
        return 2 ** sum(self.temperal_downsample)

    @property
    def scale(self) -> int:
        """How much smaller a latent's side is than that of the folded pixels."""
        return 2 ** len(self.temperal_downsample)

    @property
    def space(self) -> int:
        """Pixels behind a latent's side."""
        return self.scale * self.patch_size


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_COUNT


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _many(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and 0 < len(value) <= MAX_COUNT and all(map(fits, value))


_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(["base_dim", "decoder_base_dim", "z_dim", "num_res_blocks"], (_is_count, "a count")),
    **dict.fromkeys(["in_channels", "out_channels", "patch_size"], (_is_count, "a count")),
    "dim_mult": (_many(_is_count), "a list of counts"),
    "temperal_downsample": (_many(_is_truth), "a list of true and false"),
    **dict.fromkeys(["latents_mean", "latents_std"], (_many(_is_number), "a list of numbers")),
    "is_residual": (_is_truth, "true or false"),
}
_MAY_BE_NULL = {"decoder_base_dim", "patch_size"}

WAN21 = WanVAEConfig()
"""The autoencoder of all Wan 2.1 and of Wan 2.2 A14B, with its published numbers."""

_MEAN22 = """
-0.2289 -0.0052 -0.1323 -0.2339 -0.2799 0.0174 0.1838 0.1557 -0.1382 0.0542 0.2813 0.0891
0.1570 -0.0098 0.0375 -0.1825 -0.2246 -0.1207 -0.0698 0.5109 0.2665 -0.2108 -0.2158 0.2502
-0.2055 -0.0322 0.1109 0.1567 -0.0729 0.0899 -0.2799 -0.1230 -0.0313 -0.1649 0.0117 0.0723
-0.2839 -0.2083 -0.0520 0.3748 0.0152 0.1957 0.1433 -0.2944 0.3573 -0.0548 -0.1681 -0.0667
"""
_STD22 = """
0.4765 1.0364 0.4514 1.1677 0.5313 0.4990 0.4818 0.5013 0.8158 1.0344 0.5894 1.0901
0.6885 0.6165 0.8454 0.4978 0.5759 0.3523 0.7135 0.6804 0.5833 1.4146 0.8986 0.5659
0.7069 0.5338 0.4889 0.4917 0.4069 0.4999 0.6866 0.4093 0.5709 0.6065 0.6415 0.4944
0.5726 1.2042 0.5458 1.6887 0.3971 1.0600 0.3943 0.5537 0.5444 0.4089 0.7468 0.7744
"""
WAN22 = WanVAEConfig(
    base_dim=160,
    decoder_base_dim=256,
    z_dim=48,
    latents_mean=tuple(map(float, _MEAN22.split())),
    latents_std=tuple(map(float, _STD22.split())),
    is_residual=True,
    in_channels=12,
    out_channels=12,
    patch_size=2,
)
"""The autoencoder of Wan 2.2 TI2V-5B, with its published numbers (github.com/Wan-Video/Wan2.2, wan/modules)."""


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


class WanVAE(nn.Module):
    """encode and decode. Freshly made weights are torch's own: load a file.

    convolver: makes what does 3x3 convolutions where that is faster, with the same result but for rounding; None for
    torch's own.
    """

    convolver: NewConvolver | None = None
    is_channels_last = False

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv3d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.post_quant_conv = nn.Conv3d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)

    def encode(self, pixels_BCFYX: Tensor, tile: int | None = None) -> Tensor:
        """latents_BCTHW of about unit scale, float32: the posterior's means, normalised. As ``moments`` otherwise."""
        mean, _ = self.moments(pixels_BCFYX, tile)
        middle, deviation = self._statistics(mean)
        return (mean.float() - middle) / deviation

    def moments(self, pixels_BCFYX: Tensor, tile: int | None = None) -> tuple[Tensor, Tensor]:
        """The posterior's means and logarithms of variances, the latter in [-30, 20], each (B, z_dim, T, H, W) as the
        network has them, not normalised, in the dtype of the weights.

        pixels_BCFYX: in [-1, 1], C = 3, F = 1 + time * k, Y and X multiples of space; read a few frames at a time, on
        whatever device and in whatever float they stand. tile: most latents of a tile's side, None for no tiles.
        Raises ValueError for pixels of other sizes or a tile below 1.
        """
        _, c, frames, height, width = pixels_BCFYX.shape
        space, time = self.config.space, self.config.time
        if c != 3 or frames % time != 1 % time or height % space or width % space or pixels_BCFYX.numel() == 0:
            known = f"3 channels, 1 + {time}k frames and sides that are multiples of {space}"
            raise ValueError(
                f"pixels of {tuple(pixels_BCFYX.shape)} (B, C, F, Y, X) cannot be encoded; expected {known}"
            )
        scale, h, w = self.config.scale, height // space, width // space
        past, latents = self._past(), list[Tensor]()
        chain = TiledLayers(
            self.encoder.steps(), (h * scale, w * scale), tile_spans(h, tile), tile_spans(w, tile), past
        )
        for start, stop in [(0, 1), *((i, i + time) for i in range(1, frames, time))]:
            chunk = patchify(pixels_BCFYX[:, :, start:stop].to(self.quant_conv.weight), self.config.patch_size)
            encoded = self.quant_conv(self.encoder.head(chain(self._in_order(chunk)), past))
            latents.append(_check_overflow(encoded))
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
        _, c, length, h, w = latents_BCTHW.shape
        if c != self.config.z_dim or latents_BCTHW.numel() == 0:
            known = f"{self.config.z_dim} channels"
            raise ValueError(
                f"latents of {tuple(latents_BCTHW.shape)} (B, C, T, H, W) cannot be decoded; expected {known}"
            )
        if latents_at_once < 1:
            raise ValueError(f"{latents_at_once} latents at once decode nothing; give 1 or more")
        rows, columns = (tile_spans(size, tile, self.config.scale) for size in (h, w))
        past = self._past()
        chain = TiledLayers(self.decoder.steps(), (h, w), rows, columns, past)
        return (
            self._decode_chunk(latents_BCTHW[:, :, start:stop], past, chain)
            for start, stop in [(0, 1), *((i, i + latents_at_once) for i in range(1, length, latents_at_once))]
        )

    def _decode_chunk(self, latents_BCTHW: Tensor, past: FrameCache, chain: TiledLayers) -> Tensor:
        middle, deviation = self._statistics(latents_BCTHW)
        z = (latents_BCTHW.float() * deviation + middle).to(self.post_quant_conv.weight)
        x = _check_overflow(chain(self.decoder.root(self.post_quant_conv(self._in_order(z)), past)))
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

    def _past(self) -> FrameCache:
        return FrameCache(None if self.convolver is None else self.convolver(True))

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of latents, float32 of (C, 1, 1, 1). No buffers, since the files have none."""
        numbers = [self.config.latents_mean, self.config.latents_std]
        pair = torch.tensor(numbers, dtype=torch.float32, device=like.device)
        mean, deviation = pair[:, :, None, None, None]
        return mean, deviation


class Float16Overflow(ArithmeticError):
    """Numbers of the autoencoder grew beyond float16, in which it runs."""


def _check_overflow(x: Tensor) -> Tensor:
    """x, before anything hides what is not finite in it. Raises Float16Overflow; waits for the device, in float16
    alone."""
    if x.dtype == torch.float16 and not bool(torch.isfinite(x).all()):
        raise Float16Overflow("the autoencoder's numbers overflow float16")
    return x


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
