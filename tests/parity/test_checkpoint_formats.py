"""The names that others give to tensors: small networks of diffusers and transformers, spelt as Wan, ComfyUI and
llama.cpp spell them, come back tensor by tensor. The spellings here go the other way than the product's, and are made
from the networks' structure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers, convert_wan_vae_to_diffusers
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_skyreels_v2 import SkyReelsV2Transformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from sora import weights
from sora.errors import ModelError
from sora.models.wan import KEY_MAPS
from sora.runtime.quantized import QuantizedLinear, replace_with_quantized

State = dict[str, Tensor]

DIT: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 10,
    "freq_dim": 8,
    "ffn_dim": 16,
    "num_layers": 2,
}
IMAGE: dict[str, Any] = {"image_dim": 6, "added_kv_proj_dim": 24, "pos_embed_seq_len": 10}
VACE: dict[str, Any] = {"vace_layers": [0, 1], "vace_in_channels": 8}
VAE21: dict[str, Any] = {"base_dim": 3, "z_dim": 4}
VAE22: dict[str, Any] = {"base_dim": 4, "decoder_base_dim": 6, "z_dim": 4, "is_residual": True, "patch_size": 2}
VAE22 |= {"in_channels": 12, "out_channels": 12}
UMT5 = UMT5Config(vocab_size=11, d_model=8, d_kv=4, d_ff=12, num_layers=2, num_heads=2)
CLIP = CLIPVisionConfig(
    hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
)

MAKERS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "t2v": ("transformer", lambda: WanTransformer3DModel(**DIT)),
    "i2v": ("transformer", lambda: WanTransformer3DModel(**DIT, **IMAGE)),
    "vace": ("transformer", lambda: WanVACETransformer3DModel(**DIT, **VACE)),
    "skyreels": ("transformer", lambda: SkyReelsV2Transformer3DModel(**DIT, inject_sample_info=True)),
    "vae 2.1": ("vae", lambda: AutoencoderKLWan(**VAE21)),
    "vae 2.2": ("vae", lambda: AutoencoderKLWan(**VAE22)),
    "vae of fewer blocks": ("vae", lambda: AutoencoderKLWan(**VAE21, num_res_blocks=1)),
    "umt5": ("text", lambda: UMT5EncoderModel(UMT5)),
    "clip": ("image", lambda: CLIPVisionModel(CLIP)),
}


def whole(case: str) -> tuple[nn.Module, State]:
    """A network with numbers of its own in every tensor, and its state, a tied tensor once."""
    torch.manual_seed(0)
    module = MAKERS[case][1]()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    state.pop("encoder.embed_tokens.weight", None)
    return module, state


def hollow(case: str) -> nn.Module:
    """The same network on the meta device, without the tables that it makes for itself and no file holds."""
    with torch.device("meta"):
        module = MAKERS[case][1]()
    for part in module.modules():
        for name in part._non_persistent_buffers_set:
            part._buffers[name] = None
    return module


def load(case: str, path: Path, **more: object) -> nn.Module:
    kind = MAKERS[case][0]
    return weights.load_checkpoint(
        hollow(case), path, rules=KEY_MAPS[kind], **{"dtype": torch.float32, "store": replace_with_quantized, **more}
    )  # type: ignore[arg-type]


def came_back(case: str, path: Path, **more: object) -> bool:
    want, got = whole(case)[0].state_dict(), load(case, path, **more).state_dict()
    return want.keys() == got.keys() and all(torch.equal(got[name], tensor) for name, tensor in want.items())


# How others spell


def wan(state: State) -> State:
    """As github.com/Wan-Video/Wan2.1's ``model.py``."""
    top = {
        "condition_embedder.text_embedder.linear_1": "text_embedding.0",
        "condition_embedder.text_embedder.linear_2": "text_embedding.2",
        "condition_embedder.time_embedder.linear_1": "time_embedding.0",
        "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.time_proj": "time_projection.1",
        "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
        "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
        "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
        "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
        "fps_projection.net.0.proj": "fps_projection.0",
        "fps_projection.net.2": "fps_projection.2",
    }
    alone = {
        "scale_shift_table": "head.modulation",
        "proj_out.weight": "head.head.weight",
        "proj_out.bias": "head.head.bias",
    }
    alone["condition_embedder.image_embedder.pos_embed"] = "img_emb.emb_pos"
    inner = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "add_k_proj": "k_img", "add_v_proj": "v_img"}
    inner |= {"norm_q": "norm_q", "norm_k": "norm_k", "norm_added_k": "norm_k_img"}
    parts = {f"attn1.{ours}": f"self_attn.{theirs}" for ours, theirs in inner.items()}
    parts |= {f"attn2.{ours}": f"cross_attn.{theirs}" for ours, theirs in inner.items()}
    parts |= {"ffn.net.0.proj": "ffn.0", "ffn.net.2": "ffn.2", "norm2": "norm3"}
    parts |= {"proj_in": "before_proj", "proj_out": "after_proj"}

    def theirs(name: str) -> str:
        if name in alone:
            return alone[name]
        module, _, leaf = name.rpartition(".")
        if module in top:
            return f"{top[module]}.{leaf}"
        if not name.startswith(("blocks.", "vace_blocks.")):
            return name  # patch embeddings
        stack, number, rest = name.split(".", 2)
        if rest == "scale_shift_table":
            return f"{stack}.{number}.modulation"
        return f"{stack}.{number}.{parts[rest.rpartition('.')[0]]}.{leaf}"

    return {theirs(name): tensor for name, tensor in state.items()}


def _residual(ours: str, theirs: str) -> dict[str, str]:
    """Prefixes of a residual block, ours to theirs."""
    pairs = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
    return {f"{ours}.{a}.": f"{theirs}.{b}." for a, b in (pairs | {"conv_shortcut": "shortcut"}).items()}


def wan_vae(state: State, module: nn.Module) -> State:
    """As ``vae.py`` and ``vae2_2.py``, by counting a network's blocks in the order in which those list them."""
    names = {"quant_conv.": "conv1.", "post_quant_conv.": "conv2."}
    for half, blocks, listed in (("encoder", "down_blocks", "downsamples"), ("decoder", "up_blocks", "upsamples")):
        names |= {f"{half}.conv_in.": f"{half}.conv1.", f"{half}.norm_out.": f"{half}.head.0."}
        names |= {f"{half}.conv_out.": f"{half}.head.2.", f"{half}.mid_block.attentions.0.": f"{half}.middle.1."}
        names |= _residual(f"{half}.mid_block.resnets.0", f"{half}.middle.0")
        names |= _residual(f"{half}.mid_block.resnets.1", f"{half}.middle.2")
        row = 0
        for i, block in enumerate(module.get_submodule(f"{half}.{blocks}").children()):
            path, nested = f"{half}.{blocks}.{i}", hasattr(block, "downsampler") or hasattr(block, "upsampler")
            inside = [f"{path}.resnets.{j}" for j in range(len(getattr(block, "resnets", [])))] or [path]
            if nested:
                inside.append(f"{path}.{'downsampler' if half == 'encoder' else 'upsampler'}")
            elif getattr(block, "upsamplers", None) is not None:
                inside.append(f"{path}.upsamplers.0")
            for j, part in enumerate(inside):
                place = f"{half}.{listed}.{i}.{listed}.{j}" if nested else f"{half}.{listed}.{row}"
                names |= _residual(part, place)
                names |= {f"{part}.{kept}.": f"{place}.{kept}." for kept in ("resample", "time_conv")}
                row += 1

    def theirs(name: str) -> str:
        (start,) = [start for start in names if name.startswith(start)]
        return names[start] + name.removeprefix(start)

    return {theirs(name): tensor for name, tensor in state.items()}


def wan_umt5(state: State) -> State:
    """As ``t5.py``."""
    parts = {f"layer.0.SelfAttention.{leaf}": f"attn.{leaf}" for leaf in "qkvo"} | {
        "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
        "layer.0.layer_norm": "norm1",
        "layer.1.layer_norm": "norm2",
        "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
        "layer.1.DenseReluDense.wi_1": "ffn.fc1",
        "layer.1.DenseReluDense.wo": "ffn.fc2",
    }
    return _umt5(state, "token_embedding", "norm", "blocks", parts)


def llama_cpp(state: State) -> State:
    """As llama.cpp's converter."""
    parts = {f"layer.0.SelfAttention.{leaf}": f"attn_{leaf}" for leaf in "qkvo"} | {
        "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
        "layer.0.layer_norm": "attn_norm",
        "layer.1.layer_norm": "ffn_norm",
        "layer.1.DenseReluDense.wi_0": "ffn_gate",
        "layer.1.DenseReluDense.wi_1": "ffn_up",
        "layer.1.DenseReluDense.wo": "ffn_down",
    }
    return _umt5(state, "token_embd", "enc.output_norm", "enc.blk", parts)


def _umt5(state: State, words: str, norm: str, blocks: str, parts: dict[str, str]) -> State:
    names = {"shared.weight": f"{words}.weight", "encoder.final_layer_norm.weight": f"{norm}.weight"}
    for i in range(UMT5.num_layers):
        names |= {f"encoder.block.{i}.{a}.weight": f"{blocks}.{i}.{b}.weight" for a, b in parts.items()}
    return {names[name]: tensor for name, tensor in state.items()}


def spelt(case: str) -> State:
    module, state = whole(case)
    if MAKERS[case][0] == "vae":
        return wan_vae(state, module)
    return wan(state) if MAKERS[case][0] == "transformer" else wan_umt5(state)


# Tests


@pytest.mark.parametrize("case", MAKERS)
def test_our_own_names_pass_through(case: str, tmp_path: Path):
    save_file(whole(case)[1], tmp_path / "model.safetensors")
    assert came_back(case, tmp_path)


@pytest.mark.parametrize("case", MAKERS)
def test_what_their_own_libraries_save(case: str, tmp_path: Path):
    module, _ = whole(case)
    module.save_pretrained(tmp_path, max_shard_size="4KB")  # type: ignore[operator]
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert came_back(case, tmp_path)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("case", ["t2v", "i2v", "vace", "skyreels"])
def test_wan_s_names_of_a_transformer(case: str, prefix: str, tmp_path: Path):
    save_file({prefix + name: tensor for name, tensor in spelt(case).items()}, tmp_path / "wan.safetensors")
    assert came_back(case, tmp_path)


@pytest.mark.parametrize("case", ["vae 2.1", "vae 2.2", "vae of fewer blocks", "umt5"])
def test_wan_s_names_of_the_rest(case: str, tmp_path: Path):
    save_file(spelt(case), tmp_path / "wan.safetensors")
    assert came_back(case, tmp_path)


@pytest.mark.parametrize("case", ["t2v", "i2v", "vace", "vae 2.1"])
def test_the_spelling_here_is_what_diffusers_converts(case: str):
    """Of the second VAE, and of the positions of two images, its converter knows nothing."""
    convert = convert_wan_vae_to_diffusers if MAKERS[case][0] == "vae" else convert_wan_transformer_to_diffusers
    state = whole(case)[1]
    back = convert(spelt(case))
    positions = "condition_embedder.image_embedder.pos_embed"
    if positions in state:
        back[positions] = back.pop("img_emb.emb_pos")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_llama_cpp_s_names_of_the_text_encoder(tmp_path: Path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "umt5.gguf", "t5encoder")
    for name, tensor in llama_cpp(whole("umt5")[1]).items():
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert came_back("umt5", tmp_path)
    known = {str(name) for name in gguf.TENSOR_NAMES.values()}
    for name in llama_cpp(whole("umt5")[1]):
        assert name.removesuffix(".weight").replace(".0.", ".{bid}.").replace(".1.", ".{bid}.") in known


def test_what_comfyui_puts_beside_the_text_encoder(tmp_path: Path):
    state = whole("umt5")[1]
    beside = {"spiece_model": torch.zeros(40, dtype=torch.uint8), "scaled_fp8": torch.zeros(0).to(torch.float8_e4m3fn)}
    both = {"encoder.embed_tokens.weight": state["shared.weight"].clone()}
    for extra in (beside, both, beside | both):
        save_file(state | extra, tmp_path / "umt5.safetensors")
        assert came_back("umt5", tmp_path)
    one = {("encoder.embed_tokens.weight" if name == "shared.weight" else name): t for name, t in state.items()}
    save_file(one, tmp_path / "umt5.safetensors")
    assert came_back("umt5", tmp_path)
    save_file(state | {"encoder.embed_tokens.weight": torch.zeros(1)}, tmp_path / "umt5.safetensors")
    with pytest.raises(ModelError, match=r"two different tensors for shared\.weight"):
        load("umt5", tmp_path)


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_what_stands_beside_the_image_encoder(prefix: str, tmp_path: Path):
    state = {prefix + name.removeprefix("vision_model."): tensor for name, tensor in whole("clip")[1].items()}
    state |= {
        "visual_projection.weight": torch.ones(2),
        "vision_model.embeddings.position_ids": torch.ones(1, 5).long(),
    }
    save_file(state, tmp_path / "clip.safetensors")
    assert came_back("clip", tmp_path)


def test_all_networks_in_one_file(tmp_path: Path):
    """As ComfyUI saves a whole checkpoint."""
    parts = {"t2v": "model.diffusion_model.", "vae 2.1": "vae.", "umt5": "text_encoders.umt5xxl.transformer."}
    held = {prefix + name: tensor for case, prefix in parts.items() for name, tensor in spelt(case).items()}
    save_file(held, tmp_path / "all.safetensors")
    for case in parts:
        assert came_back(case, tmp_path), case


def test_another_network_is_refused_by_names_of_its_own(tmp_path: Path):
    save_file(spelt("i2v"), tmp_path / "wan.safetensors")
    with pytest.raises(ModelError, match=r"unexpected: .*add_k_proj"):
        load("t2v", tmp_path)
    save_file(spelt("t2v"), tmp_path / "wan.safetensors")
    with pytest.raises(ModelError, match=r"missing: .*image_embedder"):
        load("i2v", tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", MAKERS)
def test_what_stays_in_float32_is_what_their_libraries_keep(case: str, dtype: torch.dtype, tmp_path: Path):
    module, state = whole(case)
    module.save_pretrained(tmp_path)  # type: ignore[operator]
    if MAKERS[case][0] == "transformer":  # its own loader wants one more package to do as it says
        kept = set(module._keep_in_fp32_modules)  # type: ignore[arg-type]
        want = {name: torch.float32 if kept & set(name.split(".")) else dtype for name in state}
    else:
        reference = type(module).from_pretrained(tmp_path, torch_dtype=dtype)  # type: ignore[attr-defined]
        want = {name: tensor.dtype for name, tensor in reference.state_dict().items()}
    got = {name: tensor.dtype for name, tensor in load(case, tmp_path, dtype=dtype).state_dict().items()}
    assert got == want
    plain = load(case, tmp_path, dtype=dtype, keep_small=False)
    assert {tensor.dtype for tensor in plain.state_dict().values()} == {dtype}


def test_scaled_float8_under_wan_s_names_is_the_same_network(tmp_path: Path):
    case, held = "t2v", spelt("t2v")
    for name in [name for name in held if name.startswith("blocks.") and held[name].ndim == 2]:
        scale = held[name].abs().amax() / 448
        held[name] = (held[name] / scale).to(torch.float8_e4m3fn)
        held[name.replace(".weight", ".scale_weight")] = scale
    held["scaled_fp8"] = torch.zeros(2).to(torch.float8_e4m3fn)
    save_file({f"model.diffusion_model.{n}": t for n, t in held.items()}, tmp_path / "wan_fp8_scaled.safetensors")
    loaded, (reference, state) = load(case, tmp_path), whole(case)
    stored = {name for name, part in loaded.named_modules() if isinstance(part, QuantizedLinear)}
    assert len(stored) == 2 * 10 and all(name.startswith("blocks.") for name in stored)
    for name, tensor in state.items():
        path, _, leaf = name.rpartition(".")
        got = getattr(loaded.get_submodule(path), leaf)
        if path in stored and leaf == "weight":
            tensor = _rounded(tensor)
            reference.get_submodule(path).weight.data = tensor
        assert torch.allclose(got, tensor, rtol=1e-6, atol=0), name
    assert _velocity(loaded, reference)


def _rounded(tensor: Tensor) -> Tensor:
    scale = tensor.abs().amax() / 448
    return (tensor / scale).to(torch.float8_e4m3fn).float() * scale


@torch.no_grad()
def _velocity(loaded: nn.Module, reference: nn.Module) -> bool:
    """Whether both paint alike, rotary tables borrowed from the whole one."""
    loaded.rope = reference.rope  # type: ignore[assignment]
    torch.manual_seed(1)
    given = torch.randn(1, 4, 2, 4, 4), torch.tensor([500.0]), torch.randn(1, 3, 10)
    got, want = (module(*given, return_dict=False)[0] for module in (loaded.eval(), reference.eval()))
    return bool(torch.allclose(got, want, rtol=1e-4, atol=1e-5)) and float(want.std()) > 0.1
