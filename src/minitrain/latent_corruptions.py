"""Frames with the embedded model's typical failures, for training the judge.

``python -m minitrain.latent_corruptions FILE --count 1000`` writes them.

Rendered clips go through its autoencoder and, on the way, lose their subject as a painter loses it: its latents are
disturbed, or noised so far that the transformer, told of something else, has to paint them anew in few steps. Their
background stays. Clips whose latents were left nearly as they were are whole, so that it is not the autoencoder's
texture that is called broken.
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
from minitrain.judge import BROKEN, IGNORED, QUESTIONS, SIDE, WHOLE, Judge, device_of, reduced
from minitrain.judge_data import HALF, LATEST, STEP, Frames, without
from minitrain.scene import Film
from minitrain.worlds.render import render
from minitrain.worlds.world import WORLDS, World, draw_film
from sora import catalog, models
from sora.models.mini.model import Mini, conditioning_channels, word_ids

FRAMES, BATCH = 5, 4  # frames of a clip, of which the first, third and last are kept; clips at once
SIZES = ((128, 128), (96, 160), (160, 96))  # (height, width), multiples of the model's cells and patches
INSIDE = 0.15  # of a cell covered by the subject, from which on it is disturbed
STEPS = 2  # of the transformer, from where it is told to go on
TOLD = ("subject", "setting", "weather", "hour", "style")


@dataclass(frozen=True)
class Latents:
    """clean: (B, C, T, H, W). inside: (B, 1, T, H, W), 1 where the subject is."""

    clean: Tensor
    inside: Tensor


Made = tuple[dict[str, Tensor], list[dict[str, str]]]
Way = Callable[[Mini, Latents, list[Film], Random], Tensor]


def near(_model: Mini, x: Latents, _films: list[Film], rng: Random) -> Tensor:
    return x.clean + rng.uniform(0, 0.35) * torch.randn_like(x.clean)


def noised(_model: Mini, x: Latents, _films: list[Film], rng: Random) -> Tensor:
    return x.clean + x.inside * rng.uniform(0.9, 1.4) * torch.randn_like(x.clean)


def shuffled(_model: Mini, x: Latents, _films: list[Film], _rng: Random) -> Tensor:
    """The subject's cells change places."""
    out = x.clean.clone()
    for picture, inside in zip(out, x.inside.amax(dim=2)[:, 0] > 0, strict=True):
        places = inside.nonzero()
        order = places[torch.randperm(len(places))]
        picture[:, :, places[:, 0], places[:, 1]] = picture[:, :, order[:, 0], order[:, 1]].clone()
    return out


def heaped(model: Mini, x: Latents, films: list[Film], rng: Random) -> Tensor:
    """A heap of the subject's own colours: its cells, out of place, drawn towards their mean, with a little noise."""
    amount = x.inside.sum(dim=(3, 4), keepdim=True).clamp_min(1)
    mean = (x.clean * x.inside).sum(dim=(3, 4), keepdim=True) / amount
    out = shuffled(model, x, films, rng).lerp(mean.expand_as(x.clean), rng.uniform(0.1, 0.6))
    return x.clean.lerp(out + rng.uniform(0, 0.5) * torch.randn_like(out), x.inside)


def mixed(_model: Mini, x: Latents, _films: list[Film], rng: Random) -> Tensor:
    """The mean of the subject and another clip's, moved by a cell or two."""
    other = x.clean.roll(1, 0).roll((rng.randint(-1, 1), rng.randint(-1, 1)), (3, 4))
    return x.clean.lerp(other, x.inside * rng.uniform(0.4, 0.6))


def doubled(_model: Mini, x: Latents, _films: list[Film], rng: Random) -> Tensor:
    """Latents moved by one or two cells over those that stay."""
    shift = rng.choice((-2, -1, 1, 2)), rng.choice((-1, 0, 1))
    shift = shift if rng.random() < 0.5 else shift[::-1]
    moved, inside = x.clean.roll(shift, (3, 4)), x.inside.roll(shift, (3, 4))
    return x.clean.lerp(moved, inside * rng.uniform(0.4, 1.0))


def _painted_on(model: Mini, x: Latents, texts: list[str], noise: float) -> Tensor:
    """Noised that far, and painted from there in STEPS steps with these captions; the background is kept."""
    start = x.clean.lerp(torch.randn_like(x.clean), noise)
    slots = model.text_encoder(word_ids(model.tokenizer, texts, model.text_encoder.config.length))
    beside = conditioning_channels(x.clean, torch.zeros(len(texts), 4, *x.clean.shape[2:]))
    times = [noise * (1 - i / STEPS) for i in range(STEPS + 1)]
    for now, later in pairwise(times):
        units = torch.full((len(texts),), 1000 * now)
        start = start + (later - now) * model.dit(torch.cat([start, beside], dim=1), units, slots)
    soft = F.max_pool3d(x.inside, (1, 3, 3), 1, (0, 1, 1))
    return x.clean.lerp(start, soft)


def painted_near(model: Mini, x: Latents, films: list[Film], rng: Random) -> Tensor:
    """A little noise, and the right caption: the same subject in the painter's hand."""
    texts = [caption(film, rng, complete=True, gaits=False).text for film in films]
    return _painted_on(model, x, texts, rng.uniform(0.15, 0.35))


def painted_far(model: Mini, x: Latents, films: list[Film], rng: Random) -> Tensor:
    """Much noise, and the caption of another film."""
    texts = [caption(film, rng, complete=True, gaits=False).text for film in films[1:] + films[:1]]
    return _painted_on(model, x, texts, rng.uniform(0.7, 0.9))


def painted_blind(model: Mini, x: Latents, films: list[Film], rng: Random) -> Tensor:
    """Nearly all noise, and the right caption, in too few steps to find out more than its colours."""
    texts = [caption(film, rng, complete=True, gaits=False).text for film in films]
    return _painted_on(model, x, texts, rng.uniform(0.85, 0.95))


WAYS: Mapping[str, tuple[Way, str, float]] = {
    "near": (near, WHOLE, 1.6),
    "painted near": (painted_near, WHOLE, 2.2),
    "noised": (noised, BROKEN, 0.4),
    "heaped": (heaped, BROKEN, 0.8),
    "painted blind": (painted_blind, BROKEN, 0.8),
    "shuffled": (shuffled, BROKEN, 0.5),
    "mixed": (mixed, BROKEN, 0.5),
    "doubled": (doubled, BROKEN, 0.5),
    "painted far": (painted_far, BROKEN, 1.2),
}
"""What is done to latents, what the subject is afterwards, and how often."""


@torch.inference_mode()
def make(model: Mini, world: World, rng: Random) -> Made:
    """Frames of a few clips that went one way, in uint8: "pixels" and "bare" (N, 3, SIDE, SIDE), "cover"
    (N, 1, HALF, HALF). And what there is to tell of each."""
    way, verdict, _ = rng.choices(tuple(WAYS.values()), [often for _, _, often in WAYS.values()])[0]
    height, width = rng.choice(SIZES)
    films = [draw_film(world, rng.getrandbits(48), held=False) for _ in range(BATCH)]
    starts = [STEP * rng.randint(0, LATEST // STEP) for _ in films]
    clips = render(films, FRAMES, height, width, first=starts)
    bare = render([without(film) for film in films], 1, height, width, first=[s + FRAMES // 2 for s in starts])
    clean = model.vae.encode(clips.frames_BFCYX.transpose(1, 2).float() / 127.5 - 1)
    made = model.vae.decode(way(model, Latents(clean, _inside(clips.cover_BFYX)), films, rng)).transpose(1, 2)
    cover = F.interpolate(clips.cover_BFYX[:, ::2].float(), (HALF, HALF), mode="area")
    pixels = reduced(((made[:, ::2].clamp(-1, 1) + 1) * 127.5).round())
    kept = pixels.shape[1]
    frames = {
        "pixels": pixels.flatten(0, 1).to(torch.uint8),
        "bare": reduced(bare.frames_BFCYX).expand(-1, kept, -1, -1, -1).flatten(0, 1).to(torch.uint8),
        "cover": cover.flatten(0, 1)[:, None].to(torch.uint8),
    }
    told = [{q: facts(film)[q] for q in TOLD} | {"whole": verdict} for film in films for _ in range(kept)]
    return frames, [row if verdict == WHOLE else row | {"subject": ""} for row in told]


def _inside(cover_BFYX: Tensor) -> Tensor:
    """(B, 1, T, H, W): 1 for latent cells that the subject covers at any of their frames."""
    cells = F.avg_pool2d(cover_BFYX.float() / 255, 16)
    first, rest = cells[:, :1], cells[:, 1:].amax(dim=1, keepdim=True)
    return (torch.cat([first, rest], dim=1) > INSIDE).float()[:, None]


def write(made: list[Made], path: Path) -> None:
    """All frames in one file, with what there is to tell of them."""
    tensors = {name: torch.cat([frames[name] for frames, _ in made]) for name in made[0][0]}
    save_file(tensors, path, metadata={"told": json.dumps([row for _, rows in made for row in rows])})


class Mimics:
    """The frames of a file, for a judge to learn from. What it cannot answer is not asked."""

    def __init__(self, judge: Judge, path: Path) -> None:
        self.device = device_of(judge)
        with safe_open(path, framework="pt") as file:
            told = json.loads(file.metadata()["told"])
        self.tensors = {name: tensor.to(self.device) for name, tensor in load_file(path).items()}
        self.right = torch.full((len(told), len(QUESTIONS)), IGNORED)
        for row, answers in zip(self.right, told, strict=True):
            for question, word in answers.items():
                if word in judge.options[question]:
                    row[QUESTIONS.index(question)] = judge.options[question].index(word)
        self.right = self.right.to(self.device)

    def frames(self, count: int) -> Frames:
        """Frames drawn at random, half of them seen in a looking-glass."""
        drawn = torch.randint(len(self.right), (count,), device=self.device)
        pixels, bare = (self.tensors[name][drawn].float() / 127.5 - 1 for name in ("pixels", "bare"))
        cover = F.interpolate(self.tensors["cover"][drawn].float() / 255, scale_factor=SIDE // HALF, mode="bilinear")
        return Frames(pixels, bare, cover, self.right[drawn]).in_a_glass()


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
    made: list[Made] = []
    while len(made) * BATCH < args.count:
        made.append(make(model, WORLDS[args.world], rng))
        if len(made) % 25 == 0 or len(made) * BATCH >= args.count:
            write(made, args.file)
            print(f"{len(made) * BATCH} clips", flush=True)


if __name__ == "__main__":
    main()
