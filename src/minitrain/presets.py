"""How large a training is: presets of networks, batches, frames and shares of time; sizes read back from weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from sora.models.mini.model import conditioning_channel_count
from sora.networks.mini_text import MiniTextConfig
from sora.networks.mini_vae import TIME, MiniVAEConfig
from sora.networks.wan.dit import WanConfig

Stage = tuple[float, Mapping[int, float]]
Size = tuple[int, int]
MOST = 2048  # clips of a batch


@dataclass(frozen=True)
class Recipe:
    """What a training of the transformer varies. sides: how often clips of which short side, in pixels. aspects: how
    often which width / height. curriculum: until which share of all training, how often clips of how many frames.
    tokens: of a batch. shift, deviation: of the logit-normal training times (Esser et al. 2024, arXiv 2403.03206), a
    deviation of 0 draws them evenly. silent: share of the captions that are left out, for guidance. limit: clips kept
    of each shape. begin: clips encoded before the first step. feeding: share of the time for encoding new clips, at
    most. ahead: how much of the curriculum is looked ahead for lengths that are worth encoding. align: weight of the
    agreement of a middle block with a frozen network's features (REPA, Yu et al. 2024, arXiv 2410.06940). pooled: one
    mean of the text's slots in place of them all. compile: whether the blocks are compiled. rank: of the few-step
    student's difference to its teacher, 0 for weights of its own; student_rate: of its matrices."""

    width: int = 192
    layers: int = 6
    sides: Mapping[int, float] = field(default_factory=lambda: {256: 1.0})
    aspects: Mapping[float, float] = field(
        default_factory=lambda: {1.0: 0.5, 16 / 9: 0.15, 9 / 16: 0.15, 4 / 3: 0.1, 3 / 4: 0.1}
    )
    curriculum: tuple[Stage, ...] = (
        (0.38, {1: 1.0}),
        (0.58, {1: 0.15, 9: 0.85}),
        (1.01, {1: 0.12, 9: 0.08, 17: 0.62, 33: 0.18}),
    )
    tokens: int = 4000
    rate: float = 8e-3
    average: float = 0.995
    cooldown: float = 0.2
    shift: float = 2.0
    deviation: float = 1.0
    silent: float = 0.12
    cover: float = 3.0
    motion: float = 0.0
    limit: int = 6000
    begin: int = 48
    feeding: float = 0.25
    ahead: float = 0.05
    align: float = 0.0
    pooled: bool = False
    compile: bool = False
    rank: int = 32
    student_rate: float = 1e-3


@dataclass(frozen=True)
class Preset:
    """world: a name of ``worlds.WORLDS``. shares: of the budget, by stage, in their order. seconds: what a stage takes
    beside its training before it has been measured. beside: shares of the budget of stages that run in processes of
    their own, beside the first ones of ``shares``. judge_batch: frames of a step of the judge.
    every: seconds from one report to the next. lengths: how often clips of how many frames are rendered. wide: share of
    the autoencoder's clips that come from the world "wide". bank: bytes of rendered clips that are kept. vae,
    vae_batch, critic: the autoencoder's sizes, the crops of a step, and the weight of its critic. measured: held-out
    clips of the figures that are noted on the way. student_batch: clips of a step of the few-step student. clips:
    painted for the scores."""

    world: str
    dit: Recipe
    vae: MiniVAEConfig
    shares: Mapping[str, float]
    seconds: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, float] = field(default_factory=dict)
    judge_batch: int = 64
    every: float = 240.0
    lengths: Mapping[int, float] = field(default_factory=lambda: {17: 0.8, 33: 0.2})
    wide: float = 0.0
    bank: float = 1e9
    vae_batch: int = 8
    critic: float = 0.0
    measured: int = 12
    student_batch: int = 12
    clips: int = 200


SIZES = {
    "tiny": Preset(
        world="small",
        dit=Recipe(
            width=96,
            layers=2,
            sides={64: 1.0},
            aspects={1.0: 0.7, 2.0: 0.3},
            curriculum=((0.4, {1: 1.0}), (1.01, {1: 0.3, 17: 0.7})),
            tokens=64,
            limit=64,
            begin=8,
            ahead=1.0,
            rank=4,
        ),
        shares={"vae": 0.35, "dit": 0.35, "distil": 0.15, "score": 0.15},
        beside={"text": 0.15, "judge": 0.15, "warm": 0.1},
        vae=MiniVAEConfig(8, 16, 16, (1, 2), 16, 16, (1, 2), detail=8),
        seconds={"vae": 1, "dit": 1, "distil": 1, "score": 1},
        judge_batch=4,
        every=5.0,
        lengths={17: 1.0},
        wide=0.3,
        bank=5e7,
        vae_batch=4,
        measured=2,
        student_batch=2,
        clips=4,
    ),
    "cpu": Preset(
        world="small",
        dit=Recipe(),
        vae=MiniVAEConfig(channels=24, detail=48, reach=3),
        shares={"vae": 0.28, "text": 0.04, "judge": 0.06, "dit": 0.5, "distil": 0.08, "score": 0.04},
    ),
    "h100": Preset(
        world="rich",
        dit=Recipe(
            width=384,
            layers=9,
            aspects={1.0: 0.6, 16 / 9: 0.14, 9 / 16: 0.14, 4 / 3: 0.06, 3 / 4: 0.06},
            curriculum=((0.34, {1: 1.0}), (0.6, {1: 0.2, 17: 0.8}), (1.01, {1: 0.12, 17: 0.68, 33: 0.2})),
            tokens=65536,
            average=0.998,
            cooldown=0.25,
            silent=0.1,
            limit=60000,
            begin=256,
            feeding=0.3,
            ahead=1.0,
            compile=True,
        ),
        shares={"vae": 0.29, "dit": 0.58, "distil": 0.095, "score": 0.035},
        seconds={"vae": 2, "dit": 2, "distil": 1, "score": 2},
        beside={"text": 0.22, "judge": 0.2, "warm": 0.1},
        vae=MiniVAEConfig(32, 96, 192, (1, 3), 160, 256, (2, 3), detail=64, reach=3),
        judge_batch=128,
        every=45.0,
        wide=0.3,
        bank=34e9,
        vae_batch=96,
        measured=16,
        student_batch=96,
    ),
}


# Shapes of clips ----------------------------------------------------------------------------------------------------


def shapes(recipe: Recipe, multiple: int) -> dict[Size, float]:
    """How often clips of which (height, width), on the grid of the model."""
    found: dict[Size, float] = {}
    for side, often in recipe.sides.items():
        for aspect, share in recipe.aspects.items():
            sides = [multiple * max(1, round(side * max(1.0, ratio) / multiple)) for ratio in (1 / aspect, aspect)]
            size = sides[0], sides[1]
            found[size] = found.get(size, 0.0) + often * share
    return found


def clips_of(recipe: Recipe, size: Size, frames: int, multiple: int) -> int:
    """Clips of a batch: as many as give it ``tokens`` tokens."""
    tokens = (1 + (frames - 1) // TIME) * (size[0] // multiple) * (size[1] // multiple)
    return min(MOST, recipe.limit, max(1, round(recipe.tokens / tokens)))


# Sizes of networks --------------------------------------------------------------------------------------------------


def dit_config(latent_channels: int, text_width: int, width: int, layers: int) -> WanConfig:
    """A small Wan transformer that reads known latents, masks and places beside the noise."""
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


def dit_sizes(tensors: Mapping[str, Tensor]) -> WanConfig:
    """The transformer's sizes, read back from its weights."""
    width, layers = tensors["proj_out.weight"].shape[1], _blocks(tensors, "blocks.")
    channels = tensors["proj_out.weight"].shape[0] // 4
    text = tensors["condition_embedder.text_embedder.linear_1.weight"].shape[1]
    return dit_config(channels, text, width, layers)


def vae_sizes(tensors: Mapping[str, Tensor]) -> MiniVAEConfig:
    """The autoencoder's sizes, read back from its weights."""
    detail, mixes = tensors.get("detail.unfold.weight"), tensors.get("decoder_time.0.mix.weight")
    return MiniVAEConfig(
        channels=tensors["mean"].shape[0],
        encoder_fine=tensors["fold.weight"].shape[0],
        encoder_coarse=tensors["reduce.weight"].shape[0],
        encoder_blocks=(_blocks(tensors, "encoder_fine."), _blocks(tensors, "encoder_coarse.")),
        decoder_fine=tensors["unfold.weight"].shape[1],
        decoder_coarse=tensors["from_latents.weight"].shape[0],
        decoder_blocks=(_blocks(tensors, "decoder_fine."), _blocks(tensors, "decoder_coarse.")),
        detail=0 if detail is None else detail.shape[1],
        reach=1 if mixes is None or mixes.ndim == 2 else mixes.shape[-1],
    )


def text_sizes(tensors: Mapping[str, Tensor]) -> MiniTextConfig:
    """The text encoder's sizes, read back from its weights, but for its heads, which leave no trace."""
    vocabulary, width = tensors["words.weight"].shape
    return MiniTextConfig(
        vocabulary=vocabulary,
        width=width,
        slots=tensors["slots"].shape[0],
        layers=_blocks(tensors, "layers.layers."),
        length=tensors["places"].shape[0],
    )


def _blocks(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})
