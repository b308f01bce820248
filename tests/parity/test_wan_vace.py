"""Our Wan transformer with a control branch against diffusers' WanVACETransformer3DModel: the same numbers."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from test_wan_dit import alike, distance, said, same_gradients, sized
from torch import Tensor

from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT
from sora.networks.wan.vace import WanVACE, build_transformer

LED = sized(num_layers=5, vace_layers=(0, 2, 3), vace_in_channels=12)

CASES = {
    "one for a few": (LED, 1),
    "batch of two": (LED, 2),
    "every layer": (sized(num_layers=3, vace_layers=(0, 1, 2), vace_in_channels=12), 2),
    "the first alone": (sized(num_layers=3, vace_layers=(0,), vace_in_channels=12), 1),
    "no cross norm": (sized(num_layers=3, vace_layers=(0, 2), vace_in_channels=12, cross_attn_norm=False), 1),
}


def pair(config: WanConfig) -> tuple[WanVACE, WanVACETransformer3DModel]:
    torch.manual_seed(0)
    branch = {"vace_layers": list(config.vace_layers), "vace_in_channels": config.vace_in_channels}
    ours, reference = WanVACE(config), WanVACETransformer3DModel(**said(config), **branch)
    alike(ours, reference)
    return ours, reference


def inputs(config: WanConfig, batch: int, words: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, times, text and control."""
    x, text = torch.randn(batch, config.in_channels, 3, 4, 6), torch.randn(batch, words, config.text_dim)
    return x, torch.linspace(61.0, 937.0, batch), text, torch.randn(batch, config.vace_in_channels, 3, 4, 6)


def scales(config: WanConfig) -> list[float]:
    return [0.3 + 0.4 * i for i in range(len(config.vace_layers))]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gradients", [False, True])
@torch.no_grad()
def test_same_velocity(case: str, gradients: bool) -> None:
    config, batch = CASES[case]
    ours, reference = pair(config)
    x, t, text, control = inputs(config, batch)
    with torch.set_grad_enabled(gradients):
        whole = ours(x, t, text, control_BCTHW=control)
        scaled = ours(x, t, text, control_BCTHW=control, control_scale=scales(config))
    want = reference(x, t, text, None, control, return_dict=False)[0]
    assert float(want.std()) > 0.1
    assert distance(whole.detach(), want) <= 1e-5
    want = reference(x, t, text, None, control, torch.tensor(scales(config)), return_dict=False)[0]
    assert distance(scaled.detach(), want) <= 1e-5
    assert distance(whole.detach(), want) > 1e-2


def test_same_gradients() -> None:
    ours, reference = pair(LED)
    x, t, text, control = inputs(LED, 2)
    ours(x, t, text, control_BCTHW=control, control_scale=0.7).square().mean().backward()
    scale = torch.full((3,), 0.7)
    reference(x, t, text, None, control, scale, return_dict=False)[0].square().mean().backward()
    same_gradients(ours, reference)


@torch.no_grad()
def test_same_velocity_with_pictures() -> None:
    config = sized(num_layers=3, vace_layers=(0, 2), vace_in_channels=12, image_dim=20)
    ours, reference = pair(config)
    x, t, text, control = inputs(config, 2, words=512)
    image = torch.randn(2, 5, 20)
    want = reference(x, t, text, image, control, return_dict=False)[0]
    assert distance(ours(x, t, text, image_BLD=image, control_BCTHW=control), want) <= 1e-5


@torch.no_grad()
def test_same_velocity_in_bfloat16() -> None:
    ours, reference = pair(LED)
    x, t, text, control = inputs(LED, 2)
    exact = ours(x, t, text, control_BCTHW=control, control_scale=0.7)
    ours, reference = ours.bfloat16(), reference.bfloat16()
    got = ours(x, t, text, control_BCTHW=control, control_scale=0.7)
    x, text, control, scale = (a.bfloat16() for a in (x, text, control, torch.full((3,), 0.7)))
    want = reference(x, t, text, None, control, scale, return_dict=False)[0]
    assert got.dtype == torch.bfloat16
    assert distance(got.float(), exact) <= 1.5 * distance(want.float(), exact)


@torch.no_grad()
def test_without_control_it_is_the_plain_network() -> None:
    ours, _ = pair(LED)
    x, t, text, control = inputs(LED, 2)
    plain = WanDiT(sized(num_layers=5)).eval()
    plain.load_state_dict({k: v for k, v in ours.state_dict().items() if not k.startswith("vace_")}, strict=True)
    assert torch.equal(ours(x, t, text), plain(x, t, text))
    assert torch.equal(ours(x, t, text, control_BCTHW=control, control_scale=0.0), plain(x, t, text))


def test_refuses_a_control_that_does_not_fit() -> None:
    model = WanVACE(LED)
    x, t, text, control = inputs(LED, 2)
    for wrong in (control[:1], control[:, :4], control[:, :, :2]):
        with pytest.raises(ValueError, match=r"expected \(2, 12, 3, 4, 6\)"):
            model(x, t, text, control_BCTHW=wrong)
    with pytest.raises(ValueError, match="2 scales"):
        model(x, t, text, control_BCTHW=control, control_scale=[1.0, 0.5])


@pytest.mark.parametrize("layers", [(1, 2), (0, 2, 2), (0, 3, 2), (0, 5)])
def test_refuses_layers_that_are_not_there(layers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rising from 0 to at most 4"):
        sized(num_layers=5, vace_layers=layers)


def test_builds_what_the_sizes_ask_for() -> None:
    assert type(build_transformer(LED)) is WanVACE
    assert type(build_transformer(sized())) is WanDiT
    with pytest.raises(ValueError, match="vace_layers"):
        WanVACE(sized())
