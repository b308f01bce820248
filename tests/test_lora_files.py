"""LoRA files as people have them: names of every trainer, where their strength is written, and LoRA's relatives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from real_files_parts import lora_inputs as made
from sora import catalog
from sora.catalog.few_step import FASTWAN, LIGHTX2V, FewStep
from sora.catalog.wan_keys import KEY_MAPS
from sora.errors import ModelError
from sora.jobs import loras
from sora.jobs.loras import Lora
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT
from sora.runtime import lora
from sora.runtime.offload import offload_blocks
from sora.runtime.quantized import quantize_to_float8
from sora.weights import lora_file

Q = "blocks.0.self_attn.q"
COMFY, DIFFUSERS = made.STYLES["ComfyUI"], made.STYLES["diffusers"]


def factor_of(folder: Path, *, metadata: dict[str, str] | None = None, alpha: float | None = None) -> float:
    """How strong a LoRA of rank 4 in diffusers' spelling comes out."""
    of = made.factors([Q])
    file = made.save(folder / "adapter_model.safetensors", made.pairs(DIFFUSERS, of, alpha), metadata)
    (change,) = made.changes(file)[0].values()
    (whole,) = made.expected(of, 1.0).values()
    return round(float((change * whole).sum() / (whole * whole).sum()), 4)


@pytest.mark.parametrize("style", made.STYLES)
def test_the_spelling_of_every_trainer(tmp_path: Path, style: str) -> None:
    of = made.factors(made.OURS)
    file = made.save(tmp_path / "a.safetensors", made.pairs(made.STYLES[style], of, alpha=6))
    got, note = made.changes(file)
    assert not made.differences(got, made.expected(of, 1.5)) and not note


@pytest.mark.parametrize(
    ("metadata", "factor"),
    [
        ({}, 1),
        (made.diffusers_metadata(r=4, lora_alpha=12), 3),
        (made.diffusers_metadata(r=4, lora_alpha=12, use_rslora=True), 6),
        (made.diffusers_metadata(r=8, lora_alpha=8, rank_pattern={"attn1.to_q": 4}, alpha_pattern={"to_q": 2}), 0.5),
        (made.diffusers_metadata(r=4, lora_alpha=4, alpha_pattern={r"^blocks\.\d+\.attn1\.to_(q|k)": 2}), 0.5),
        (made.diffusers_metadata(r=4, lora_alpha=4, alpha_pattern={"o_q": 2, "attn2.to_q": 2}), 1),
        ({"transformer.lora_alpha": "2", "transformer.r": "4"}, 0.5),
        ({"lora_alpha": "2"}, 0.5),
        ({"ss_network_alpha": "2.0", "ss_network_dim": "4"}, 0.5),
        ({"ss_network_alpha": "None"}, 1),
        ({"sora": "0.1", "alpha": "12", "rank": "4"}, 1),  # an earlier file of our own: its factors are scaled
    ],
)
def test_alpha_outside_the_tensors_counts(tmp_path: Path, metadata: dict[str, str], factor: float) -> None:
    assert factor_of(tmp_path, metadata=metadata) == factor


def test_alpha_next_to_the_file_counts_last(tmp_path: Path) -> None:
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {}}))
    assert factor_of(tmp_path) == 2
    assert factor_of(tmp_path, metadata={"lora_alpha": "12"}) == 3
    assert factor_of(tmp_path, metadata=made.diffusers_metadata(r=4, lora_alpha=16) | {"lora_alpha": "12"}) == 4
    assert factor_of(tmp_path, metadata=made.diffusers_metadata(r=4, lora_alpha=16), alpha=2) == 0.5
    assert lora_file.read(tmp_path, KEY_MAPS["transformer"])[0].keys() == {
        f"{made.OURS[Q]}.lora_{x}.weight" for x in "AB"
    }


@pytest.mark.parametrize(
    "metadata",
    [
        {"lora_adapter_metadata": "{"},
        {"lora_adapter_metadata": "[1]"},
        {"lora_alpha": "strong"},
        {"lora_alpha": "nan"},
        made.diffusers_metadata(r=4, lora_alpha=4, alpha_pattern={"(a+)+": 1}),
        made.diffusers_metadata(r=4, lora_alpha=[1]),
    ],
)
def test_a_strength_that_is_none_is_refused(tmp_path: Path, metadata: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="strength"):
        factor_of(tmp_path, metadata=metadata)


def test_our_files_say_that_their_factors_are_scaled(tmp_path: Path) -> None:
    of = made.factors(made.OURS)
    tensors = {f"{made.OURS[m]}.lora_{x}.weight": t for m, pair in of.items() for x, t in zip("AB", pair, strict=True)}
    lora_file.write(tmp_path / "a.safetensors", tensors, {"sora": "0", "alpha": "4", "rank": "4"})
    read, facts = lora_file.read(tmp_path / "a.safetensors", KEY_MAPS["transformer"])
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    config = json.loads(facts["lora_adapter_metadata"])
    assert (config["transformer.r"], config["transformer.lora_alpha"]) == (4, 4)
    assert config["transformer.target_modules"] == sorted(made.OURS.values())


def test_diffusers_and_peft_add_our_files_as_we_do(tmp_path: Path) -> None:
    peft, diffusers = pytest.importorskip("peft"), pytest.importorskip("diffusers")
    of = made.factors(list(made.OURS)[:5])
    tensors = {f"{made.OURS[m]}.lora_{x}.weight": t for m, pair in of.items() for x, t in zip("AB", pair, strict=True)}
    lora_file.write(tmp_path / "a.safetensors", tensors, {})
    sizes = {"in_channels": 4, "out_channels": 4, "text_dim": 16, "freq_dim": 8, "ffn_dim": 32, "rope_max_seq_len": 32}
    theirs = diffusers.WanTransformer3DModel(num_attention_heads=2, attention_head_dim=12, num_layers=2, **sizes)
    theirs.load_state_dict(made.network().state_dict(), strict=False)
    loader = diffusers.WanPipeline(tokenizer=None, text_encoder=None, vae=None, scheduler=None, transformer=theirs)
    loader.load_lora_weights(str(tmp_path), weight_name="a.safetensors")
    loader.fuse_lora()
    for name, change in made.expected(of, 1.0).items():
        layer = theirs.get_submodule(name.removesuffix(".weight"))
        assert isinstance(layer, peft.tuners.lora.Linear)
        assert torch.allclose(layer.base_layer.weight - made.network().get_parameter(name), change, atol=1e-5)


# --- whole differences, and what does not fit ------------------------------------------------------------------------


@pytest.mark.parametrize("image", [False, True])
def test_a_few_step_lora_fits_its_own_model_whole(tmp_path: Path, image: bool) -> None:
    config = made.TINY_I2V if image else made.TINY
    got, note = made.changes(made.save(tmp_path / "a.safetensors", made.few_step(config)), config)
    modules = [*made.OURS, *(made.IMAGE if image else ())]
    added = {name: change for name, change in got.items() if torch.allclose(change, torch.tensor(0.25), atol=1e-6)}
    assert not note and {"blocks.0.scale_shift_table", "scale_shift_table", "blocks.1.norm2.bias"} <= added.keys()
    assert ("blocks.0.attn2.norm_added_k.weight" in added) == image
    assert len(added) == (12 if image else 8) and len(got) == len(added) + len(modules)


def test_a_lora_of_another_kind_of_model_adds_what_fits(tmp_path: Path) -> None:
    t2v = made.save(tmp_path / "t2v.safetensors", made.few_step(made.TINY))
    got, note = made.changes(t2v, made.TINY_I2V)
    assert note == "t2v.safetensors: 1 of 17 changes do not fit this model and are left out (patch_embedding.weight)"
    assert len(got) == 16
    i2v = made.save(tmp_path / "i2v.safetensors", made.few_step(made.TINY_I2V))
    got, note = made.changes(i2v)
    assert (
        note.startswith("i2v.safetensors: 9 of 25 changes do not fit this model and are left out (") and len(got) == 16
    )
    tensors, _ = lora_file.read(i2v, KEY_MAPS["transformer"])
    with pytest.raises(ModelError, match=r"9 of 25 changes do not fit .* leave --strict out"):
        lora.fitting(made.network(), tensors, "i2v", strict=True)


def test_only_what_fits_nowhere_is_refused(tmp_path: Path) -> None:
    file = made.save(tmp_path / "a.safetensors", made.pairs(COMFY, made.factors(made.IMAGE, config=made.TINY_I2V)))
    with pytest.raises(ModelError, match=r"does not fit this model: it changes blocks.*not there"):
        made.changes(file)


def test_few_step_loras_fit_models_of_true_size() -> None:
    """By names and shapes alone: the I2V model of 14B, whose weights are not here."""
    config = WanConfig(**catalog.MODELS["wan2.1-i2v-14b-480p"].sizes)
    with torch.device("meta"):
        dit, tensors = WanDiT(config), made.few_step(config)
    names = made.names_in_memory(tensors)
    assert lora.fitting(dit, {names[name]: tensor for name, tensor in tensors.items()}, "a")[1] == ""


# --- LoRA's relatives ------------------------------------------------------------------------------------------------


def relative(kind: str, out: int, width: int) -> tuple[dict[str, Tensor], Tensor]:
    """(an adapter's tensors by their endings, what it adds to a weight)."""
    draw = torch.Generator().manual_seed(5)
    a, b, c, d = (torch.randn(*shape, generator=draw) for shape in ((out, 2), (2, width), (out, 2), (2, width)))
    if kind == "LoHa":
        ends = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(6.0)}
        return ends, 3 * (a @ b) * (c @ d)
    w1, w2a, w2b = (torch.randn(*shape, generator=draw) for shape in ((4, 4), (out // 4, 2), (2, width // 4)))
    if kind == "LoKr":
        return {"lokr_w1": w1, "lokr_w2_a": w2a, "lokr_w2_b": w2b, "alpha": torch.tensor(6.0)}, 3 * torch.kron(
            w1, w2a @ w2b
        )
    whole = {"lokr_w1": w1, "lokr_w2": w2a @ w2b, "alpha": torch.tensor(6.0)}  # of full rank: its alpha is no strength
    return whole, torch.kron(w1, w2a @ w2b)


@pytest.mark.parametrize("kind", ["LoHa", "LoKr", "full LoKr"])
@pytest.mark.parametrize("prefix", ["lycoris_blocks_0_attn1_to_q", "lora_unet_blocks_0_self_attn_q"])
def test_loha_and_lokr(tmp_path: Path, kind: str, prefix: str) -> None:
    ends, change = relative(kind, 24, 24)
    file = made.save(tmp_path / "a.safetensors", {f"{prefix}.{end}": t for end, t in ends.items()})
    got, _ = made.changes(file, strength=0.5)
    assert not made.differences(got, {f"{made.OURS[Q]}.weight": 0.5 * change}, 1e-4)


@pytest.mark.parametrize(
    ("name", "shape", "dim"),
    [("dora_scale", (24, 1), 1), ("lora_magnitude_vector", (24,), 1), ("dora_scale", (1, 24), 0)],
)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_dora(tmp_path: Path, name: str, shape: tuple[int, ...], dim: int, strength: float) -> None:
    """By the formula of the paper: m V / |V|, V = W + B A, of each row; of each column in older files."""
    of, length = made.factors([Q]), torch.rand(shape) + 0.5
    tensors = made.pairs(DIFFUSERS, of, alpha=8) | {f"{DIFFUSERS.module(Q)}.{name}": length}
    got, note = made.changes(made.save(tmp_path / "a.safetensors", tensors), strength=strength)
    weight = made.network().get_parameter(f"{made.OURS[Q]}.weight")
    moved = weight + 2 * of[Q][1] @ of[Q][0]
    rows = moved if dim == 1 else moved.T
    scaled = torch.stack([m * row / row.square().sum().sqrt() for m, row in zip(length.flatten(), rows, strict=True)])
    wanted = strength * ((scaled if dim == 1 else scaled.T) - weight)
    assert not note and not made.differences(got, {f"{made.OURS[Q]}.weight": wanted})


@torch.no_grad()
@pytest.mark.parametrize("offloaded", [False, True])
def test_relatives_beside_weights_stored_in_few_bits(offloaded: bool) -> None:
    """What a quantized layer computes is what the same weights computed unpacked, after a plain LoRA, a DoRA, a LoKr
    and a bias, one after the other."""
    torch.manual_seed(0)
    stored, plain = (nn.Sequential(nn.Linear(32, 24)).requires_grad_(False) for _ in range(2))
    quantize_to_float8(stored)
    plain.load_state_dict({"0.weight": stored.get_submodule("0").weight, "0.bias": stored.get_parameter("0.bias")})
    pair = {"0.lora_A.weight": torch.randn(4, 32), "0.lora_B.weight": torch.randn(24, 4)}
    kronecker = {"0.lokr_w1": torch.randn(4, 4), "0.lokr_w2": torch.randn(6, 8)}
    for tensors in (
        pair,
        pair | {"0.dora_scale": torch.rand(24, 1)},
        kronecker | {"0.bias.diff": torch.ones(24)},
        pair,
    ):
        for network in (stored, plain):
            lora.merge(network, tensors, 0.7)
    if offloaded:
        offload_blocks([stored], torch.device("cpu"), 0)
    x = torch.randn(5, 32)
    torch.testing.assert_close(stored(x), plain(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("base_model.model.blocks.0.attn1.to_q.oft_R.weight", "OFT"),
        ("lora_unet_blocks_0_self_attn_q.oft_blocks", "OFT"),
        ("transformer.blocks.0.attn1.to_q.boft_R", "BOFT"),
        ("lycoris_blocks_0_attn1_to_q.a1.weight", "GLoRA"),
        ("base_model.model.blocks.0.attn1.to_q.ia3_l", "(IA)^3"),
        ("lora_unet_patch_embedding.hada_t1", "Tucker"),
    ],
)
def test_other_adapters_are_named_by_their_kind(tmp_path: Path, name: str, kind: str) -> None:
    file = made.save(tmp_path / "a.safetensors", {name: torch.ones(2, 2), **made.pairs(COMFY, made.factors([Q]))})
    with pytest.raises(ModelError) as caught:
        lora_file.facts(file)
    assert f"of the kind {kind}" in str(caught.value) and "expected LoRA, DoRA, LoKr or LoHa" in str(caught.value)


# --- what a LoRA is called -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("headmdl", None),
        ("wan_lightningbolt_style", None),
        ("hyperrealism_v2", None),
        ("turbocharged", None),
        ("wug_v2_step_500", None),
        ("wug-10-steps-1000", None),
        ("Wan2.1_T2V_14B_FusionX_LoRA", 8),
        ("Wan21_CausVid_14B_T2V_lora_rank32_v2", 8),
        ("wan2.1_t2v_1.3b_self-forcing_rank64", 4),
        ("Wan21_AccVid_T2V_14B_lora_rank32_fp16", 8),
        ("wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise", 4),
        ("Wan2.2-Lightning_T2V-A14B-8steps-lora_LOW", 8),
        ("wan_dmd2", 4),
        ("StepDistill_rank64", 4),
        ("i2v_step_distill_720p", 4),
    ],
)
def test_few_steps_are_known_by_whole_words(name: str, steps: int | None) -> None:
    kind = Lora(Path(f"{name}.safetensors"), 1.0).few_step
    assert (kind and kind.steps) == steps


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("wan2.1_t2v_14b_lora_rank64_lightx2v_4step", LIGHTX2V),
        ("Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank64", LIGHTX2V),
        ("wan2.2_t2v_A14b_low_noise_lora_rank64_lightx2v_4step_1217", LIGHTX2V),
        ("Wan_2_2_I2V_A14B_HIGH_lightx2v_4step_lora_v1030_rank_64_bf16", LIGHTX2V),
        ("Wan22_I2V_A14B_4steps_lora_rank64_Seko_v1_high_noise_model", LIGHTX2V),
        ("Wan2.2-Lora-Lightning-T2V-14B-4steps-high_noise_model", LIGHTX2V),
        ("wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise", LIGHTX2V),
        ("FastWan_T2V_14B_480p_lora_rank_128_bf16", FASTWAN),
        ("Wan2_2_5B_FastWanFullAttn_lora_rank_128_bf16", FASTWAN),
    ],
)
def test_published_loras_are_sampled_as_their_makers_do(name: str, kind: FewStep) -> None:
    assert Lora(Path(f"{name}.safetensors"), 1.0).few_step == kind


def test_few_steps_are_known_by_metadata_and_by_the_folder_of_a_pair(tmp_path: Path) -> None:
    tensors, spec = made.pairs(COMFY, made.factors([Q])), catalog.find("wan2.1-1.3b")
    for metadata, steps in (
        ({"ss_output_name": "my_dmd"}, 4),
        ({"num_inference_steps": "6"}, 6),
        ({"steps": "4"}, None),
    ):
        file = made.save(tmp_path / "style.safetensors", tensors, metadata)
        kind = loras.parse([str(file)], spec)[0].few_step
        assert (kind and kind.steps) == steps
    (loud := tmp_path / "loud").mkdir()
    for name in ("a_LowNoise", "b-HIGH"):
        made.save(loud / f"{name}.safetensors", tensors)
    assert [each.path.stem for each in loras.parse([str(loud)], spec)] == ["a_LowNoise", "b-HIGH"]
    folder = tmp_path / "Wan2.2-T2V-A14B-4steps-lora"
    folder.mkdir()
    for name in ("high_noise_model", "low_noise_model"):  # the names of lightx2v's
        made.save(folder / f"{name}.safetensors", tensors)
    parsed = loras.parse([f"{folder}:0.5"], spec)
    assert [(each.path.stem, each.strength, each.few_step and each.few_step.steps) for each in parsed] == [
        ("high_noise_model", 0.5, 4),
        ("low_noise_model", 0.5, 4),
    ]
