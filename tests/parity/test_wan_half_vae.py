"""The autoencoder in float16, as on a card: near float32, and back to it where numbers overflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from wan_folders import pipeline

from sora import catalog, models
from sora.engine.canvas import Canvas
from sora.models.wan import components
from sora.models.wan.model import Wan
from sora.networks.wan.vae import Float16Overflow
from sora.runtime.speed import Speed

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "t2v"
    pipeline("t2v").save_pretrained(place)
    return place


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch, *, half: bool) -> Wan:
    """On the CPU, with the autoencoder's dtype as on a card, in float32 otherwise."""
    dtype = torch.float16 if half else torch.float32
    monkeypatch.setattr(components, "usual_vae_dtype", lambda *_: dtype)
    model: Any = models.load(catalog.find(str(folder)), CPU, torch.float32)
    assert model.components.vae.quant_conv.weight.dtype == dtype
    return model


def decoded(model: Wan, latents: Tensor) -> Tensor:
    return torch.cat(list(model.decode(latents)))


def latents() -> Tensor:
    return torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("device", "dtype", "disabled", "expected"),
    [
        (CUDA, torch.bfloat16, (), torch.float16),
        (CUDA, torch.float32, (), torch.float32),
        (CUDA, torch.bfloat16, ("half-vae",), torch.float32),
        (CPU, torch.bfloat16, (), torch.float32),
    ],
)
def test_only_a_card_that_is_not_asked_for_float32_decodes_in_float16(
    device: torch.device, dtype: torch.dtype, disabled: tuple[str, ...], expected: torch.dtype
) -> None:
    assert components.usual_vae_dtype(device, dtype, Speed(disabled=frozenset(disabled))) == expected


def test_float16_decodes_and_encodes_near_float32(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, half = (loaded(folder, monkeypatch, half=is_half) for is_half in (False, True))
    a, b = decoded(half, latents()), decoded(wide, latents())
    assert 0 < float((a - b).square().mean()) <= 4e-6  # 60 dB of [-1, 1]
    frames = ((b + 1) * 127.5).round().to(torch.uint8)
    canvas = Canvas(frames, torch.ones(len(frames), 1, *frames.shape[2:], dtype=torch.bool), 16.0)
    x, y = (model.encode(canvas).clean_BCTHW for model in (half, wide))
    assert float((x - y).abs().max()) <= 0.02 * float(y.std())


def test_an_overflow_goes_on_in_float32_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, half = (loaded(folder, monkeypatch, half=is_half) for is_half in (False, True))
    given = latents()
    given[:, :, 2] *= 3e6  # the third latent alone is beyond float16
    with pytest.raises(Float16Overflow):
        half.components.vae.decode(given)
    frames = decoded(half, given)
    assert half.components.vae_dtype == torch.float32
    assert len(frames) == 9
    assert torch.equal(frames[5:], decoded(wide, given)[5:])


def test_channels_last_changes_no_number_beyond_rounding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(folder, monkeypatch, half=False)
    vae = model.components.vae
    vae.convolver = None
    plain = vae.decode(latents())
    assert float((vae.in_channels_last().decode(latents()) - plain).abs().max()) <= 1e-5
