"""The Wan autoencoders' own promises, on random weights: tiles and chunks change nothing, films stream, sizes are
checked."""

from __future__ import annotations

import gc
import json
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sora.networks.wan.vae import WAN21, WAN22, Decoder, Encoder, WanVAE, WanVAEConfig, tile_spans
from sora.networks.wan.vae_tiling import trace_spans
from sora.runtime.winograd import Winograd

STATISTICS: dict[str, Any] = {"latents_mean": (0.3, -0.7), "latents_std": (2.1, 0.6)}
SMALL = WanVAEConfig(
    base_dim=4, z_dim=2, dim_mult=(1, 2, 2), num_res_blocks=1, temperal_downsample=(True, True), **STATISTICS
)
RESIDUAL = WanVAEConfig(**{**vars(SMALL), "is_residual": True, "in_channels": 12, "out_channels": 12, "patch_size": 2})


def lively(config: WanVAEConfig) -> WanVAE:
    """Random weights of which every one counts: what one place sees, its outputs show."""
    torch.manual_seed(0)
    model = WanVAE(config).eval().requires_grad_(False)
    model.convolver = Winograd
    for name, parameter in model.named_parameters():
        fan_in = 16 if "gamma" in name or parameter.ndim == 1 else parameter[0].numel()
        parameter.normal_(std=1.2 * fan_in**-0.5)
        if "gamma" in name:
            parameter.add_(1.0)
    model.decoder.conv_out.weight.mul_(0.5)
    return model


MODELS = {"2.1": lively(SMALL), "2.2": lively(RESIDUAL)}
both = pytest.mark.parametrize("kind", MODELS)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def film(kind: str, frames: int, h: int, w: int) -> Tensor:
    space = MODELS[kind].config.space
    return noise(1, 3, frames, h * space, w * space).clamp(-1, 1)


def farthest(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@both
@settings(max_examples=8)
@given(h=st.integers(1, 21), w=st.integers(1, 21), tile=st.integers(1, 9))
def test_tiles_change_no_pixel(kind: str, h: int, w: int, tile: int) -> None:
    latents = noise(1, 2, 3, h, w)
    tile = max(tile, -(-max(h, w) // 5))  # at most 25 tiles: each costs as much as a small picture
    assert farthest(MODELS[kind].decode(latents, tile), MODELS[kind].decode(latents)) <= 1e-5


@both
@settings(max_examples=8)
@given(h=st.integers(1, 17), w=st.integers(1, 17), tile=st.integers(1, 9))
def test_tiles_change_no_latent(kind: str, h: int, w: int, tile: int) -> None:
    pixels = film(kind, 5, h, w)
    tile = max(tile, -(-max(h, w) // 4))
    assert farthest(MODELS[kind].encode(pixels, tile), MODELS[kind].encode(pixels)) <= 1e-5


@both
def test_a_tile_with_neighbours_all_around(kind: str) -> None:
    """No side of the middle tile reaches a border, so every cut is one that could leave a trace."""
    latents, pixels = noise(1, 2, 2, 27, 27), film(kind, 5, 18, 18)
    assert farthest(MODELS[kind].decode(latents, 9), MODELS[kind].decode(latents)) <= 1e-5
    assert farthest(MODELS[kind].encode(pixels, 6), MODELS[kind].encode(pixels)) <= 1e-5


@pytest.mark.parametrize("config", [WAN21, WAN22])
def test_the_reach_of_the_true_sizes(config: WanVAEConfig) -> None:
    """Worked out by hand: two places a residual block, one for every other convolution, halved as the scale doubles."""
    with torch.device("meta"):
        up, down = Decoder(config).steps(), Encoder(config).steps()
    reaches = [reach for _, reach in up]
    assert trace_spans(reaches, (800, 880), 1000) == [
        (87, 123),
        (188, 232),
        (390, 450),
        (793, 887),
        (799, 881),
        (800, 880),
    ]
    assert trace_spans(reaches, (0, 8000), 1000) == [(0, 1000), (0, 2000), (0, 4000), (0, 8000), (0, 8000), (0, 8000)]
    assert trace_spans([reach for _, reach in down], (100, 110), 8000)[0] == (800 - 75, 880 + 75)


@both
@pytest.mark.parametrize("at_once", [1, 2, 3, 7])
def test_latents_at_once_change_no_pixel(kind: str, at_once: int) -> None:
    latents = noise(2, 2, 6, 3, 4)
    chunks = list(MODELS[kind].stream(latents, tile=2, latents_at_once=at_once))
    assert [c.shape[2] for c in chunks] == [1, *(4 * len(range(i, min(i + at_once, 6))) for i in range(1, 6, at_once))]
    assert farthest(torch.cat(chunks, dim=2), MODELS[kind].decode(latents)) <= 1e-5


@both
def test_shapes_and_range(kind: str) -> None:
    model = MODELS[kind]
    pixels = film(kind, 9, 2, 3)
    latents = model.encode(pixels)
    decoded = model.decode(2 * latents)
    assert latents.shape == (1, 2, 3, 2, 3) and decoded.shape == pixels.shape
    assert float(decoded.abs().max()) <= 1
    mean, _ = model.moments(pixels)
    wide = [torch.tensor(v).view(1, -1, 1, 1, 1) for v in STATISTICS.values()]
    assert farthest(latents * wide[1] + wide[0], mean) <= 1e-5


@both
def test_later_frames_never_reach_back(kind: str) -> None:
    model = MODELS[kind]
    pixels, latents = film(kind, 9, 2, 3), noise(1, 2, 3, 2, 3)
    assert farthest(model.encode(pixels)[:, :, :2], model.encode(pixels[:, :, :5])) <= 1e-5
    assert farthest(model.decode(latents)[:, :, :5], model.decode(latents[:, :, :2])) <= 1e-5


@both
def test_latents_are_read_as_they_are_needed(kind: str) -> None:
    model, latents = MODELS[kind], noise(1, 2, 4, 2, 3)
    stream = model.stream(latents)
    first = next(stream)
    latents[:, :, 1:] = noise(1, 2, 3, 3, 2).transpose(-1, -2)
    assert farthest(torch.cat([first, *stream], dim=2), model.decode(latents)) <= 1e-5


@both
@pytest.mark.parametrize("tile", [None, 2])
def test_memory_does_not_grow_with_the_film(kind: str, tile: int | None) -> None:
    def held() -> int:
        tensors = [o for o in gc.get_objects() if type(o) in (Tensor, nn.Parameter)]
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())

    latents = noise(1, 2, 7, 3, 4)
    stream = MODELS[kind].stream(latents, tile)
    gc.collect()
    held_after = []
    for chunk in stream:
        del chunk
        held_after.append(held())
    # The second chunk is the first that doubles time, and so makes the last of the pasts.
    assert held_after[0] < held_after[1]
    assert max(held_after[2:]) <= held_after[1]


@both
def test_the_weights_have_the_last_word_on_floats(kind: str) -> None:
    model = lively(MODELS[kind].config).bfloat16()
    assert next(model.stream(noise(1, 2, 1, 2, 3))).dtype == torch.bfloat16
    assert model.encode(film(kind, 1, 2, 3)).dtype == torch.float32


@both
def test_refuses_other_sizes(kind: str) -> None:
    model = MODELS[kind]
    space = model.config.space
    for shape in [
        (1, 3, 4, space, space),
        (1, 3, 5, space + 2, space),
        (1, 4, 5, space, space),
        (1, 3, 0, space, space),
    ]:
        with pytest.raises(ValueError, match="expected 3 channels, 1 \\+ 4k frames"):
            model.encode(torch.zeros(shape))
    for shape in [(1, 3, 2, 2, 2), (1, 2, 0, 2, 2)]:
        with pytest.raises(ValueError, match="expected 2 channels"):
            model.stream(torch.zeros(shape))
    with pytest.raises(ValueError, match="latents at once"):
        model.stream(torch.zeros(1, 2, 2, 2, 2), latents_at_once=0)
    with pytest.raises(ValueError, match="tiles of 0"):
        model.stream(torch.zeros(1, 2, 2, 2, 2), tile=0)
    with pytest.raises(ValueError, match="tiles of -1"):
        model.encode(torch.zeros(1, 3, 1, space, space), tile=-1)


@given(size=st.integers(1, 500), most=st.integers(1, 600), zoom=st.integers(1, 16))
def test_pieces_cover_an_axis(size: int, most: int, zoom: int) -> None:
    pieces = tile_spans(size, most, zoom)
    assert pieces[0][0] == 0 and pieces[-1][1] == size * zoom
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
    assert all(0 < high - low <= most * zoom for low, high in pieces)
    assert len(pieces) == -(-size // most)


def test_reads_a_config() -> None:
    written = {
        "_class_name": "AutoencoderKLWan",
        "_diffusers_version": "0.35.0.dev0",
        "attn_scales": [],
        "dropout": 0.0,
    }
    assert WanVAEConfig.from_json(written) == WAN21
    sizes = {"z_dim": 2, "decoder_base_dim": None, "latents_mean": [0, 0.5], "latents_std": [1.0, 2]}
    read = WanVAEConfig.from_json(
        json.loads(json.dumps({**written, **sizes, "temperal_downsample": [True, True, False]}))
    )
    assert read.z_dim == 2 and read.latents_std == (1.0, 2) and read.temperal_downsample == (True, True, False)
    assert (WAN21.time, WAN21.space) == (4, 8) and (WAN22.time, WAN22.space) == (4, 16)


WRONG = {
    "base_dim": [0, -96, 96.0, "96", True, None, [96]],
    "dim_mult": [4, [], [1, 2, "4", 4], [1, 2, 0, 4], None, "1244", [1, 2]],
    "temperal_downsample": [[0, 1, 1], True, [False, True]],
    "latents_mean": [[0.0] * 15, 0.0, ["a"] * 16, [float("nan")] * 16, None],
    "latents_std": [[0.0] * 16, [-1.0] * 16, [True] * 16],
    "is_residual": [1, "true", None],
    "z_dim": [48],
    "patch_size": [2, 0],
    "in_channels": [4],
    "attn_scales": [[0.5]],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_refuses_a_config(key: str, value: object) -> None:
    with pytest.raises(ValueError):
        WanVAEConfig.from_json({key: value})


def test_says_what_is_wrong_in_a_config() -> None:
    with pytest.raises(ValueError, match=r"base_dim is '96' in the VAE's config\.json, where a count belongs"):
        WanVAEConfig.from_json({"base_dim": "96"})
    with pytest.raises(ValueError, match="holds list, where an object belongs"):
        WanVAEConfig.from_json([])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="do not fold"):
        WanVAE(WanVAEConfig(base_dim=4, dim_mult=(1, 3, 32), temperal_downsample=(False, False), is_residual=True))
    with pytest.raises(ValueError, match="dealt out"):
        WanVAE(
            WanVAEConfig(base_dim=4, dim_mult=(1, 1, 8, 8), temperal_downsample=(False, False, True), is_residual=True)
        )
