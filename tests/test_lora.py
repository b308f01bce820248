"""LoRA: what is trained beside a weight, merged into it, written to a file and read from the files of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from real_files_parts import lora_inputs
from sora import catalog, models
from sora.errors import InputError, ModelError
from sora.jobs.loras import Lora
from sora.models.wan import KEY_MAPS
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import LORA_TARGETS, WanDiT
from sora.runtime import lora
from sora.runtime.quantized import QuantizedLinear, quantize_to_float8
from sora.weights import lora_file

SIZES = WanConfig(
    num_layers=2, heads=2, head_dim=12, in_channels=4, out_channels=4, text_dim=16, freq_dim=8, ffn_dim=32
)


def network(seed: int = 0) -> WanDiT:
    torch.manual_seed(seed)
    dit = WanDiT(SIZES)
    dit.init_weights()
    nn.init.normal_(dit.proj_out.weight, std=0.2)
    return dit.eval().requires_grad_(False)


@torch.no_grad()
def answer(dit: nn.Module) -> Tensor:
    torch.manual_seed(9)
    x, text = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 5, 16)
    return dit(x, torch.tensor([300.0, 700.0]), text)


def weight(dit: nn.Module, name: str) -> Tensor:
    return dit.get_parameter(f"{name}.weight")


def learnt(dit: nn.Module, rank: int = 3, alpha: float | None = None) -> dict[str, Tensor]:
    """Adapters with something in them."""
    for parameter in lora.inject(dit, rank, targets=LORA_TARGETS, alpha=alpha):
        nn.init.normal_(parameter, std=0.3)
    return lora.extract(dit)


def test_a_new_adapter_changes_nothing_and_alone_is_trained():
    dit = network()
    before = answer(dit)
    parameters = lora.inject(dit, 3, targets=LORA_TARGETS)
    assert torch.equal(answer(dit), before)
    assert {id(p) for p in dit.parameters() if p.requires_grad} == {id(p) for p in parameters}
    assert len(parameters) == 2 * (2 * 10 + 2)


def test_merged_weights_paint_what_the_adapters_painted():
    trained, plain = network(), network()
    before, tensors = answer(plain), learnt(trained, alpha=6)
    lora.merge(plain, tensors)
    assert torch.allclose(answer(plain), answer(trained), atol=2e-5)
    assert not torch.allclose(answer(plain), before, atol=1e-2)
    lora.merge(plain, tensors, -1.0)
    assert torch.allclose(answer(plain), before, atol=2e-5)


def test_strength_scales_what_is_added():
    once, twice, plain = network(), network(), network()
    tensors = learnt(network())
    lora.merge(once, tensors, 0.5)
    lora.merge(twice, tensors, 1.0)
    name = "blocks.1.attn2.to_out.0"
    half, whole = (weight(dit, name) - weight(plain, name) for dit in (once, twice))
    assert torch.allclose(2 * half, whole, atol=1e-6)


def test_adapters_can_be_taken_away_and_filled_again():
    dit = network()
    before, tensors = answer(dit), learnt(dit, alpha=1.5)
    after = answer(dit)
    lora.remove(dit)
    assert torch.equal(answer(dit), before)
    lora.inject(dit, 3, targets=LORA_TARGETS, alpha=1.5)
    lora.load(dit, tensors)
    assert torch.allclose(answer(dit), after, atol=1e-6)


def test_half_precision_weights_stay_what_they_are():
    dit = network().to(torch.bfloat16)
    lora.merge(dit, learnt(network()))
    assert {p.dtype for p in dit.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blocks.7.attn1.to_q.lora_B.weight": (24, 3)}, "blocks.7"),
        ({"blocks.0.attn1.to_q.lora_B.weight": (25, 3)}, "(25, 3)"),
        ({"blocks.0.attn1.to_q.lora_B.weight": (24, 4)}, "(24, 4)"),
        ({"blocks.0.attn1.to_q.weight.diff": (23, 24)}, "(23, 24)"),
    ],
)
def test_what_does_not_fit_changes_nothing(change: dict[str, tuple[int, ...]], said: str):
    dit, tensors = network(), learnt(network())
    before = answer(dit)
    tensors |= {name: torch.ones(shape) for name, shape in change.items()}
    tensors.setdefault("blocks.7.attn1.to_q.lora_A.weight", torch.ones(3, 24))
    with pytest.raises(ModelError, match=r"does not fit") as caught:
        lora.merge(dit, tensors, label="a.safetensors")
    assert said in str(caught.value) or "blocks.7" in str(caught.value)
    assert "a.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert torch.equal(answer(dit), before)


def test_nothing_to_adapt_is_a_mistake():
    with pytest.raises(ValueError, match="to_nowhere"):
        lora.inject(network(), 2, targets=("to_nowhere",))


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_went(tmp_path: Path):
    tensors = learnt(network(), alpha=1.0)
    lora_file.write(tmp_path / "a.safetensors", tensors, {"family": "mini", "rank": "3"})
    read, said = lora_file.read(tmp_path / "a.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    assert said["family"] == "mini"
    assert lora_file.facts(tmp_path / "a.safetensors") == said
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert all(
        name.startswith("transformer.blocks.") or "embedder" in name for name in load_file(tmp_path / "a.safetensors")
    )


LAYOUTS = {
    "diffusers": ("transformer.blocks.0.attn1.to_q", ".lora_A.weight", ".lora_B.weight"),
    "Wan's names": ("diffusion_model.blocks.0.self_attn.q", ".lora_A.weight", ".lora_B.weight"),
    "Wan's names, down and up": ("diffusion_model.blocks.0.self_attn.q", ".lora_down.weight", ".lora_up.weight"),
    "kohya": ("lora_unet_blocks_0_self_attn_q", ".lora_down.weight", ".lora_up.weight"),
    "peft": ("base_model.model.blocks.0.attn1.to_q", ".lora_A.default.weight", ".lora_B.default.weight"),
    "no prefix": ("blocks.0.attn1.to_q", ".lora_A.weight", ".lora_B.weight"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("alpha", [None, 6.0])
def test_files_of_other_trainers(tmp_path: Path, layout: str, alpha: float | None):
    path, down, up = LAYOUTS[layout]
    a, b = torch.randn(3, 24), torch.randn(24, 3)
    held = {path + down: a, path + up: b} | ({} if alpha is None else {path + ".alpha": torch.tensor(alpha)})
    save_file(held, tmp_path / "theirs.safetensors")
    tensors, said = lora_file.read(tmp_path / "theirs.safetensors", KEY_MAPS["transformer"])
    assert said == {}
    dit, plain = network(), network()
    lora.merge(dit, tensors, 0.5)
    change = weight(dit, "blocks.0.attn1.to_q") - weight(plain, "blocks.0.attn1.to_q")
    assert torch.allclose(change, 0.5 * (1.0 if alpha is None else alpha / 3) * b @ a, atol=1e-5)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("diffusion_model.blocks.3.cross_attn.o", "blocks.3.attn2.to_out.0"),
        ("diffusion_model.blocks.12.ffn.0", "blocks.12.ffn.net.0.proj"),
        ("lora_unet_blocks_12_ffn_2", "blocks.12.ffn.net.2"),
        ("lora_unet_blocks_1_cross_attn_k_img", "blocks.1.attn2.add_k_proj"),
        ("diffusion_model.text_embedding.2", "condition_embedder.text_embedder.linear_2"),
        ("diffusion_model.time_projection.1", "condition_embedder.time_proj"),
        ("diffusion_model.head.head", "proj_out"),
    ],
)
def test_wans_own_names(theirs: str, ours: str):
    name = f"{theirs}.lora_down.weight"
    assert lora_inputs.names_in_memory([name]) == {name: f"{ours}.lora_A.weight"}


def test_whole_differences_are_added_too(tmp_path: Path):
    change = {"diffusion_model.blocks.0.self_attn.o.diff_b": torch.ones(24), "blocks.0.norm3.diff": torch.ones(24)}
    save_file(change, tmp_path / "theirs.safetensors")
    dit, plain = network(), network()
    lora.merge(dit, lora_file.read(tmp_path / "theirs.safetensors", KEY_MAPS["transformer"])[0], 2.0)
    for name in ("blocks.0.attn1.to_out.0.bias", "blocks.0.norm2.weight"):
        assert torch.allclose(dit.get_parameter(name), plain.get_parameter(name) + 2)


def test_what_is_no_lora_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="there is no"):
        lora_file.facts(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("a poem about nothing much")
    with pytest.raises(ModelError, match="damaged"):
        lora_file.facts(tmp_path / "text.safetensors")
    save_file({"blocks.0.attn1.to_q.weight": torch.ones(2, 2)}, tmp_path / "whole.safetensors")
    with pytest.raises(ModelError, match="no LoRA"):
        lora_file.facts(tmp_path / "whole.safetensors")
    save_file({"blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(ModelError, match="half a pair"):
        lora_file.read(tmp_path / "half.safetensors")


def test_diffusers_paints_the_same_with_our_file(tmp_path: Path):
    pytest.importorskip("peft")
    diffusers = pytest.importorskip("diffusers")
    dit, c = network(), SIZES
    sizes = {"in_channels": 4, "out_channels": 4, "text_dim": 16, "freq_dim": 8, "ffn_dim": 32, "rope_max_seq_len": 32}
    theirs = diffusers.WanTransformer3DModel(
        num_attention_heads=c.heads, attention_head_dim=c.head_dim, num_layers=c.num_layers, **sizes
    ).eval()
    theirs.load_state_dict(dit.state_dict(), strict=False)
    lora_file.write(tmp_path / "a.safetensors", learnt(dit, alpha=6), {})
    theirs.load_lora_adapter(load_file(tmp_path / "a.safetensors"), prefix="transformer")
    torch.manual_seed(9)
    x, text = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 5, 16)
    with torch.no_grad():
        painted = theirs(x, torch.tensor([300.0, 700.0]), text, return_dict=False)[0]
    assert torch.allclose(painted, answer(dit), atol=1e-4)


@torch.no_grad()
def test_a_lora_beside_weights_stored_in_few_bits() -> None:
    """What is added to stored weights is what would be added to the same weights unpacked; twice, for two files."""
    torch.manual_seed(0)
    stored = nn.Sequential(nn.Linear(32, 24), nn.GELU(), nn.Linear(24, 16)).requires_grad_(False)
    quantize_to_float8(stored)
    plain = nn.Sequential(nn.Linear(32, 24), nn.GELU(), nn.Linear(24, 16)).requires_grad_(False)
    for ours, theirs in ((plain[0], stored[0]), (plain[2], stored[2])):
        assert isinstance(ours, nn.Linear) and isinstance(theirs, QuantizedLinear) and theirs.bias is not None
        ours.weight.copy_(theirs.weight)
        ours.bias.copy_(theirs.bias)
    for strength in (0.5, -1.0):
        tensors = {"0.lora_A.weight": torch.randn(4, 32), "0.lora_B.weight": torch.randn(24, 4)}
        for network in (stored, plain):
            lora.merge(network, tensors, strength)
    x = torch.randn(5, 32)
    torch.testing.assert_close(stored(x), plain(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match="does not fit"):
        lora.merge(stored, {"2.lora_A.weight": torch.randn(4, 32), "2.lora_B.weight": torch.randn(16, 4)})


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank32", 4),
        ("wan2.2-lightning-8steps-high", 8),
        ("FastWan_T2V_1.3B", 3),
        ("my style 400 steps", None),
        ("footsteps", None),
        ("wug", None),
    ],
)
def test_few_step_loras_are_known_by_their_names(name: str, steps: int | None) -> None:
    kind = Lora(Path(f"{name}.safetensors"), 1.0).few_step
    assert (kind and kind.steps) == steps


def test_the_embedded_model_takes_other_trainers_names():
    kind = models.family(catalog.find(catalog.DEFAULT)).KEY_MAPS["transformer"]
    names = {
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight": "blocks.0.attn1.to_q.lora_A.weight",
        "lora_unet_blocks_0_ffn_0.lora_down.weight": "blocks.0.ffn.net.0.proj.lora_A.weight",
        "blocks.0.attn1.to_q.lora_B.weight": "blocks.0.attn1.to_q.lora_B.weight",
    }
    assert lora_inputs.names_in_memory(names, kind) == names
