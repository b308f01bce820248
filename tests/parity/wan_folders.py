"""Tiny Wan checkpoints with random weights, one of each kind, as diffusers' own pipelines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_skyreels_v2 import SkyReelsV2Transformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from diffusers.pipelines.skyreels_v2.pipeline_skyreels_v2_diffusion_forcing import SkyReelsV2DiffusionForcingPipeline
from diffusers.pipelines.wan.pipeline_wan import WanPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from diffusers.pipelines.wan.pipeline_wan_vace import WanVACEPipeline
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

WORDS = ["a", "red", "blue", "cat", "boat", "sails", "walks", "over", "the", "sea", "night", "and", "in", "dim"]
TEXT, SEEN = 24, 20  # widths of the text encoder and of the image encoder


def lively(network: nn.Module, scale: float = 1.0) -> nn.Module:
    """Random weights under which every bias, norm and table counts, and nothing dies out or runs away."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.normal_(std=scale * fan_in**-0.5)
            if ("norm" in name and name.endswith("weight")) or name.endswith("gamma"):
                parameter.add_(1.0)
    return network.eval()


def tokenizer() -> PreTrainedTokenizerFast:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *(("▁" + w, -3.0) for w in WORDS)]
    pieces += [(c, -7.0) for c in "▁abcdefghijklmnopqrstuvwxyz,.&'"]
    made = Tokenizer(models.Unigram(pieces, unk_id=2))  # type: ignore[call-arg]
    made.normalizer = normalizers.Lowercase()  # type: ignore[assignment]
    made.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def text_encoder(vocabulary: int) -> UMT5EncoderModel:
    sizes = UMT5Config(
        vocab_size=vocabulary, d_model=TEXT, d_kv=6, d_ff=32, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    return lively(UMT5EncoderModel(sizes), 0.8)  # type: ignore[return-value]


def vae(second: bool = False) -> AutoencoderKLWan:
    """The first Wan's, or with ``second`` the second's, which shuffles pixels and adds residuals."""
    sizes: dict[str, Any] = {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
    if second:
        sizes |= {"decoder_base_dim": 6, "z_dim": 8, "is_residual": True, "patch_size": 2, "scale_factor_spatial": 16}
        sizes |= {"in_channels": 12, "out_channels": 12}
        sizes |= {"latents_mean": [0.1 * i - 0.3 for i in range(8)], "latents_std": [0.6 + 0.1 * i for i in range(8)]}
    return lively(AutoencoderKLWan(**sizes), 0.7)  # type: ignore[return-value]


def transformer(channels: int, out: int, **more: Any) -> Any:
    sizes: dict[str, Any] = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32}
    sizes |= {"in_channels": channels, "out_channels": out, "text_dim": TEXT, "freq_dim": 32, **more}
    kind = WanVACETransformer3DModel if "vace_layers" in more else WanTransformer3DModel
    kind = SkyReelsV2Transformer3DModel if "inject_sample_info" in more else kind
    return lively(kind(**sizes))


def image_encoder() -> CLIPVisionModel:
    sizes = CLIPVisionConfig(
        hidden_size=SEEN,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=224,
        patch_size=56,
    )
    return lively(CLIPVisionModel(sizes))  # type: ignore[return-value]


def parts(second: bool = False, shift: float = 3.0) -> dict[str, Any]:
    words = tokenizer()
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
    return {
        "tokenizer": words,
        "text_encoder": text_encoder(len(words)),
        "vae": vae(second),
        "scheduler": scheduler,
    }


def eyes() -> dict[str, Any]:
    return {"image_encoder": image_encoder(), "image_processor": CLIPImageProcessor()}


SEES: dict[str, Any] = {"image_dim": SEEN, "added_kv_proj_dim": 24}
PIPELINES: dict[str, Callable[[], Any]] = {
    "t2v": lambda: WanPipeline(**parts(), transformer=transformer(16, 16)),
    "t2v-a14b": lambda: WanPipeline(
        **parts(shift=5.0), transformer=transformer(16, 16), transformer_2=transformer(16, 16), boundary_ratio=0.875
    ),
    "i2v": lambda: WanImageToVideoPipeline(**parts(), **eyes(), transformer=transformer(36, 16, **SEES)),
    "flf2v": lambda: WanImageToVideoPipeline(
        **parts(), **eyes(), transformer=transformer(36, 16, **SEES, pos_embed_seq_len=2 * 17)
    ),
    "i2v-a14b": lambda: WanImageToVideoPipeline(
        **parts(), transformer=transformer(36, 16), transformer_2=transformer(36, 16), boundary_ratio=0.9
    ),
    "ti2v": lambda: WanPipeline(**parts(second=True), transformer=transformer(8, 8), expand_timesteps=True),
    "skyreels": lambda: SkyReelsV2DiffusionForcingPipeline(
        **parts(), transformer=transformer(16, 16, inject_sample_info=True)
    ),
    "vace": lambda: WanVACEPipeline(
        **parts(), transformer=transformer(16, 16, vace_layers=[0, 1], vace_in_channels=96)
    ),
    "vace-a14b": lambda: WanVACEPipeline(
        **parts(shift=5.0),
        transformer=transformer(16, 16, vace_layers=[0, 1], vace_in_channels=96),
        transformer_2=transformer(16, 16, vace_layers=[0, 1], vace_in_channels=96),
        boundary_ratio=0.875,
    ),
}


def pipeline(kind: str, seed: int = 0) -> Any:
    """One with the same weights every time."""
    torch.manual_seed(seed)
    made = PIPELINES[kind]()
    made.set_progress_bar_config(disable=True)
    return made


def with_four_heads(kind: str, folder: Path) -> Path:
    """The folder, in which the pipeline of that kind is saved with a transformer that four processes can divide."""
    heads = {"num_attention_heads": 4, "attention_head_dim": 6, "num_layers": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "transformer", partial(transformer, **heads))
        pipeline(kind).save_pretrained(folder)
    return folder
