"""The arithmetic of the embedded model, from the sizes on its card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sora import weights
from sora.catalog.spec import ModelSpec
from sora.errors import ModelError
from sora.models.layer_work import IN_FRAME, ConvolutionWork, TransformerWork, work_of
from sora.models.work import GIGA, TERA, CanvasWork, Work

PIXELS = 3 * 4 * 4 * 4  # colours of four frames of a patch of 4 x 4 pixels
EARLIER = 2  # latent frames that a temporal layer sees before its own


def canvas_work(
    spec: ModelSpec,
    shape_FYX: tuple[int, int, int],
    *,
    encodes: bool,
    references: int = 0,  # noqa: ARG001, it takes none
) -> CanvasWork:
    """See ``models.CountsWork``. Raises ModelError for a card that cannot be read."""
    try:
        sizes = json.loads(weights.asset(spec.files[-2]).read_text(encoding="utf-8"))["sizes"]
        return _counted(spec, shape_FYX, sizes, encodes=encodes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the card {spec.files[-2]} is missing or damaged ({error}); reinstall sora") from None


def _counted(
    spec: ModelSpec, shape_FYX: tuple[int, int, int], sizes: Mapping[str, Any], *, encodes: bool
) -> CanvasWork:
    _, length, height, width = spec.grid.latent_shape(*shape_FYX)
    latents = length, height, width
    dit = _transformer(sizes["dit"], slots=sizes["text"]["slots"], patch=spec.grid.patch**2)
    tokens = length * height * width // spec.grid.patch**2
    parameters = {"transformer": dit.parameters, "vae": _vae_parameters(sizes["vae"])}
    return CanvasWork(
        dit.linear(tokens) / TERA,
        dit.attention(tokens) / TERA,
        dit.text_attention(tokens) / TERA,
        dit.elements(tokens) / GIGA,
        encode=work_of(_encoder_layers(sizes["vae"], latents)) if encodes else Work(),
        decode=work_of(_decoder_layers(sizes["vae"], latents)),
        parameters={name: count / GIGA for name, count in parameters.items()},
        in_blocks=dit.in_blocks / GIGA,
        blocks=dit.blocks,
    )


def _transformer(dit: Mapping[str, Any], slots: int, patch: int) -> TransformerWork:
    channels = dit["in_channels"] * patch, dit["out_channels"] * patch
    return TransformerWork(
        dit["num_layers"], dit["heads"] * dit["head_dim"], dit["ffn_dim"], (slots, dit["text_dim"]), *channels
    )


def _vae_parameters(vae: Mapping[str, Any]) -> int:
    layers = (*_encoder_layers(vae, (1, 1, 1)), *_decoder_layers(vae, (1, 1, 1)))
    return sum(layer.parameters for layer in layers)


def _decoder_layers(vae: Mapping[str, Any], latents: tuple[int, int, int]) -> Iterator[ConvolutionWork]:
    """As in ``networks.mini_vae.MiniVAE.raw_decode``: every layer runs once for each latent frame."""
    length, height, width = latents
    coarse, channels = length * height * width, vae["decoder_coarse"]
    yield ConvolutionWork(coarse, IN_FRAME, vae["channels"], channels)
    yield from _stage(coarse, channels, vae["decoder_blocks"][1])
    for _ in range(vae["decoder_blocks"][1] - 1):
        yield ConvolutionWork(coarse, vae["reach"] ** 2, (EARLIER + 1) * channels, channels)
    fine, channels = 4 * coarse, vae["decoder_fine"]
    yield ConvolutionWork(coarse, 1, vae["decoder_coarse"], 4 * channels)
    yield from _stage(fine, channels, vae["decoder_blocks"][0])
    yield ConvolutionWork(fine, IN_FRAME, channels, PIXELS)
    if detail := vae["detail"]:
        yield ConvolutionWork(fine, 1, channels, 4 * detail)
        yield from _stage(4 * fine, detail, 1)
        yield ConvolutionWork(4 * fine, IN_FRAME, detail, PIXELS)


def _encoder_layers(vae: Mapping[str, Any], latents: tuple[int, int, int]) -> Iterator[ConvolutionWork]:
    """As in ``networks.mini_vae.MiniVAE.raw_encode``."""
    length, height, width = latents
    coarse, fine = length * height * width, 4 * length * height * width
    yield ConvolutionWork(fine, 1, PIXELS, vae["encoder_fine"])
    yield from _stage(fine, vae["encoder_fine"], vae["encoder_blocks"][0])
    channels = vae["encoder_coarse"]
    yield ConvolutionWork(coarse, 1, 4 * vae["encoder_fine"], channels)
    yield from _stage(coarse, channels, vae["encoder_blocks"][1])
    for _ in range(vae["encoder_blocks"][1] - 1):
        yield ConvolutionWork(coarse, vae["reach"] ** 2, (EARLIER + 1) * channels, channels)
    yield ConvolutionWork(coarse, 1, channels, vae["channels"])


def _stage(positions: int, channels: int, blocks: int) -> Iterator[ConvolutionWork]:
    """Residual blocks of two convolutions each."""
    for _ in range(2 * blocks):
        yield ConvolutionWork(positions, IN_FRAME, channels, channels)
