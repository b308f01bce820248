"""The arithmetic of a Wan VAE, counted from the layers of ``networks.wan.vae``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sora.models.layer_work import CAUSAL, IN_FRAME, ConvolutionWork, work_of
from sora.models.work import Work
from sora.networks.wan.vae_config import WanVAEConfig


@dataclass(frozen=True)
class VAESizes:
    """encoder, decoder: channels at each scale, from pixels to latents. channels: of a latent. blocks: residual blocks
    at each of the encoder's scales; the decoder has one more. halve_time: which steps from scale to scale halve the
    frame rate. residual: whether it has Wan 2.2's shortcuts. patch: the side of the pixel patches that its input is
    folded into."""

    encoder: tuple[int, ...] = (96, 192, 384, 384)
    decoder: tuple[int, ...] = (96, 192, 384, 384)
    channels: int = 16
    blocks: int = 2
    halve_time: tuple[bool, ...] = (False, True, True)
    residual: bool = False
    patch: int = 1

    @property
    def parameters(self) -> int:
        """About how many: those of the convolutions."""
        one = Places(self, (1, 1, 1))
        return sum(layer.parameters for layer in (*encoder_layers(self, one), *decoder_layers(self, one)))


def sizes_of(config: WanVAEConfig) -> VAESizes:
    """The sizes that a configuration gives a VAE."""
    decoder = config.decoder_base_dim or config.base_dim
    return VAESizes(
        encoder=tuple(config.base_dim * m for m in config.dim_mult),
        decoder=tuple(decoder * m for m in config.dim_mult),
        channels=config.z_dim,
        blocks=config.num_res_blocks,
        halve_time=config.temperal_downsample,
        residual=config.is_residual,
        patch=config.patch_size,
    )


@dataclass(frozen=True)
class Places:
    """How many positions there are at each scale. latents: (T, H, W)."""

    vae: VAESizes
    latents: tuple[int, int, int]

    def at(self, scale: int, time: int, *, without_first: bool = False) -> float:
        """Positions in all frames. scale: how often height and width were halved on the way from pixels; time: the same
        of the frame rate. without_first: leave out the clip's first frame."""
        length, height, width = self.latents
        zoom = 2 ** (len(self.vae.halve_time) - scale)
        later = (length - 1) * 2 ** (sum(self.vae.halve_time) - time)
        return (later if without_first else 1 + later) * height * zoom * width * zoom

    @property
    def in_a_frame(self) -> int:
        """At the scale of the latents."""
        return self.latents[1] * self.latents[2]


def decoding(vae: VAESizes, latents: tuple[int, int, int]) -> Work:
    """Of decoding latents (T, H, W)."""
    return work_of(decoder_layers(vae, Places(vae, latents)))


def encoding(vae: VAESizes, latents: tuple[int, int, int]) -> Work:
    """Of encoding to latents (T, H, W)."""
    return work_of(encoder_layers(vae, Places(vae, latents)))


def decoder_layers(vae: VAESizes, places: Places) -> Iterator[ConvolutionWork]:
    """From latents to pixels."""
    widths, scale, time = (vae.decoder[-1], *reversed(vae.decoder)), len(vae.halve_time), sum(vae.halve_time)
    yield ConvolutionWork(places.at(scale, time), CAUSAL, vae.channels, widths[0])
    yield from _middle(places, widths[0], scale, time)
    for i, (before, width) in enumerate(pairwise(widths)):
        given = before if i == 0 or vae.residual else before // 2
        yield from _residual_blocks(places.at(scale, time), given, width, vae.blocks + 1)
        if scale == 0:
            break
        if vae.halve_time[scale - 1]:
            yield ConvolutionWork(places.at(scale, time, without_first=True), 3, width, 2 * width)
            time -= 1
        scale -= 1
        yield ConvolutionWork(places.at(scale, time), IN_FRAME, width, width if vae.residual else width // 2)
    yield ConvolutionWork(places.at(0, 0), CAUSAL, widths[-1], 3 * vae.patch**2)


def encoder_layers(vae: VAESizes, places: Places) -> Iterator[ConvolutionWork]:
    """From pixels to means and variances of latents."""
    widths, time, deepest = (vae.encoder[0], *vae.encoder), 0, len(vae.halve_time)
    yield ConvolutionWork(places.at(0, 0), CAUSAL, 3 * vae.patch**2, widths[0])
    for scale, (before, width) in enumerate(pairwise(widths)):
        yield from _residual_blocks(places.at(scale, time), before, width, vae.blocks)
        if scale == deepest:
            break
        yield ConvolutionWork(places.at(scale + 1, time), IN_FRAME, width, width)
        if vae.halve_time[scale]:
            time += 1
            yield ConvolutionWork(places.at(scale + 1, time, without_first=True), 3, width, width)
    yield from _middle(places, widths[-1], deepest, time)
    yield ConvolutionWork(places.at(deepest, time), CAUSAL, widths[-1], 2 * vae.channels)


def _middle(places: Places, width: int, scale: int, time: int) -> Iterator[ConvolutionWork]:
    positions = places.at(scale, time)
    yield from _residual_blocks(positions, width, width, 2)
    yield ConvolutionWork(positions, 1, width, 4 * width)  # queries, keys, values, and the projection after them
    yield ConvolutionWork(positions, 0, 0, width, attended=places.in_a_frame)


def _residual_blocks(positions: float, before: int, width: int, count: int) -> Iterator[ConvolutionWork]:
    for i in range(count):
        given = before if i == 0 else width
        yield ConvolutionWork(positions, CAUSAL, given, width)
        yield ConvolutionWork(positions, CAUSAL, width, width)
        if given != width:
            yield ConvolutionWork(positions, 1, given, width)
