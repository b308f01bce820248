"""The arithmetic of models, against tables of their makers' sizes and against what torch counts in the networks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sora import catalog, models, weights
from sora.models.layer_work import TransformerWork
from sora.models.mini import work as mini_work
from sora.models.wan import layout, vae_work
from sora.models.work import CanvasWork
from sora.networks.clip_vision import CLIPVision, CLIPVisionConfig
from sora.networks.mini_vae import MiniVAE, MiniVAEConfig
from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan import vace
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vae import WanVAE, WanVAEConfig

P480, P720, P704 = (81, 480, 832), (81, 720, 1280), (121, 704, 1280)
LIMITS = {  # model, canvas: TFLOP of a pass in linear layers, in self-attention and in all
    ("wan2.1-1.3b", P480): (82, 198, 283),
    ("wan2.1-1.3b", P720): (189, 1054, 1250),
    ("wan2.1-14b", P480): (783, 879, 1678),
    ("wan2.1-14b", P720): (1807, 4682, 6523),
    ("wan2.2-ti2v-5b", P704): (237, 274, 517),
}


def work_of(model: str, shape_FYX: tuple[int, int, int], *, encodes: bool = False, references: int = 0) -> CanvasWork:
    found = models.canvas_work(catalog.MODELS[model], shape_FYX, encodes=encodes, references=references)
    assert found is not None
    return found


@pytest.mark.parametrize(("model", "shape_FYX"), LIMITS)
def test_passes_take_what_their_layers_say(model: str, shape_FYX: tuple[int, int, int]) -> None:
    work = work_of(model, shape_FYX)
    assert (work.linear, work.attention, work.one_pass) == pytest.approx(LIMITS[model, shape_FYX], rel=0.02)


def test_autoencoders_take_what_their_layers_say() -> None:
    found = [work_of("wan2.1-1.3b", shape).decode.operations for shape in (P480, P720)]
    assert found == pytest.approx([275, 639], rel=0.02)


@pytest.mark.parametrize("model", ["wan2.1-i2v-14b-480p", "wan2.1-vace-1.3b", "wan2.2-ti2v-5b", "wan2.2-t2v-a14b"])
def test_parameters_are_those_of_the_networks(model: str) -> None:
    spec = catalog.MODELS[model]
    found = work_of(model, (17, 256, 256)).parameters
    networks = {name: layout.meta_module(spec, name, None) for name in found}
    real = {name: sum(p.numel() for p in network.parameters()) / 1e9 for name, network in networks.items()}
    assert found == pytest.approx(real, rel=0.02)
    blocks: list[nn.Module] = networks["transformer"].blocks_in_order()  # type: ignore[operator]
    in_blocks = sum(p.numel() for block in blocks for p in block.parameters()) / 1e9
    work = work_of(model, (17, 256, 256))
    assert work.in_blocks == pytest.approx(in_blocks, rel=0.01) and work.blocks == len(blocks)


def counted(call: object, *args: object, **more: object) -> float:
    """Operations that torch counts in a call."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        call(*args, **more)  # type: ignore[operator]
    return counter.get_total_flops()


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("image", [False, True])
def test_a_transformer_takes_what_torch_counts(control: bool, image: bool) -> None:
    config = WanConfig(
        num_layers=4,
        heads=2,
        head_dim=16,
        in_channels=20,
        text_dim=24,
        ffn_dim=80,
        image_dim=40 if image else None,
        vace_layers=(0, 2) if control else (),
        vace_in_channels=12,
    )
    network = vace.build_transformer(config).eval()
    text, pictures = torch.randn(1, 11, 24), torch.randn(1, 257, 40) if image else None
    kept, (t, h, w) = network.cache_context(text, pictures), (3, 8, 12)
    extra = {"control_BCTHW": torch.randn(1, 12, t, h, w)} if control else {}
    real = counted(network, torch.randn(1, 20, t, h, w), torch.tensor([500.0]), kept, **extra)
    sizes = TransformerWork(4, 32, 80, (11, 24), 80, 64, *((2, 48) if control else (0, 0)), (257 * image, 40 * image))
    tokens = t * h * w // 4
    found = sizes.linear(tokens) + sizes.attention(tokens) + sizes.text_attention(tokens)
    # Torch also counts what embeds the time, once for all tokens.
    assert found <= real and found == pytest.approx(real, rel=0.03)


@pytest.mark.parametrize("kind", ["2.1", "2.2"])
@pytest.mark.parametrize("length", [1, 3])
def test_an_autoencoder_takes_what_torch_counts(kind: str, length: int) -> None:
    second = kind == "2.2"
    mults, blocks, patch = (1, 2, 4, 4), 2, 2 if second else 1
    config = WanVAEConfig(
        base_dim=4,
        decoder_base_dim=8 if second else None,
        z_dim=6,
        dim_mult=mults,
        num_res_blocks=blocks,
        latents_mean=(0.0,) * 6,
        latents_std=(1.0,) * 6,
        is_residual=second,
        in_channels=3 * patch**2,
        out_channels=3 * patch**2,
        patch_size=patch,
    )
    network = WanVAE(config).eval()
    sizes = vae_work.sizes_of(config)
    latents, space = (length, 4, 6), 8 * patch
    frames = 1 + 4 * (length - 1)
    real = counted(network.decode, torch.randn(1, 6, *latents))
    assert vae_work.decoding(sizes, latents).operations * 1e12 == pytest.approx(real, rel=0.02)
    real = counted(network.encode, torch.randn(1, 3, frames, 4 * space, 6 * space))
    assert vae_work.encoding(sizes, latents).operations * 1e12 == pytest.approx(real, rel=0.02)


def test_minis_autoencoder_takes_what_torch_counts() -> None:
    spec = catalog.MODELS["mini"]
    sizes = json.loads(weights.asset(spec.files[-2]).read_text())["sizes"]["vae"]
    listed: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}
    network, work = MiniVAE(MiniVAEConfig(**listed)), work_of("mini", (9, 64, 96), encodes=True)
    real = counted(network.decode, torch.randn(1, 32, 3, 4, 6))
    assert work.decode.operations * 1e12 == pytest.approx(real, rel=0.02)
    # Of one picture, since frames are counted by the latent and the first of them is four copies of one.
    real = counted(network.encode, torch.randn(1, 3, 9, 64, 96))
    assert work.encode.operations * 1e12 == pytest.approx(real, rel=0.02)
    assert not work_of("mini", (9, 64, 96)).encode.operations, "nothing known is not encoded"
    assert mini_work.canvas_work(spec, (9, 64, 96), encodes=False).text == 0


def test_text_and_image_encoders_take_what_torch_counts() -> None:
    with torch.device("meta"):
        text, image = UMT5(UMT5Config(num_layers=1)), CLIPVision(CLIPVisionConfig(num_layers=3))
        per_layer = 2 * 512 * sum(p.numel() for p in text.encoder.block.parameters() if p.ndim == 2)  # type: ignore[union-attr]
        assert work_of("wan2.1-1.3b", P480).text * 1e12 == pytest.approx(24 * per_layer, rel=0.02)
        real = counted(image, torch.zeros(1, 3, 224, 224))
    assert work_of("wan2.1-i2v-14b-480p", P480).image * 1e12 == pytest.approx(
        31 / 2 * real, rel=0.1
    )  # the last layer is not run


def test_references_and_control_take_more() -> None:
    plain, shown = (work_of("wan2.1-vace-1.3b", P480, references=n) for n in (0, 3))
    assert shown.linear / plain.linear == pytest.approx(24 / 21) and shown.encode.operations > plain.encode.operations
    alone = work_of("wan2.1-1.3b", P480, encodes=True)
    assert work_of("wan2.1-1.3b", P480).encode.operations == 0, "no pass would see it"
    assert plain.linear / alone.linear == pytest.approx(1.5, rel=0.05)
    assert plain.encode.operations == 2 * alone.encode.operations


def test_a_folder_of_other_sizes_is_counted_by_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = catalog.MODELS["wan2.1-1.3b"]
    (tmp_path / "transformer").mkdir()
    sizes = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16}
    sizes |= {"out_channels": 16, "text_dim": 8, "freq_dim": 16, "ffn_dim": 32}
    config = tmp_path / "transformer" / "config.json"
    found: list[float] = []
    for text in (json.dumps({**sizes, "patch_size": [1, 2, 2]}), "{", json.dumps([1])):
        config.write_text(text)
        here = replace(spec, folder=tmp_path, repo="", files=())
        work = models.canvas_work(here, (17, 64, 64), encodes=False)
        assert work is not None
        found.append(work.parameters["transformer"])
    published = work_of("wan2.1-1.3b", (17, 64, 64)).parameters["transformer"]
    assert found[0] < published / 1000 and found[1:] == [published, published]


def test_counting_imports_no_torch() -> None:
    code = """
import sys
from sora import catalog, models
for name in ("mini", "wan2.1-vace-1.3b"):
    assert models.canvas_work(catalog.MODELS[name], (17, 256, 256), encodes=True)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
