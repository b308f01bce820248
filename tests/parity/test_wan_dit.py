"""Our Wan transformer against diffusers' WanTransformer3DModel: same weights, same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_skyreels_v2 import SkyReelsV2Transformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn

from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT

SMALL = WanConfig(
    num_layers=2, heads=2, head_dim=24, in_channels=4, out_channels=4, text_dim=20, freq_dim=32, ffn_dim=64
)


def sized(**sizes: object) -> WanConfig:
    return WanConfig(**{**vars(SMALL), **sizes})  # type: ignore[arg-type]


CASES = {
    "head of 24": (SMALL, (3, 4, 6), 1),
    "head of 48": (sized(head_dim=48, heads=3), (2, 6, 4), 2),
    "head of 64": (sized(head_dim=64), (5, 2, 8), 2),
    "head of 128": (sized(head_dim=128, num_layers=1), (2, 8, 4), 1),
    "condition channels": (sized(in_channels=36, out_channels=16), (3, 4, 6), 2),
    "one frame": (SMALL, (1, 6, 10), 3),
    "patch in time": (sized(patch=(2, 2, 2)), (4, 4, 6), 2),
    "no cross norm": (sized(cross_attn_norm=False), (2, 4, 4), 2),
}


def said(config: WanConfig) -> dict[str, Any]:
    """The sizes in diffusers' words."""
    return {
        "patch_size": config.patch,
        "num_attention_heads": config.heads,
        "attention_head_dim": config.head_dim,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "text_dim": config.text_dim,
        "freq_dim": config.freq_dim,
        "ffn_dim": config.ffn_dim,
        "num_layers": config.num_layers,
        "cross_attn_norm": config.cross_attn_norm,
        "eps": config.eps,
        "image_dim": config.image_dim,
        "added_kv_proj_dim": None if config.image_dim is None else config.dim,
        "pos_embed_seq_len": config.pos_embed_seq_len,
    }


def theirs(config: WanConfig) -> WanTransformer3DModel:
    return WanTransformer3DModel(**said(config))


def alike(ours: nn.Module, reference: nn.Module) -> None:
    """Gives both the same lively random weights: every bias, norm and table counts."""
    with torch.no_grad():
        for parameter in reference.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.normal_(std=1.2 * fan_in**-0.5)
        for name, parameter in reference.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1.0)
    reference.eval()
    ours.eval().load_state_dict(reference.state_dict(), strict=True)


def pair(config: WanConfig) -> tuple[WanDiT, WanTransformer3DModel]:
    """Both networks with the same weights."""
    torch.manual_seed(0)
    ours, reference = WanDiT(config), theirs(config)
    alike(ours, reference)
    return ours, reference


def inputs(config: WanConfig, shape: tuple[int, int, int], batch: int) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, config.in_channels, *shape), torch.randn(batch, 7, config.text_dim)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gradients", [False, True])
@torch.no_grad()
def test_same_velocity(case: str, gradients: bool) -> None:
    config, shape, batch = CASES[case]
    ours, reference = pair(config)
    x, text = inputs(config, shape, batch)
    t = torch.linspace(3.7, 991.3, batch)
    with torch.set_grad_enabled(gradients):
        got = ours(x, t, text)
    want = reference(x, t, text, return_dict=False)[0]
    assert got.shape == want.shape and float(want.std()) > 0.1
    assert distance(got.detach(), want) <= 1e-5


@torch.no_grad()
def test_same_velocity_with_a_time_for_each_token() -> None:
    config, shape, batch = CASES["head of 48"]
    ours, reference = pair(config)
    x, text = inputs(config, shape, batch)
    tokens = shape[0] * shape[1] * shape[2] // 4
    t = torch.rand(batch, tokens) * 1000
    t[:, : tokens // 2] = 0.0
    want = reference(x, t, text, return_dict=False)[0]
    assert distance(ours(x, t, text), want) <= 1e-5
    assert distance(ours(x, t[:, :1].expand_as(t), text), ours(x, t[:, 0], text)) <= 1e-6


def test_same_gradients() -> None:
    config, shape, batch = CASES["head of 24"]
    ours, reference = pair(config)
    x, text = inputs(config, shape, batch)
    t = torch.full((batch,), 500.0)
    ours(x, t, text).square().mean().backward()
    reference(x, t, text, return_dict=False)[0].square().mean().backward()
    same_gradients(ours, reference)


def same_gradients(ours: nn.Module, reference: nn.Module) -> None:
    wanted = dict(reference.named_parameters())
    for name, parameter in ours.named_parameters():
        got, want = parameter.grad, wanted[name].grad
        assert got is not None and want is not None, name
        assert torch.allclose(got, want, rtol=1e-3, atol=1e-5 * float(want.abs().max()) + 1e-6), name


@torch.no_grad()
def test_same_velocity_in_bfloat16() -> None:
    config, shape, batch = CASES["head of 64"]
    ours, reference = pair(config)
    x, text = inputs(config, shape, batch)
    t = torch.full((batch,), 640.0)
    exact = ours(x, t, text)
    ours, reference = ours.bfloat16(), reference.bfloat16()
    got = ours(x, t, text)
    want = reference(x.bfloat16(), t, text.bfloat16(), return_dict=False)[0]
    assert got.dtype == torch.bfloat16
    assert distance(got.float(), exact) <= 1.5 * distance(want.float(), exact)


@pytest.mark.parametrize(
    "config", [WanConfig(), WanConfig(num_layers=40, heads=40, ffn_dim=13824), WanConfig(in_channels=36)]
)
def test_same_names_and_shapes_as_the_true_sizes(config: WanConfig) -> None:
    with torch.device("meta"):
        ours, reference = WanDiT(config).state_dict(), theirs(config).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in reference.items()}
    assert config.dim in (1536, 5120)


@torch.no_grad()
def test_masked_text_is_not_seen() -> None:
    ours, _ = pair(SMALL)
    x, text = inputs(SMALL, (2, 4, 4), 2)
    t = torch.tensor([300.0, 900.0])
    mask = torch.arange(7)[None] < torch.tensor([[3], [7]])
    other = torch.where(mask[..., None], text, torch.randn_like(text))
    assert torch.equal(ours(x, t, text, mask), ours(x, t, other, mask))
    assert distance(ours(x, t, text, mask)[:1], ours(x[:1], t[:1], text[:1, :3])) <= 1e-5
    assert distance(ours(x, t, text, mask)[1:], ours(x, t, text)[1:]) <= 1e-5


def test_trains_from_zero_velocity() -> None:
    torch.manual_seed(0)
    model = WanDiT(SMALL)
    model.init_weights()
    x, text = inputs(SMALL, (2, 4, 4), 2)
    t = torch.tensor([300.0, 900.0])
    assert not model(x, t, text).any()
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = (model(x, t, text) - x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None for p in model.parameters())


@torch.no_grad()
def test_compiles_whole() -> None:
    model, _ = pair(SMALL)
    x, text = inputs(SMALL, (2, 4, 4), 2)
    t = torch.tensor([300.0, 900.0])
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert distance(compiled(x, t, text), model(x, t, text)) <= 1e-6


@torch.no_grad()
def test_same_velocity_where_the_first_frame_is_at_time_zero() -> None:
    """As TI2V-5B is told of a known first frame."""
    config, shape = sized(in_channels=48, out_channels=48, head_dim=48), (3, 4, 6)
    ours, reference = pair(config)
    x, text = inputs(config, shape, 1)
    t = torch.full((1, 18), 731.0)
    t[:, :6] = 0.0
    want = reference(x, t, text, return_dict=False)[0]
    assert distance(ours(x, t, text), want) <= 1e-5
    assert distance(ours(x, torch.tensor([731.0]), text), want) > 1e-2


# Pictures -----------------------------------------------------------------------------------------------------------

SEEING = sized(in_channels=36, out_channels=16, image_dim=20)
ENDS = sized(in_channels=36, out_channels=16, image_dim=20, pos_embed_seq_len=10)
TEXT = 512  # their network tells a picture's tokens from words by this many words


def sights(config: WanConfig, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, times, 512 words, and each sample's picture of five tokens, or two of them."""
    x, text = torch.randn(batch, config.in_channels, 2, 4, 6), torch.randn(batch, TEXT, config.text_dim)
    pictures = 1 if config.pos_embed_seq_len is None else 2
    return x, torch.linspace(61.0, 937.0, batch), text, torch.randn(pictures * batch, 5, 20)


@pytest.mark.parametrize("config", [SEEING, ENDS], ids=["first", "first and last"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("gradients", [False, True])
@torch.no_grad()
def test_same_velocity_with_pictures(config: WanConfig, batch: int, gradients: bool) -> None:
    ours, reference = pair(config)
    x, t, text, image = sights(config, batch)
    with torch.set_grad_enabled(gradients):
        got = ours(x, t, text, image_BLD=image)
    want = reference(x, t, text, image, return_dict=False)[0]
    assert float(want.std()) > 0.1
    assert distance(got.detach(), want) <= 1e-5


@pytest.mark.parametrize("config", [SEEING, ENDS], ids=["first", "first and last"])
def test_same_gradients_with_pictures(config: WanConfig) -> None:
    ours, reference = pair(config)
    x, t, text, image = sights(config, 2)
    ours(x, t, text, image_BLD=image).square().mean().backward()
    reference(x, t, text, image, return_dict=False)[0].square().mean().backward()
    same_gradients(ours, reference)


@torch.no_grad()
def test_two_pictures_in_one_row_or_in_two() -> None:
    ours, _ = pair(ENDS)
    x, t, text, image = sights(ENDS, 2)
    assert torch.equal(ours(x, t, text, image_BLD=image.reshape(2, 10, 20)), ours(x, t, text, image_BLD=image))


@torch.no_grad()
def test_places_tell_the_first_picture_from_the_last() -> None:
    ours, _ = pair(ENDS)
    x, t, text, image = sights(ENDS, 1)
    assert distance(ours(x, t, text, image_BLD=image.flip(0)), ours(x, t, text, image_BLD=image)) > 1e-2


@torch.no_grad()
def test_pictures_are_no_words() -> None:
    """Any number of words may stand beside a picture, and a mask of words leaves the picture alone."""
    ours, _ = pair(SEEING)
    x, t, text, image = sights(SEEING, 2)
    mask = (torch.arange(TEXT) < 7).expand(2, -1)
    few = ours(x, t, text[:, :7], image_BLD=image)
    assert distance(ours(x, t, text, mask, image_BLD=image), few) <= 1e-5
    assert distance(ours(x, t, text[:, :7], image_BLD=image + 1.5 * torch.randn_like(image)), few) > 1e-2


@torch.no_grad()
def test_no_picture_is_as_in_their_network() -> None:
    ours, reference = pair(SEEING)
    x, t, text, _ = sights(SEEING, 2)
    assert distance(ours(x, t, text), reference(x, t, text, return_dict=False)[0]) <= 1e-5


def test_refuses_pictures_that_do_not_fit() -> None:
    x, t, text, image = sights(SEEING, 2)
    with pytest.raises(ValueError, match="takes no image"):
        WanDiT(sized(in_channels=36, out_channels=16))(x, t, text, image_BLD=image)
    with pytest.raises(ValueError, match="3 samples"):
        WanDiT(SEEING)(x, t, text, image_BLD=torch.randn(3, 5, 20))
    with pytest.raises(ValueError, match="a first and a last"):
        WanDiT(ENDS)(x[:1], t[:1], text[:1], image_BLD=image[:1])
    with pytest.raises(ValueError, match="image_dim"):
        sized(pos_embed_seq_len=10)


# The frame rate -----------------------------------------------------------------------------------------------------

TOLD = sized(inject_sample_info=True)


def told() -> tuple[WanDiT, SkyReelsV2Transformer3DModel]:
    torch.manual_seed(0)
    ours, reference = WanDiT(TOLD), SkyReelsV2Transformer3DModel(**said(TOLD), inject_sample_info=True)
    alike(ours, reference)
    return ours, reference


@pytest.mark.parametrize("fps", [16, 24])
@torch.no_grad()
def test_same_velocity_with_a_frame_rate(fps: int) -> None:
    """One time for each frame, and one for all."""
    ours, reference = told()
    x, text = inputs(TOLD, (3, 4, 6), 1)
    t_frames = torch.tensor([[0.0, 211.0, 731.3]])
    t_tokens = t_frames.repeat_interleave(6, dim=1)
    index = [0 if fps == 16 else 1]
    want = reference(x, t_frames, text, enable_diffusion_forcing=True, fps=index, return_dict=False)[0]
    assert distance(ours(x, t_tokens, text, fps=fps), want) <= 1e-5
    want = reference(x, t_frames[:, 1], text, fps=index, return_dict=False)[0]
    assert distance(ours(x, t_frames[:, 1], text, fps=fps), want) <= 1e-5
    assert distance(ours(x, t_frames[:, 1], text, fps=40 - fps), want) > 1e-2


@torch.no_grad()
def test_frame_rate_only_where_it_is_told() -> None:
    x, text = inputs(SMALL, (2, 4, 4), 1)
    with pytest.raises(ValueError, match="expected the clip's"):
        WanDiT(TOLD)(x, torch.tensor([300.0]), text)
    with pytest.raises(ValueError, match="no frame rate"):
        WanDiT(SMALL)(x, torch.tensor([300.0]), text, fps=16)


def test_refuses_sizes_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="patches"):
        SMALL.token_shape((2, 5, 4))
