"""How large a training is: presets of networks, batches, frames and shares of time; network sizes read back from
weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from sora.models.mini.model import conditioning_channel_count
from sora.networks.mini_text import MiniTextConfig
from sora.networks.mini_vae import TEMPORAL_COMPRESSION, MiniVAEConfig
from sora.networks.wan.config import WanConfig

CurriculumPhase = tuple[float, Mapping[int, float]]
Size = tuple[int, int]
MAX_BATCH_CLIPS = 2048  # clips of a batch


@dataclass(frozen=True)
class DiTTrainingConfig:
    """Settings of the transformer's training. sides: how often each short side, in pixels. aspects: how often each
    width / height. curriculum: until which share of all training, how often clips of each number of frames.
    batch_tokens: tokens of a batch. learning_rate: of matrices. timestep_shift, timestep_std: of the logit-normal
    training timesteps (Esser et al. 2024, arXiv 2403.03206), drawn uniformly if the deviation is 0. caption_dropout:
    share of the captions that are dropped, for guidance. subject_weight, motion_weight, clips_per_shape: as in
    ``clips.DataMix``. initial_clips: clips encoded before the first step. encoding_share: share of the time for
    encoding new clips, at most. lookahead: share of the training within which a length must be needed to be encoded.
    alignment_weight: of the representation alignment loss. pool_text: replace the text slots by their mean. compile:
    whether the blocks are compiled. student_rank: of the few-step student's difference to its teacher, 0 for weights of
    its own; student_learning_rate: of its matrices."""

    width: int = 192
    layers: int = 6
    sides: Mapping[int, float] = field(default_factory=lambda: {256: 1.0})
    aspects: Mapping[float, float] = field(
        default_factory=lambda: {1.0: 0.5, 16 / 9: 0.15, 9 / 16: 0.15, 4 / 3: 0.1, 3 / 4: 0.1}
    )
    curriculum: tuple[CurriculumPhase, ...] = (
        (0.38, {1: 1.0}),
        (0.58, {1: 0.15, 9: 0.85}),
        (1.01, {1: 0.12, 9: 0.08, 17: 0.62, 33: 0.18}),
    )
    batch_tokens: int = 4000
    learning_rate: float = 8e-3
    ema_decay: float = 0.995
    cooldown: float = 0.2
    timestep_shift: float = 2.0
    timestep_std: float = 1.0
    caption_dropout: float = 0.12
    subject_weight: float = 3.0
    motion_weight: float = 0.0
    clips_per_shape: int = 6000
    initial_clips: int = 48
    encoding_share: float = 0.25
    lookahead: float = 0.05
    alignment_weight: float = 0.0
    pool_text: bool = False
    compile: bool = False
    student_rank: int = 32
    student_learning_rate: float = 1e-3


@dataclass(frozen=True)
class Preset:
    """world: a name of ``worlds.WORLDS``. shares: of the budget, by stage, in their order. overhead: seconds that a
    stage takes in addition to its training, until it has been measured. background: shares of the budget of stages that
    run in processes of their own while the first ones of ``shares`` train. judge_batch: frames of a step of the judge.
    report_every: seconds from one report to the next. lengths: how often clips of each number of frames are rendered.
    second_world_share: share of the autoencoder's clips from the world "wide". bank_bytes: bytes of rendered clips that
    are kept. vae, vae_batch, critic_weight: the autoencoder's sizes, the crops of a step, and the weight of its
    discriminator. held_out_clips: of the figures in the log. student_batch: clips of a step of the few-step student.
    scored_clips: sampled for the scores."""

    world: str
    dit: DiTTrainingConfig
    vae: MiniVAEConfig
    shares: Mapping[str, float]
    overhead: Mapping[str, float] = field(default_factory=dict)
    background: Mapping[str, float] = field(default_factory=dict)
    judge_batch: int = 64
    report_every: float = 240.0
    lengths: Mapping[int, float] = field(default_factory=lambda: {17: 0.8, 33: 0.2})
    second_world_share: float = 0.0
    bank_bytes: float = 1e9
    vae_batch: int = 8
    critic_weight: float = 0.0
    held_out_clips: int = 12
    student_batch: int = 12
    scored_clips: int = 200


PRESETS = {
    "tiny": Preset(
        world="small",
        dit=DiTTrainingConfig(
            width=96,
            layers=2,
            sides={64: 1.0},
            aspects={1.0: 0.7, 2.0: 0.3},
            curriculum=((0.4, {1: 1.0}), (1.01, {1: 0.3, 17: 0.7})),
            batch_tokens=64,
            clips_per_shape=64,
            initial_clips=8,
            lookahead=1.0,
            student_rank=4,
        ),
        shares={"vae": 0.35, "dit": 0.35, "distil": 0.15, "score": 0.15},
        background={"text": 0.15, "judge": 0.15, "warm": 0.1},
        vae=MiniVAEConfig(8, 16, 16, (1, 2), 16, 16, (1, 2), detail=8),
        overhead={"vae": 1, "dit": 1, "distil": 1, "score": 1},
        judge_batch=4,
        report_every=5.0,
        lengths={17: 1.0},
        second_world_share=0.3,
        bank_bytes=5e7,
        vae_batch=4,
        held_out_clips=2,
        student_batch=2,
        scored_clips=4,
    ),
    "cpu": Preset(
        world="small",
        dit=DiTTrainingConfig(),
        vae=MiniVAEConfig(channels=24, detail=48, reach=3),
        shares={"vae": 0.28, "text": 0.04, "judge": 0.06, "dit": 0.5, "distil": 0.08, "score": 0.04},
    ),
    "h100": Preset(
        world="rich",
        dit=DiTTrainingConfig(
            width=384,
            layers=9,
            aspects={1.0: 0.6, 16 / 9: 0.14, 9 / 16: 0.14, 4 / 3: 0.06, 3 / 4: 0.06},
            curriculum=((0.34, {1: 1.0}), (0.6, {1: 0.2, 17: 0.8}), (1.01, {1: 0.12, 17: 0.68, 33: 0.2})),
            batch_tokens=65536,
            ema_decay=0.998,
            cooldown=0.25,
            caption_dropout=0.1,
            clips_per_shape=60000,
            initial_clips=256,
            encoding_share=0.3,
            lookahead=1.0,
            compile=True,
        ),
        shares={"vae": 0.29, "dit": 0.58, "distil": 0.095, "score": 0.035},
        overhead={"vae": 2, "dit": 2, "distil": 1, "score": 2},
        background={"text": 0.22, "judge": 0.2, "warm": 0.1},
        vae=MiniVAEConfig(32, 96, 192, (1, 3), 160, 256, (2, 3), detail=64, reach=3),
        judge_batch=128,
        report_every=45.0,
        second_world_share=0.3,
        bank_bytes=34e9,
        vae_batch=96,
        held_out_clips=16,
        student_batch=96,
    ),
}
PRESETS["h100-more"] = replace(
    PRESETS["h100"],
    world="rich-v2",
    dit=replace(
        PRESETS["h100"].dit,
        curriculum=((0.7, {1: 0.8, 17: 0.2}), (1.01, {1: 0.3, 17: 0.58, 33: 0.12})),
        learning_rate=6e-3,
        ema_decay=0.999,
        subject_weight=5.0,
        student_rank=0,
    ),
    shares={"vae": 0.29, "dit": 0.6, "distil": 0.09, "score": 0.02},
    background={"text": 0.22, "judge": 0.2},
    student_batch=48,
)  # goes on from weights of "h100": single frames again, which teach shapes, then clips
PRESETS["h100-clips"] = replace(
    PRESETS["h100-more"],
    dit=replace(
        PRESETS["h100-more"].dit,
        curriculum=((1.01, {1: 0.22, 17: 0.62, 33: 0.16}),),
        learning_rate=4e-3,
        cooldown=0.92,
        timestep_shift=3.0,
        initial_clips=1024,
    ),
)  # goes on from weights of "h100-more": clips, at the noise where shapes are decided, at a rate that falls all the way


# Shapes of clips ----------------------------------------------------------------------------------------------------


def clip_shapes(recipe: DiTTrainingConfig, multiple: int) -> dict[Size, float]:
    """How often each (height, width), rounded to the grid of the model."""
    found: dict[Size, float] = {}
    for side, often in recipe.sides.items():
        for aspect, share in recipe.aspects.items():
            sides = [multiple * max(1, round(side * max(1.0, ratio) / multiple)) for ratio in (1 / aspect, aspect)]
            size = sides[0], sides[1]
            found[size] = found.get(size, 0.0) + often * share
    return found


def batch_size(recipe: DiTTrainingConfig, size: Size, frames: int, multiple: int) -> int:
    """Clips of a batch: as many as give it ``batch_tokens`` tokens."""
    tokens = (1 + (frames - 1) // TEMPORAL_COMPRESSION) * (size[0] // multiple) * (size[1] // multiple)
    return min(MAX_BATCH_CLIPS, recipe.clips_per_shape, max(1, round(recipe.batch_tokens / tokens)))


# Sizes of networks --------------------------------------------------------------------------------------------------


def dit_config(latent_channels: int, text_width: int, width: int, layers: int) -> WanConfig:
    """A small Wan transformer whose input is the noisy latents, the known latents, their mask and position channels."""
    return WanConfig(
        num_layers=layers,
        heads=width // 48 if width % 48 == 0 else width // 64,
        head_dim=48 if width % 48 == 0 else 64,
        in_channels=latent_channels + conditioning_channel_count(latent_channels),
        out_channels=latent_channels,
        text_dim=text_width,
        freq_dim=128,
        ffn_dim=4 * width,
    )


def dit_config_of(tensors: Mapping[str, Tensor]) -> WanConfig:
    """The transformer's sizes, read back from its weights."""
    width, layers = tensors["proj_out.weight"].shape[1], _block_count(tensors, "blocks.")
    channels = tensors["proj_out.weight"].shape[0] // 4
    text = tensors["condition_embedder.text_embedder.linear_1.weight"].shape[1]
    return dit_config(channels, text, width, layers)


def vae_config_of(tensors: Mapping[str, Tensor]) -> MiniVAEConfig:
    """The autoencoder's sizes, read back from its weights."""
    detail, mixes = tensors.get("detail.unfold.weight"), tensors.get("decoder_time.0.mix.weight")
    return MiniVAEConfig(
        channels=tensors["mean"].shape[0],
        encoder_fine=tensors["fold.weight"].shape[0],
        encoder_coarse=tensors["reduce.weight"].shape[0],
        encoder_blocks=(_block_count(tensors, "encoder_fine."), _block_count(tensors, "encoder_coarse.")),
        decoder_fine=tensors["unfold.weight"].shape[1],
        decoder_coarse=tensors["from_latents.weight"].shape[0],
        decoder_blocks=(_block_count(tensors, "decoder_fine."), _block_count(tensors, "decoder_coarse.")),
        detail=0 if detail is None else detail.shape[1],
        reach=1 if mixes is None or mixes.ndim == 2 else mixes.shape[-1],
    )


def text_config_of(tensors: Mapping[str, Tensor]) -> MiniTextConfig:
    """The text encoder's sizes, read back from its weights, except for the number of attention heads, which weights do
    not show."""
    vocabulary, width = tensors["words.weight"].shape
    return MiniTextConfig(
        vocabulary=vocabulary,
        width=width,
        slots=tensors["slots"].shape[0],
        layers=_block_count(tensors, "layers.layers."),
        length=tensors["places"].shape[0],
    )


def _block_count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})
