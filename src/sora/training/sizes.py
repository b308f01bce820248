"""How large a training is: presets of networks, batches, frames and shares of time; sizes read back from weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from sora.families.mini import extra_channels
from sora.networks.mini_text import MiniTextConfig
from sora.networks.mini_vae import MiniVAEConfig
from sora.networks.wan_dit import WanConfig

Stage = tuple[float, Mapping[int, float]]


@dataclass(frozen=True)
class Recipe:
    """What a training of the transformer varies. sides: how often clips of which short side, in pixels. aspects: how
    often which width / height. curriculum: until which share of all training, how often clips of how many frames.
    tokens: of a batch. shift, deviation: of the logit-normal training times (Esser et al. 2024, arXiv 2403.03206), a
    deviation of 0 draws them evenly. fresh: share of a batch that is newly rendered. align: weight of the agreement of
    a middle block with a frozen network's features (REPA, Yu et al. 2024, arXiv 2410.06940).
    pooled: one mean of the text's slots instead of them all."""

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
    fresh: float = 0.12
    cover: float = 3.0
    motion: float = 0.0
    limit: int = 6000
    align: float = 0.0
    pooled: bool = False
    compile: bool = False


@dataclass(frozen=True)
class Preset:
    """world: a name of ``worlds.WORLDS``. shares: of the budget, by stage, in their order. seconds: what a stage takes
    beside its training before it has been measured. arguments: flags for the stages that are programs of their own.
    clips: painted for the scores. vae, vae_batch, critic: the autoencoder's sizes, the crops of a step, and the weight
    of its critic. measured: clips that the autoencoder is measured on."""

    world: str
    dit: Recipe
    vae: MiniVAEConfig
    shares: Mapping[str, float]
    seconds: Mapping[str, float] = field(default_factory=dict)
    arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clips: int = 200
    vae_batch: int = 8
    critic: float = 0.0
    measured: int = 12


SIZES = {
    "tiny": Preset(
        world="small",
        dit=Recipe(
            width=96,
            layers=2,
            sides={64: 1.0},
            aspects={1.0: 1.0},
            curriculum=((0.4, {1: 1.0}), (1.01, {1: 0.3, 9: 0.7})),
            tokens=64,
            limit=64,
        ),
        shares={"vae": 0.25, "text": 0.15, "judge": 0.15, "dit": 0.25, "distil": 0.1, "score": 0.1},
        vae=MiniVAEConfig(8, 16, 16, (1, 2), 16, 16, (1, 2), detail=8),
        vae_batch=2,
        measured=1,
        seconds={"vae": 2, "judge": 8, "distil": 2},
        arguments={"judge": ("--batch", "4"), "distil": ("--batch", "2")},
        clips=4,
    ),
    "cpu": Preset(
        world="small",
        dit=Recipe(),
        vae=MiniVAEConfig(channels=24, detail=48, reach=3),
        shares={"vae": 0.28, "text": 0.04, "judge": 0.06, "dit": 0.5, "distil": 0.08, "score": 0.04},
    ),
    "gpu": Preset(
        world="large",
        dit=Recipe(
            width=384,
            layers=9,
            sides={128: 0.35, 192: 0.25, 256: 0.4},
            aspects={1.0: 0.4, 16 / 9: 0.2, 9 / 16: 0.2, 4 / 3: 0.1, 3 / 4: 0.1},
            curriculum=(
                (0.25, {1: 1.0}),
                (0.45, {1: 0.15, 9: 0.85}),
                (1.01, {1: 0.08, 9: 0.1, 17: 0.4, 33: 0.42}),
            ),
            tokens=512 * 320,
            average=0.999,
            limit=8000,
        ),
        shares={"vae": 0.25, "text": 0.04, "judge": 0.05, "dit": 0.53, "distil": 0.09, "score": 0.04},
        vae=MiniVAEConfig(24, 96, 192, (1, 3), 160, 256, (2, 3), detail=64, reach=3),
        vae_batch=64,
        critic=0.05,
        arguments={"judge": ("--batch", "256"), "distil": ("--batch", "128")},
        clips=500,
    ),
}


# Sizes of networks --------------------------------------------------------------------------------------------------


def dit_config(latent_channels: int, text_width: int, width: int, layers: int) -> WanConfig:
    """A small Wan transformer that reads known latents, masks and places beside the noise."""
    return WanConfig(
        num_layers=layers,
        heads=width // 48 if width % 48 == 0 else width // 64,
        head_dim=48 if width % 48 == 0 else 64,
        in_channels=latent_channels + extra_channels(latent_channels),
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
