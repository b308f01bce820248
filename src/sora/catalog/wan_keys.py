"""How the files of the Wan family spell the names of tensors: one table for checkpoints and LoRAs.

Facts: the conversion in diffusers' ``single_file_utils.py`` and ``scripts/convert_wan_to_diffusers.py``; the modules of
github.com/Wan-Video (``wan/modules``); llama.cpp's names in its ``gguf-py``; kohya's trainers, which flatten dots.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from sora.weights import KeyMap, LayoutRules
from sora.weights.names import Rule

FLAT = r"^(?:lora_(?:unet|transformer|dit)|lycoris)_+(?:transformer_)?(.+)$"
"""A name with its dots made underscores, as kohya's trainers (one underscore), VideoX-Fun (two) and LyCORIS do."""

_NAMES = re.compile(
    r"(?:vace_)?(?:blocks|patch_embedding)|(?:self|cross)_attn|(?:text|time)_(?:embedding|embedder|proj(?:ection)?)|norm_"
    r"(?:k_img|added_k|[qk])|[kv]_img|img_emb|emb_pos|(?:before|after)_proj|to_(?:[qkv]|out)|add_[kv]_proj|proj_(?:in|out)|"
    r"condition_embedder|image_embedder|linear_[12]|scale_shift_table|pos_embed|fps_(?:projection|embedding)|[a-z\d]+"
)
"""The names of modules and parameters, in Wan's spelling and in diffusers'. Some have underscores of their own."""


def _with_dots(match: re.Match[str]) -> str:
    return ".".join(_NAMES.findall(match[1]))


FLAT_DIFFUSERS = KeyMap(
    r"^(?:lora_(?:unet|transformer|dit)|lycoris)_(?:.*_)?(?:attn[12]_|net_\d|\w+_embedder_|proj_out$)",
    (((FLAT, _with_dots),),),
)

TRANSFORMER = KeyMap(
    r"\b(self|cross)_attn\.|\bffn\.[02]\b|\.norm3\b|^(text|time)_(embedding|projection)\.|^head\.|^img_emb\.|"
    r"blocks\.\d+\.modulation\b|" + FLAT,
    (
        ((FLAT, _with_dots),),
        (
            (r"\bself_attn\b", "attn1"),
            (r"\bcross_attn\b", "attn2"),
            (r"(blocks\.\d+)\.norm2\b", r"\1.norm3"),  # numbered by place in the file's code, by use in diffusers'
            (r"(blocks\.\d+)\.norm3\b", r"\1.norm2"),
            (r"\bffn\.0\b", "ffn.net.0.proj"),
            (r"\bffn\.2\b", "ffn.net.2"),
            (r"(blocks\.\d+)\.modulation\b", r"\1.scale_shift_table"),
            (r"\bbefore_proj\b", "proj_in"),
            (r"\bafter_proj\b", "proj_out"),
            (r"^text_embedding\.0\b", "condition_embedder.text_embedder.linear_1"),
            (r"^text_embedding\.2\b", "condition_embedder.text_embedder.linear_2"),
            (r"^time_embedding\.0\b", "condition_embedder.time_embedder.linear_1"),
            (r"^time_embedding\.2\b", "condition_embedder.time_embedder.linear_2"),
            (r"^time_projection\.1\b", "condition_embedder.time_proj"),
            (r"^fps_projection\.0\b", "fps_projection.net.0.proj"),
            (r"^fps_projection\.2\b", "fps_projection.net.2"),
            (r"^img_emb\.proj\.0\b", "condition_embedder.image_embedder.norm1"),
            (r"^img_emb\.proj\.1\b", "condition_embedder.image_embedder.ff.net.0.proj"),
            (r"^img_emb\.proj\.3\b", "condition_embedder.image_embedder.ff.net.2"),
            (r"^img_emb\.proj\.4\b", "condition_embedder.image_embedder.norm2"),
            (r"^img_emb\.emb_pos\b", "condition_embedder.image_embedder.pos_embed"),
            (r"^head\.head\b", "proj_out"),
            (r"^head\.modulation\b", "scale_shift_table"),
        ),
        (
            (r"\b(attn[12])\.([qkv])\b", r"\1.to_\2"),
            (r"\b(attn[12])\.o\b", r"\1.to_out.0"),
            (r"\battn2\.([kv])_img\b", r"attn2.add_\1_proj"),
            (r"\battn2\.norm_k_img\b", "attn2.norm_added_k"),
        ),
    ),
)


def _up_blocks(names: Collection[str]) -> tuple[Rule, ...]:
    """Wan 2.1 counts all blocks of its decoder in one row; what enlarges (has ``resample``) ends a group. The last
    group lacks it."""
    matches = [re.search(r"^decoder\.upsamples\.(\d+)\.resample\.", name) for name in names]
    group = 1 + min((int(found[1]) for found in matches if found), default=3)

    def place(match: re.Match[str]) -> str:
        block, position = divmod(int(match[1]), group)
        return f"decoder.up_blocks.{block}." + ("upsamplers.0" if position == group - 1 else f"resnets.{position}")

    return ((r"^decoder\.upsamples\.(\d+)\b(?!\.upsamples)", place),)


VAE = KeyMap(
    r"^(encoder|decoder)\.middle\.",
    (
        (
            (r"^(encoder|decoder)\.conv1\b", r"\1.conv_in"),
            (r"^conv1\b", "quant_conv"),
            (r"^conv2\b", "post_quant_conv"),
            (r"\.head\.0\b", ".norm_out"),
            (r"\.head\.2\b", ".conv_out"),
            (r"\.middle\.0\b", ".mid_block.resnets.0"),
            (r"\.middle\.1\b", ".mid_block.attentions.0"),
            (r"\.middle\.2\b", ".mid_block.resnets.1"),
            # Wan 2.2 nests what 2.1 has in one row.
            (r"\.downsamples\.(\d+)\.downsamples\.\d+\.(resample|time_conv)\b", r".down_blocks.\1.downsampler.\2"),
            (r"\.downsamples\.(\d+)\.downsamples\.(\d+)\b", r".down_blocks.\1.resnets.\2"),
            (r"\.upsamples\.(\d+)\.upsamples\.\d+\.(resample|time_conv)\b", r".up_blocks.\1.upsampler.\2"),
            (r"\.upsamples\.(\d+)\.upsamples\.(\d+)\b", r".up_blocks.\1.resnets.\2"),
            (r"\.downsamples\.(\d+)\b", r".down_blocks.\1"),
        ),
        (
            (r"\.residual\.0\b", ".norm1"),
            (r"\.residual\.2\b", ".conv1"),
            (r"\.residual\.3\b", ".norm2"),
            (r"\.residual\.6\b", ".conv2"),
            (r"\.shortcut\b", ".conv_shortcut"),
        ),
    ),
    _up_blocks,
)

UMT5 = KeyMap(
    r"^blocks\.\d+\.attn\.",
    (
        (
            (r"^token_embedding\b", "shared"),
            (r"^norm\b", "encoder.final_layer_norm"),
            (r"^blocks\.(\d+)\.norm1\b", r"encoder.block.\1.layer.0.layer_norm"),
            (r"^blocks\.(\d+)\.norm2\b", r"encoder.block.\1.layer.1.layer_norm"),
            (r"^blocks\.(\d+)\.attn\b", r"encoder.block.\1.layer.0.SelfAttention"),
            (
                r"^blocks\.(\d+)\.pos_embedding\.embedding\b",
                r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias",
            ),
            (r"^blocks\.(\d+)\.ffn\.gate\.0\b", r"encoder.block.\1.layer.1.DenseReluDense.wi_0"),
            (r"^blocks\.(\d+)\.ffn\.fc1\b", r"encoder.block.\1.layer.1.DenseReluDense.wi_1"),
            (r"^blocks\.(\d+)\.ffn\.fc2\b", r"encoder.block.\1.layer.1.DenseReluDense.wo"),
        ),
    ),
)

LLAMA_CPP_UMT5 = KeyMap(
    r"^enc\.blk\.\d+\.",
    (
        (
            (r"^token_embd\b", "shared"),
            (r"^enc\.output_norm\b", "encoder.final_layer_norm"),
            (r"^enc\.blk\.(\d+)\.attn_norm\b", r"encoder.block.\1.layer.0.layer_norm"),
            (r"^enc\.blk\.(\d+)\.ffn_norm\b", r"encoder.block.\1.layer.1.layer_norm"),
            (r"^enc\.blk\.(\d+)\.attn_([qkvo])\b", r"encoder.block.\1.layer.0.SelfAttention.\2"),
            (r"^enc\.blk\.(\d+)\.attn_rel_b\b", r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias"),
            (r"^enc\.blk\.(\d+)\.ffn_gate\b", r"encoder.block.\1.layer.1.DenseReluDense.wi_0"),
            (r"^enc\.blk\.(\d+)\.ffn_up\b", r"encoder.block.\1.layer.1.DenseReluDense.wi_1"),
            (r"^enc\.blk\.(\d+)\.ffn_down\b", r"encoder.block.\1.layer.1.DenseReluDense.wo"),
        ),
    ),
)


KEY_MAPS: dict[str, LayoutRules] = {
    "transformer": LayoutRules(
        prefixes=("model.diffusion_model.", "diffusion_model."),
        key_maps=(FLAT_DIFFUSERS, TRANSFORMER),
        ignored=r"^blocks\.\d+\.to_gate_compress\.",  # of sparse attention, in whose place stands full attention
        float32=r"\b(time_embedder|scale_shift_table|norm[123])\b",  # as diffusers loads it
    ),
    "vae": LayoutRules(prefixes=("vae.", "first_stage_model."), key_maps=(VAE,)),
    "text": LayoutRules(
        prefixes=("text_encoders.umt5xxl.transformer.", "text_encoder."),
        key_maps=(UMT5, LLAMA_CPP_UMT5),
        ignored=r"^(spiece_model|tokenizer_json)$",
        aliases=((r"^encoder\.embed_tokens\.", "shared."),),
        float32=r"\bwo\.weight$",  # sums behind it pass float16's 65504; transformers does so for float16 alone
        half_dtypes=("float16",),
    ),
    "image": LayoutRules(
        ignored=r"^(text_model\..*|(visual|text)_projection\.weight|logit_scale|embeddings\.position_ids)$",
        aliases=((r"^vision_model\.", ""),),
    ),
}
"""What is known of the names in files, by the network that they are of. Those of the transformer are a LoRA's too."""
