"""Convolutions by minimal filtering against torch's own: all sizes, with and without time, and when they stand back."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sora.networks.mini_vae import MiniVAE, MiniVAEConfig
from sora.networks.wan.vae import WanVAE, WanVAEConfig
from sora.runtime import winograd
from sora.runtime.winograd import Winograd, transforms

CLOSE = 1e-5  # of the result's size; a wrong number anywhere makes it far more


def layer_of(taps: int, dim_in: int = 16, dim_out: int = 16, bias: bool = True) -> nn.Conv2d | nn.Conv3d:
    torch.manual_seed(0)
    if taps == 1:
        return nn.Conv2d(dim_in, dim_out, 3, padding=1, bias=bias).requires_grad_(False)
    return nn.Conv3d(dim_in, dim_out, 3, padding=(0, 1, 1), bias=bias).requires_grad_(False)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def distance(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def farthest(a: Tensor, b: Tensor) -> float:
    """The largest difference, of the largest result: rounding grows with what is rounded."""
    return float((a - b).abs().max() / b.abs().max().clamp(min=1))


def zeros_before(x_BCTHW: Tensor) -> Tensor:
    return torch.zeros_like(x_BCTHW[:, :, :1]).expand(-1, -1, 2, -1, -1)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_the_transforms_make_a_correlation(outputs: int) -> None:
    signal, taps = noise(outputs + 2).double(), noise(3).double()
    t = transforms(outputs)
    want = torch.stack([signal[i : i + 3] @ taps for i in range(outputs)])
    assert torch.allclose(t.result @ ((t.signal @ signal) * (t.taps @ taps)), want, atol=1e-12)


@settings(max_examples=40)
@given(
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    frames=st.integers(1, 8),
    size=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    batch=st.integers(1, 2),
    bias=st.booleans(),
    strip=st.sampled_from([1, 2**14, 2**21]),
    at_once=st.sampled_from([0, 2**25]),
)
def test_with_time(
    channels: tuple[int, int], frames: int, size: tuple[int, int], batch: int, bias: bool, strip: int, at_once: int
) -> None:
    layer, x = layer_of(3, *channels, bias), noise(batch, channels[0], frames, *size)
    past, kept = noise(batch, channels[0], 2, *size).flip(2), torch.empty(batch, channels[0], 2, *size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "STRIP_BYTES", strip)
        patch.setattr(winograd, "WIDE_STRIP_BYTES", strip)
        patch.setattr(winograd, "MAX_TRANSFORMED_BYTES", at_once)
        kept.copy_(past)
        got = Winograd().convolve(layer, x, past_BCFHW=kept)
        line = torch.cat([past, x], dim=2)
        assert farthest(got, layer(line)) <= CLOSE
        assert torch.equal(kept, line[:, :, -2:])
        kept.fill_(float("nan"))
        first = Winograd().convolve(layer, x, past_BCFHW=kept, past_is_zero=True)
        line = torch.cat([zeros_before(x), x], dim=2)
        assert farthest(first, layer(line)) <= CLOSE
        assert torch.equal(kept, line[:, :, -2:])


@settings(max_examples=40)
@given(
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    frames=st.integers(1, 3),
    size=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    strip=st.sampled_from([1, 2**14, 2**21]),
)
def test_frames_alone_and_doubled(channels: tuple[int, int], frames: int, size: tuple[int, int], strip: int) -> None:
    layer, x = layer_of(1, *channels), noise(frames, channels[0], *size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "STRIP_BYTES", strip)
        assert farthest(Winograd().convolve_frames(layer, x), layer(x)) <= CLOSE  # type: ignore[arg-type]
        got = Winograd().convolve(layer, x.transpose(0, 1)[None], upscale=2)[0].transpose(0, 1)
        assert farthest(got, layer(F.interpolate(x, scale_factor=2.0, mode="nearest"))) <= CLOSE


@pytest.mark.parametrize("strip", [1, 2**21])
def test_in_place_prepared_and_added(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "STRIP_BYTES", strip)
    layer, added = layer_of(3), noise(1, 16, 4, 21, 13)
    x = torch.randn(1, 4, 21, 13, 16).permute(0, 4, 1, 2, 3)
    want = layer(torch.cat([zeros_before(x), F.silu(x)], dim=2)) + added
    got = Winograd().convolve(
        layer,
        x,
        past_BCFHW=torch.zeros(1, 16, 2, 21, 13),
        prepare=lambda y: F.silu(y, inplace=True),
        residual_BDTHW=added,
        in_place=True,
    )
    assert got.data_ptr() == x.data_ptr()
    assert distance(got, want) <= CLOSE


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_the_error_stays_near_the_plain_one(frames: int) -> None:
    """Ten times at most, against float64, at the width of the true autoencoder."""
    layer, x = layer_of(3, 96, 96), F.silu(noise(1, 96, frames + 2, 16, 16))
    exact = F.conv3d(x.double(), layer.weight.double(), layer.bias.double(), padding=(0, 1, 1))  # type: ignore[union-attr]
    got = Winograd().convolve(layer, x[:, :, 2:], past_BCFHW=x[:, :, :2].clone())
    assert distance(got, exact) <= 10 * distance(layer(x), exact)


@pytest.mark.parametrize("taps", [1, 3])
def test_a_changed_weight_is_noticed(taps: int) -> None:
    layer, x = layer_of(taps), noise(1, 16, 2, 12, 12)

    def run() -> Tensor:
        past = torch.zeros(1, 16, 2, 12, 12) if taps == 3 else None
        return Winograd().convolve(layer, x, past_BCFHW=past)

    before = run()
    with torch.no_grad():
        layer.weight.mul_(2)
        if layer.bias is not None:
            layer.bias.mul_(2)
    assert distance(run(), 2 * before) <= CLOSE
    layer.weight = nn.Parameter(layer.weight / 2, requires_grad=False)
    if layer.bias is not None:
        layer.bias.div_(2)
    assert distance(run(), before) <= CLOSE


def test_stands_back() -> None:
    layer, x, takes = layer_of(3), noise(1, 16, 4, 16, 16), Winograd.is_faster
    assert takes(layer, 16, 16, x)
    assert not takes(layer, 16, 16, x.bfloat16())
    assert not takes(layer, 16, 16, x.to("meta"))
    assert not takes(layer, 4, 4, x)
    assert not takes(layer_of(3, 3), 16, 16, x)
    for other in [
        nn.Conv3d(16, 16, (3, 1, 1)),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.Conv2d(16, 16, 3),
        nn.Conv2d(16, 16, 3, padding=1, groups=2),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect"),
    ]:
        assert not takes(other.requires_grad_(False), 16, 16, x)
    assert not takes(layer, 16, 16, x.requires_grad_())
    assert not takes(layer.requires_grad_(), 16, 16, x.detach())
    with torch.no_grad():
        assert takes(layer, 16, 16, x)


def lively(model: nn.Module) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fan_in = 16 if parameter.ndim == 1 else parameter[0].numel()
            parameter.normal_(std=1.2 * fan_in**-0.5)
            if "gamma" in name:
                parameter.normal_(mean=1.0, std=0.25)


WAN: dict[str, WanVAEConfig] = {
    "2.1": WanVAEConfig(base_dim=16, num_res_blocks=1),
    "2.2": WanVAEConfig(base_dim=16, num_res_blocks=1, is_residual=True, in_channels=12, out_channels=12, patch_size=2),
}


@pytest.mark.parametrize("tile", [None, 3])
@pytest.mark.parametrize("kind", WAN)
def test_the_wan_autoencoders_do_with_and_without(kind: str, tile: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = WanVAE(WAN[kind]).eval().requires_grad_(False)
    lively(model)
    pixels = noise(1, 3, 9, 5 * model.config.space, 6 * model.config.space).clamp(-1, 1)
    model.convolver = Winograd
    calls = []
    real = winograd.run_conv
    monkeypatch.setattr(winograd, "run_conv", lambda *args: (calls.append(1), real(*args)))
    latents = model.encode(pixels, tile)
    film = model.decode(latents, tile)
    taken = len(calls)
    model.convolver = None
    assert distance(latents, model.encode(pixels)) <= 2e-5
    assert distance(film, model.decode(latents)) <= 2e-5 and float(film.std()) > 0.1
    assert taken > 10 and len(calls) == taken


@pytest.mark.parametrize("detail", [0, 16])
def test_the_embedded_autoencoder_does_with_and_without(detail: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MiniVAE(MiniVAEConfig(16, 16, 32, (1, 2), 32, 32, (1, 2), detail, 3)).eval().requires_grad_(False)
    lively(model)
    pixels = noise(1, 3, 13, 9 * model.config.space, 13 * model.config.space).clamp(-1, 1)
    model.convolver = Winograd
    calls = []
    real = winograd.run_conv
    monkeypatch.setattr(winograd, "run_conv", lambda *args: (calls.append(1), real(*args)))
    latents = model.encode(pixels)
    film = torch.cat(list(model.stream(latents)), dim=2)
    taken = len(calls)
    model.convolver = None
    assert distance(latents, model.encode(pixels)) <= 2e-5
    assert distance(film, model.decode(latents)) <= 2e-5
    assert taken > 10 and len(calls) == taken


def test_training_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MiniVAE(MiniVAEConfig(16, 16, 32, (1, 2), 32, 32, (1, 2), 0, 3))
    lively(model)
    model.convolver = Winograd
    monkeypatch.setattr(winograd, "run_conv", lambda *_: pytest.fail("gradients would be lost"))
    model.decode(model.encode(noise(1, 3, 5, 64, 64))).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
