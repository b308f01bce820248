"""Frames with the embedded model's typical failures, for training the judge.

``python -m minitrain.latent_corruptions FILE --count 1000`` writes them. Rendered clips pass through the autoencoder,
and on the way the subject's latents are corrupted: disturbed, exchanged, or noised so far that the transformer, given
another caption, has to generate them anew in few steps. The background stays. Clips whose latents were nearly unchanged
are labelled whole, so that the judge does not take the autoencoder's texture for a defect.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from minitrain.captions import caption
from minitrain.captions.facts import facts
from minitrain.judge import BROKEN, IGNORED, QUESTIONS, SIDE, WHOLE, Judge, device_of, resize
from minitrain.judge_data import COVER_SIDE, MAX_START, START_STEP, Frames, without_first_actor
from minitrain.scene import Film
from minitrain.worlds.render import render
from minitrain.worlds.world import WORLDS, World, draw_film
from sora import catalog, models
from sora.models.mini.model import Mini, conditioning_channels, word_ids

FRAMES, BATCH = 5, 4  # frames of a clip, of which the first, third and last are kept; clips at once
SIZES = ((128, 128), (96, 160), (160, 96))  # (height, width), multiples of the model's cells and patches
MIN_COVER = 0.15  # of a cell covered by the subject, from which on it is disturbed
STEPS = 2  # of the transformer, from the noise level on
LABELLED_SLOTS = ("subject", "setting", "weather", "hour", "style")


@dataclass(frozen=True)
class Latents:
    """clean: (B, C, T, H, W). inside: (B, 1, T, H, W), 1 where the subject is."""

    clean: Tensor
    inside: Tensor


LabelledFrames = tuple[dict[str, Tensor], list[dict[str, str]]]
LatentCorruption = Callable[[Mini, Latents, list[Film], Random], Tensor]


def add_little_noise(_model: Mini, x: Latents, _films: list[Film], rng: Random) -> Tensor:
    return x.clean + rng.uniform(0, 0.35) * torch.randn_like(x.clean)


def noise_subject(_model: Mini, x: Latents, _films: list[Film], rng: Random) -> Tensor:
    return x.clean + x.inside * rng.uniform(0.9, 1.4) * torch.randn_like(x.clean)


def shuffle_cells(_model: Mini, x: Latents, _films: list[Film], _rng: Random) -> Tensor:
    """Exchange the subject's cells."""
    out = x.clean.clone()
    for picture, inside in zip(out, x.inside.amax(dim=2)[:, 0] > 0, strict=True):
        places = inside.nonzero()
        order = places[torch.randperm(len(places))]
        picture[:, :, places[:, 0], places[:, 1]] = picture[:, :, order[:, 0], order[:, 1]].clone()
    return out


def blend_to_mean(model: Mini, x: Latents, films: list[Film], rng: Random) -> Tensor:
    """A blob of the subject's own colours: its cells exchanged, drawn towards their mean, with a little noise."""
    amount = x.inside.sum(dim=(3, 4), keepdim=True).clamp_min(1)
    mean = (x.clean * x.inside).sum(dim=(3, 4), keepdim=True) / amount
    out = shuffle_cells(model, x, films, rng).lerp(mean.expand_as(x.clean), rng.uniform(0.1, 0.6))
    return x.clean.lerp(out + rng.uniform(0, 0.5) * torch.randn_like(out), x.inside)


def blend_with_another(_model: Mini, x: Latents, _films: list[Film], rng: Random) -> Tensor:
    """The mean of the subject's and another clip's latents, shifted by a cell or two."""
    other = x.clean.roll(1, 0).roll((rng.randint(-1, 1), rng.randint(-1, 1)), (3, 4))
    return x.clean.lerp(other, x.inside * rng.uniform(0.4, 0.6))


def duplicate_shifted(_model: Mini, x: Latents, _films: list[Film], rng: Random) -> Tensor:
    """The latents, and over them a copy shifted by one or two cells."""
    shift = rng.choice((-2, -1, 1, 2)), rng.choice((-1, 0, 1))
    shift = shift if rng.random() < 0.5 else shift[::-1]
    moved, inside = x.clean.roll(shift, (3, 4)), x.inside.roll(shift, (3, 4))
    return x.clean.lerp(moved, inside * rng.uniform(0.4, 1.0))


def _resample(model: Mini, x: Latents, texts: list[str], noise: float) -> Tensor:
    """Noise the latents by ``noise`` and denoise them in STEPS steps with these captions; the background is kept."""
    start = x.clean.lerp(torch.randn_like(x.clean), noise)
    slots = model.text_encoder(word_ids(model.tokenizer, texts, model.text_encoder.config.length))
    conditioning = conditioning_channels(x.clean, torch.zeros(len(texts), 4, *x.clean.shape[2:]))
    times = [noise * (1 - i / STEPS) for i in range(STEPS + 1)]
    for now, later in pairwise(times):
        units = torch.full((len(texts),), 1000 * now)
        start = start + (later - now) * model.dit(torch.cat([start, conditioning], dim=1), units, slots)
    soft = F.max_pool3d(x.inside, (1, 3, 3), 1, (0, 1, 1))
    return x.clean.lerp(start, soft)


def resample_lightly(model: Mini, x: Latents, films: list[Film], rng: Random) -> Tensor:
    """A little noise and the right caption: the same subject in the model's own style."""
    texts = [caption(film, rng, complete=True, gaits=False).text for film in films]
    return _resample(model, x, texts, rng.uniform(0.15, 0.35))


def resample_with_wrong_caption(model: Mini, x: Latents, films: list[Film], rng: Random) -> Tensor:
    """Much noise and the caption of another film."""
    texts = [caption(film, rng, complete=True, gaits=False).text for film in films[1:] + films[:1]]
    return _resample(model, x, texts, rng.uniform(0.7, 0.9))


def resample_from_noise(model: Mini, x: Latents, films: list[Film], rng: Random) -> Tensor:
    """Nearly pure noise and the right caption, in too few steps to recover more than its colours."""
    texts = [caption(film, rng, complete=True, gaits=False).text for film in films]
    return _resample(model, x, texts, rng.uniform(0.85, 0.95))


CORRUPTIONS: Mapping[str, tuple[LatentCorruption, str, float]] = {
    "near": (add_little_noise, WHOLE, 1.6),
    "painted near": (resample_lightly, WHOLE, 2.2),
    "noised": (noise_subject, BROKEN, 0.4),
    "heaped": (blend_to_mean, BROKEN, 0.8),
    "painted blind": (resample_from_noise, BROKEN, 0.8),
    "shuffled": (shuffle_cells, BROKEN, 0.5),
    "mixed": (blend_with_another, BROKEN, 0.5),
    "doubled": (duplicate_shifted, BROKEN, 0.5),
    "painted far": (resample_with_wrong_caption, BROKEN, 1.2),
}
"""What is done to latents, what the subject is afterwards, and how often."""


@torch.inference_mode()
def corrupt_clips(model: Mini, world: World, rng: Random) -> LabelledFrames:
    """Frames of a few clips with one corruption, in uint8: "pixels" and "bare" (N, 3, SIDE, SIDE), "cover" (N, 1,
    COVER_SIDE, COVER_SIDE); and the labels of each frame."""
    corruption, verdict, _ = rng.choices(tuple(CORRUPTIONS.values()), [often for _, _, often in CORRUPTIONS.values()])[
        0
    ]
    height, width = rng.choice(SIZES)
    films = [draw_film(world, rng.getrandbits(48), held_out=False) for _ in range(BATCH)]
    starts = [START_STEP * rng.randint(0, MAX_START // START_STEP) for _ in films]
    clips = render(films, FRAMES, height, width, first=starts)
    bare = render(
        [without_first_actor(film) for film in films], 1, height, width, first=[s + FRAMES // 2 for s in starts]
    )
    clean = model.vae.encode(clips.frames_BFCYX.transpose(1, 2).float() / 127.5 - 1)
    decoded = model.vae.decode(
        corruption(model, Latents(clean, _subject_cells(clips.cover_BFYX)), films, rng)
    ).transpose(1, 2)
    cover = F.interpolate(clips.cover_BFYX[:, ::2].float(), (COVER_SIDE, COVER_SIDE), mode="area")
    pixels = resize(((decoded[:, ::2].clamp(-1, 1) + 1) * 127.5).round())
    kept = pixels.shape[1]
    frames = {
        "pixels": pixels.flatten(0, 1).to(torch.uint8),
        "bare": resize(bare.frames_BFCYX).expand(-1, kept, -1, -1, -1).flatten(0, 1).to(torch.uint8),
        "cover": cover.flatten(0, 1)[:, None].to(torch.uint8),
    }
    labels = [{q: facts(film)[q] for q in LABELLED_SLOTS} | {"whole": verdict} for film in films for _ in range(kept)]
    return frames, [row if verdict == WHOLE else row | {"subject": ""} for row in labels]


def _subject_cells(cover_BFYX: Tensor) -> Tensor:
    """(B, 1, T, H, W): 1 for latent cells that the subject covers in any of their frames."""
    cells = F.avg_pool2d(cover_BFYX.float() / 255, 16)
    first, rest = cells[:, :1], cells[:, 1:].amax(dim=1, keepdim=True)
    return (torch.cat([first, rest], dim=1) > MIN_COVER).float()[:, None]


def write(batches: list[LabelledFrames], path: Path) -> None:
    """Write all frames into one file, with their labels in the metadata."""
    tensors = {name: torch.cat([frames[name] for frames, _ in batches]) for name in batches[0][0]}
    save_file(tensors, path, metadata={"told": json.dumps([row for _, rows in batches for row in rows])})


class CorruptedClips:
    """The frames of such a file, for the judge to learn from. Labels that it has no answer for are IGNORED."""

    def __init__(self, judge: Judge, path: Path) -> None:
        self.device = device_of(judge)
        with safe_open(path, framework="pt") as file:
            labels = json.loads(file.metadata()["told"])
        self.tensors = {name: tensor.to(self.device) for name, tensor in load_file(path).items()}
        self.labels = torch.full((len(labels), len(QUESTIONS)), IGNORED)
        for row, answers in zip(self.labels, labels, strict=True):
            for question, word in answers.items():
                if word in judge.options[question]:
                    row[QUESTIONS.index(question)] = judge.options[question].index(word)
        self.labels = self.labels.to(self.device)

    def frames(self, count: int) -> Frames:
        """Frames drawn at random, half of them mirrored."""
        drawn = torch.randint(len(self.labels), (count,), device=self.device)
        pixels, bare = (self.tensors[name][drawn].float() / 127.5 - 1 for name in ("pixels", "bare"))
        cover = F.interpolate(
            self.tensors["cover"][drawn].float() / 255, scale_factor=SIDE // COVER_SIDE, mode="bilinear"
        )
        return Frames(pixels, bare, cover, self.labels[drawn]).randomly_mirrored()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain.latent_corruptions", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="clips, of which three frames each are kept")
    parser.add_argument("--world", choices=WORLDS, default="rich")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    spec, rng = catalog.find("mini").with_guidance(), Random(args.seed)
    model = models.load(spec, torch.device("cpu"), torch.float32)
    assert isinstance(model, Mini)
    batches: list[LabelledFrames] = []
    while len(batches) * BATCH < args.count:
        batches.append(corrupt_clips(model, WORLDS[args.world], rng))
        if len(batches) % 25 == 0 or len(batches) * BATCH >= args.count:
            write(batches, args.file)
            print(f"{len(batches) * BATCH} clips", flush=True)


if __name__ == "__main__":
    main()
