"""The checkpoints of the Wan family, as their makers publish them.

Sizes, revisions and defaults are those that the projects publish: the repositories on the Hugging Face hub, the
configurations of Wan-Video/Wan2.1 and Wan2.2 and of SkyworkAI/SkyReels-V2, aigc-apps/VideoX-Fun for Fun, with
``examples/wan2.2_vace_fun`` for VACE-Fun, and hao-ai-lab/FastVideo for FastWan, which its documents say was trained on
61 frames of 832x448 (2.1) and makes 121 of 1280x704 (2.2).

FastWan 2.1 was trained with Video Sparse Attention (arXiv 2505.13389), 80 to 90 % of whose blocks are left out and
which has one more projection, ``to_gate_compress``, in each block. Here all tokens are attended to and the projection
is left out, as in diffusers; meta-pytorch/attention-gym (pull request 213) compared both ways of FastWan 2.1-1.3B and
found comparable films. FastWan 2.2 was trained with full attention.
"""

from __future__ import annotations

from typing import Any

from sora.catalog.few_step import FASTWAN
from sora.catalog.spec import MEMORY, Defaults, ModelSpec
from sora.plan.grid import Grid

FIRST, SECOND = Grid(time=4, space=8, channels=16), Grid(time=4, space=16, channels=48)  # autoencoders of 2.1 and 2.2
P448, P480, P540, P704, P720 = (832, 448), (832, 480), (960, 544), (1280, 704), (1280, 720)

CAMERA = {
    "static": "the camera does not move",
    "pan-left": "the camera pans left",
    "pan-right": "the camera pans right",
    "tilt-up": "the camera tilts up",
    "tilt-down": "the camera tilts down",
    "zoom-in": "the camera zooms in",
    "zoom-out": "the camera zooms out",
    "orbit": "the camera circles around the subject",
}
MOTION = {
    "left": "moving to the left",
    "right": "moving to the right",
    "up": "moving up",
    "down": "moving down",
    "bounce": "bouncing up and down",
    "spin": "spinning around",
    "grow": "growing larger and larger",
    "shrink": "growing smaller and smaller",
    "still": "standing still",
}

_WEIGHTS = ("config.json", "*.json", "*.safetensors")
_PARTS = {
    "scheduler": ("scheduler_config.json",),
    "tokenizer": ("tokenizer.json", "*.json"),
    "image_processor": ("preprocessor_config.json",),
}
_TEXT = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
SEEING = (*_TEXT, "image_encoder", "image_processor")
_EXPERTS = (*_TEXT, "transformer_2")


def files_of(parts: tuple[str, ...]) -> tuple[str, ...]:
    """What is needed of each folder of diffusers' layout."""
    return "model_index.json", *(f"{folder}/{name}" for folder in parts for name in _PARTS.get(folder, _WEIGHTS))


# Of the transformer, by the names of ``networks.wan.config.WanConfig``; those of A14B are each of the two experts'.
# Sources: the checkpoints' configurations in diffusers' conversion scripts for Wan and for SkyReels-V2, and in
# DiffSynth-Studio for Fun-1.3B-InP, which its makers give in the original layout alone.
SMALL = {"num_layers": 30, "heads": 12, "ffn_dim": 8960}
LARGE = {"num_layers": 40, "heads": 40, "ffn_dim": 13824}
MIDDLE = {"num_layers": 30, "heads": 24, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48}
IMAGE_CHANNELS, SEEN = {"in_channels": 36}, {"in_channels": 36, "image_dim": 1280}  # known frames; an image encoder


def _memory(*gigabytes: float) -> dict[str, float]:
    return dict(zip(MEMORY, gigabytes, strict=True))


def _defaults(
    *, guidance: float, shift: float, frames: int = 81, size: tuple[int, int] = P480, **more: Any
) -> Defaults:
    area = size[0] * size[1]
    values: dict[str, Any] = {
        "window": frames,
        "blend_at_images": False,
        "context": 17,
        "context_after": 16,
        "loop_frames": frames - 1,
        "fps": 16.0,
        "steps": 50,
        "draft_area": area // 4,
        "draft_steps": 15,
        "sampler": "unipc",
        "max_area": max(area, P720[0] * P720[1]),
        "aspect": size[0] / size[1],
    }
    return Defaults(frames=frames, area=area, guidance=guidance, shift=shift, **values | more)


def _row(name: str, repo: str, revision: str, gigabytes: float, parts: tuple[str, ...], **more: Any) -> ModelSpec:
    values: dict[str, Any] = {
        "family": "wan",
        "licence": "Apache-2.0",
        "grid": FIRST,
        "camera": CAMERA,
        "motion": MOTION,
    }
    size = round(gigabytes * 1e9)
    return ModelSpec(name=name, repo=repo, revision=revision, bytes=size, files=files_of(parts), **values | more)


# Frames that weights go on from which were trained on single pictures.
_ONE_END: dict[str, Any] = {"context": 5, "context_after": 4}

_ROWS = (
    _row(
        "wan2.1-1.3b", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "0fad780a534b6463e45facd96134c9f345acfa5b", 28.93, _TEXT,
        summary="small open weights that paint anything in words, at 480p",
        conditioning="renoise", accepts="words",
        defaults=_defaults(guidance=6.0, shift=8.0),
        sizes=SMALL,
        memory=_memory(18.1, 11.5, 11.5, 11.5),
    ),
    _row(
        "wan2.1-14b", "Wan-AI/Wan2.1-T2V-14B-Diffusers", "38ec498cb3208fb688890f8cc7e94ede2cbd7f68", 80.41, _TEXT,
        summary="large open weights for words, at 480p and 720p",
        conditioning="renoise", accepts="words",
        defaults=_defaults(guidance=5.0, shift=5.0),
        sizes=LARGE,
        memory=_memory(44.5, 33.1, 32.9, 11.5),
    ),
    _row(
        "wan2.1-i2v-14b-480p", "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "b184e23a8a16b20f108f727c902e769e873ffc73",
        90.1, SEEING,
        summary="large open weights that set pictures in motion, at 480p",
        accepts="words and the first frame",
        defaults=_defaults(guidance=5.0, shift=3.0, **_ONE_END),
        sizes=LARGE | SEEN,
        memory=_memory(50.0, 37.3, 37.1, 12.8),
    ),
    _row(
        "wan2.1-i2v-14b-720p", "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", "eb849f76dfa246545b65774a9e25943ee69b3fa3",
        90.1, SEEING,
        summary="large open weights that set pictures in motion, at 720p",
        accepts="words and the first frame",
        defaults=_defaults(guidance=5.0, shift=5.0, size=P720, **_ONE_END),
        sizes=LARGE | SEEN,
        memory=_memory(54.5, 41.9, 41.6, 12.8),
    ),
    _row(
        "wan2.1-flf2v-14b", "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers", "17c30769b1e0b5dcaa1799b117bf20a9c31f59d7",
        90.1, SEEING,
        summary="large open weights that paint from one picture to another, at 720p",
        accepts="words, the first and the last frame",
        defaults=_defaults(guidance=5.5, shift=16.0, size=P720, **_ONE_END),
        sizes=LARGE | SEEN | {"pos_embed_seq_len": 514},
        memory=_memory(54.5, 41.9, 41.6, 12.8),
    ),
    _row(
        "wan2.1-vace-1.3b", "Wan-AI/Wan2.1-VACE-1.3B-diffusers", "ec4d2cb062b548996b179d493fdd05340de702a1",
        19.04, _TEXT,
        summary="small open weights made for every command of sora, at 480p",
        conditioning="control", accepts="words and any known frames and regions",
        defaults=_defaults(guidance=5.0, shift=16.0),
        sizes=SMALL | {"vace_layers": tuple(range(0, 30, 2))},
        memory=_memory(19.5, 11.5, 11.5, 11.5),
    ),
    _row(
        "wan2.1-vace-14b", "Wan-AI/Wan2.1-VACE-14B-diffusers", "db79b90c60bbb45ceec9e41b9d5a4df934538ac4", 75.1, _TEXT,
        summary="large open weights made for every command of sora, at 480p and 720p",
        conditioning="control", accepts="words and any known frames and regions",
        defaults=_defaults(guidance=5.0, shift=16.0),
        sizes=LARGE | {"vace_layers": tuple(range(0, 40, 5))},
        memory=_memory(51.9, 40.5, 40.2, 11.5),
    ),
    _row(
        "wan2.1-fun-1.3b-inp", "weizhou03/Wan2.1-Fun-1.3B-InP-Diffusers", "main", 27.65, SEEING,
        summary="small open weights that paint from one picture to another, at 480p",
        accepts="words, the first and the last frame",
        defaults=_defaults(guidance=6.0, shift=3.0, **_ONE_END),
        sizes=SMALL | SEEN,
        memory=_memory(19.6, 12.8, 12.8, 12.8),
    ),
    _row(
        "wan2.2-ti2v-5b", "Wan-AI/Wan2.2-TI2V-5B-Diffusers", "b8fff7315c768468a5333511427288870b2e9635", 34.2, _TEXT,
        summary="open weights for words and pictures that fit a good card, at 720p and 24 fps",
        conditioning="tokens", accepts="words and the first frame", grid=SECOND,
        defaults=_defaults(guidance=5.0, shift=5.0, frames=121, fps=24.0, size=P704),
        sizes=MIDDLE,
        memory=_memory(29.1, 17.7, 12.2, 11.5),
    ),
    _row(
        "wan2.2-t2v-a14b", "Wan-AI/Wan2.2-T2V-A14B-Diffusers", "5be7df9619b54f4e2667b2755bc6a756675b5cd7",
        126.2, _EXPERTS,
        summary="the finest open weights for words: two large experts, at 720p",
        conditioning="renoise", accepts="words", boundary=0.875,
        defaults=_defaults(guidance=4.0, shift=12.0, guidance_low=3.0, steps=40, size=P720),
        sizes=LARGE,
        memory=_memory(77.6, 66.2, 37.4, 11.5),
    ),
    _row(
        "wan2.2-i2v-a14b", "Wan-AI/Wan2.2-I2V-A14B-Diffusers", "596658fd9ca6b7b71d5057529bbf319ecbc61d74",
        126.2, _EXPERTS,
        summary="the finest open weights for pictures: two large experts, at 720p",
        accepts="words, the first and the last frame", boundary=0.9,
        defaults=_defaults(guidance=3.5, shift=5.0, steps=40, size=P720, **_ONE_END),
        sizes=LARGE | IMAGE_CHANNELS,
        memory=_memory(77.6, 66.2, 37.4, 11.5),
    ),
    _row(
        "wan2.2-vace-fun-a14b", "linoyts/Wan2.2-VACE-Fun-14B-diffusers", "main", 81.3, _EXPERTS,
        summary="the largest open weights for every command: two experts, at 480p and 720p",
        conditioning="control", accepts="words and any known frames and regions", boundary=0.875,
        defaults=_defaults(guidance=5.0, shift=12.0),
        sizes=LARGE | {"vace_layers": tuple(range(0, 40, 5))},
        memory=_memory(86.5, 75.2, 40.2, 11.5),
    ),
    _row(
        "fastwan2.1-1.3b", "FastVideo/FastWan2.1-T2V-1.3B-Diffusers", "main", 26.2, _TEXT,
        summary="small open weights for words that paint in 3 steps, at 480p",
        conditioning="renoise", accepts="words",
        defaults=FASTWAN.of(_defaults(guidance=1.0, shift=8.0, frames=61, size=P448)),
        sizes=SMALL,
        memory=_memory(17.8, 11.5, 11.5, 11.5),
    ),
    _row(
        "fastwan2.1-14b", "FastVideo/FastWan2.1-T2V-14B-Diffusers", "main", 75.7, _TEXT,
        summary="large open weights for words that paint in 3 steps, at 480p and 720p",
        conditioning="renoise", accepts="words",
        defaults=FASTWAN.of(_defaults(guidance=1.0, shift=8.0, frames=61, size=P448)),
        sizes=LARGE,
        memory=_memory(43.6, 32.2, 31.4, 11.5),
    ),
    _row(
        "fastwan2.2-ti2v-5b", "FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers", "main", 24.2, _TEXT,
        summary="open weights for words that paint in 3 steps on a good card, at 720p and 24 fps",
        conditioning="tokens", accepts="words", grid=SECOND,
        defaults=FASTWAN.of(_defaults(guidance=1.0, shift=8.0, frames=121, fps=24.0, size=P704)),
        sizes=MIDDLE,
        memory=_memory(29.1, 17.7, 12.0, 11.5),
    ),
    _row(
        "skyreels-v2-df-1.3b", "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers", "958acd63685c7e632e4b194549f2a703e34bd98b",
        29.0, _TEXT,
        summary="small open weights for long clips and extensions, at 540p and 24 fps",
        licence="Skywork Community License", conditioning="tokens", accepts="words and any known frames",
        defaults=_defaults(guidance=6.0, shift=8.0, frames=97, fps=24.0, steps=30, size=P540),
        sizes=SMALL | {"inject_sample_info": True},
        memory=_memory(19.2, 11.5, 11.5, 11.5),
    ),
)  # fmt: skip

MODELS: dict[str, ModelSpec] = {row.name: row for row in _ROWS}
