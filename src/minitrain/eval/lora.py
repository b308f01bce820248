"""Whether a LoRA of 8 clips shows a subject unknown to mini: ``python -m minitrain.eval.lora FOLDER [-- FLAGS]``.

Renders 8 clips of a glyph that the embedded model never saw, runs ``sora train`` on them (FLAGS are its own, such as
--steps), generates 20 clips that name the subject in other settings and motions, with the LoRA and without, and counts
in how many it appears. The classifier that counts is trained here, on rendered frames of that glyph, of the world's own
subjects, and of shuffled tiles in their colours; its accuracy on unseen rendered frames is printed too. Contact sheets
are written to FOLDER for inspection.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minitrain.eval.sheet import contact_row, generate_clip
from minitrain.scene import FPS, Actor, Film, Shot
from minitrain.worlds import WORLDS, render
from sora import catalog, media, memory, models, weights
from sora.plan.clip import Clip

WRECKAGE = "nothing whole"
NEW_SUBJECT = "sauropod"  # drawn by the larger world's artist, and unknown to smaller worlds
CLIP_COUNT, PROMPT_COUNT, SIDE = 8, 20, 48
MOTIONS = ("right", "left", "up", "bounce", "still", "down", "grow", "spin")
PLACES = {
    "meadow": "on a green meadow",
    "snow": "in the snow",
    "sea": "under the sea",
    "desert": "in the desert",
    "night": "at night",
    "city": "on a city street",
    "sunset": "at sunset",
}


def known_subjects() -> tuple[str, ...]:
    """The subjects of the world that the embedded model was trained on."""
    card = json.loads(weights.asset(catalog.find("mini").files[-2]).read_text(encoding="utf-8"))
    subjects = WORLDS[card["data"]["world"]].subjects
    if NEW_SUBJECT in subjects:
        raise SystemExit(f"the embedded model knows a {NEW_SUBJECT} already; choose another NAME")
    return subjects


def make_film(subject: str, setting: str, motion: str, rng: Random) -> Film:
    faces = motion if motion in ("left", "right") else "left"
    return Film((Shot(setting, (Actor(subject, motion, faces),), rng.getrandbits(40)),))


def pairs() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(setting, motion) of the 8 clips to learn from, and of 20 others."""
    every = [(s, m) for s in PLACES for m in MOTIONS]
    shown = [(list(PLACES)[i % len(PLACES)], motion) for i, motion in enumerate(MOTIONS)]
    return shown[:CLIP_COUNT], Random(4).sample([p for p in every if p not in shown], PROMPT_COUNT)


def caption_of(setting: str, motion: str) -> str:
    return f"a {NEW_SUBJECT} {catalog.find('mini').motion[motion]} {PLACES[setting]}"


def render_frames(film: Film, frames: int, first: int = 0) -> np.ndarray:
    """frames_FYXC uint8."""
    return render([film], frames, 128, 128, first=first, length=17).frames_BFCYX[0].permute(0, 2, 3, 1).numpy()


def render_clips(shown: list[tuple[str, str]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, (setting, motion) in enumerate(shown):
        frames = render_frames(make_film(NEW_SUBJECT, setting, motion, Random(i)), 17)
        media.write_clip(folder / f"{i}.mkv", Clip(frames, FPS), force=True)
        (folder / f"{i}.txt").write_text(caption_of(setting, motion))


class SubjectClassifier(nn.Module):
    """(B, 3, SIDE, SIDE) in [-1, 1] to logits over the subjects."""

    def __init__(self, subjects: int) -> None:
        super().__init__()
        widths = (3, 32, 48, 64, 96)
        stages = [
            layer
            for i, o in itertools.pairwise(widths)
            for layer in (nn.Conv2d(i, o, 3, 2, 1), nn.GroupNorm(8, o), nn.SiLU())
        ]
        self.net = nn.Sequential(*stages, nn.Conv2d(96, 96, 3, 1, 1), nn.SiLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * 96, subjects)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x))


def preprocess(frames_FYXC: np.ndarray) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(frames_FYXC)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(x, (SIDE, SIDE), mode="area")


def rendered_frames(rng: Random, count: int) -> tuple[Tensor, Tensor]:
    """Single frames of the world's subjects, the new one and wreckage, (count, 3, SIDE, SIDE), and their classes.
    Colours alone do not make a subject: some of the frames show one cut into tiles and shuffled."""
    names = class_names()
    made, truth = [], []
    for _ in range(count):
        which = rng.choice((rng.randrange(len(names)), len(names) - 1, len(names) - 2))
        wrecked = names[which] == WRECKAGE
        subject = rng.choice((NEW_SUBJECT, rng.choice(names[:-1]))) if wrecked else names[which]
        film = make_film(subject, rng.choice(list(PLACES)), rng.choice(MOTIONS), rng)
        frames = render_frames(film, 1, first=rng.randrange(17))
        made.append(preprocess(shuffle_tiles(frames, rng) if wrecked else frames))
        truth.append(which)
    return torch.cat(made), torch.tensor(truth)


def class_names() -> tuple[str, ...]:
    return (*known_subjects(), NEW_SUBJECT, WRECKAGE)


def shuffle_tiles(frames_FYXC: np.ndarray, rng: Random) -> np.ndarray:
    """The frame with its tiles exchanged among their neighbours: the same colours in about the same place."""
    tile, result = rng.choice((8, 16)), frames_FYXC.copy()
    for _ in range(2 * (128 // tile) ** 2):
        y, x = (tile * rng.randrange(1, 128 // tile - 1) for _ in range(2))
        v, u = y + tile * rng.choice((-1, 0, 1)), x + tile * rng.choice((-1, 0, 1))
        here, there = np.s_[:, y : y + tile, x : x + tile], np.s_[:, v : v + tile, u : u + tile]
        result[here], result[there] = result[there].copy(), result[here].copy()
    return result


def load_or_train_classifier(path: Path, steps: int = 400, batch: int = 32) -> SubjectClassifier:
    classifier = SubjectClassifier(len(class_names()))
    if path.is_file():
        classifier.load_state_dict(load_file(path))
        return classifier.eval()
    torch.manual_seed(0)
    optimiser, rng = torch.optim.AdamW(classifier.parameters(), lr=2e-3), Random(1)
    pool, truth = rendered_frames(rng, 2000)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        pick = torch.randint(len(pool), (batch,))
        x = pool[pick]
        soft = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = x.lerp(soft, torch.rand(batch, 1, 1, 1)) + 0.1 * torch.randn(batch, 3, 1, 1)
        x = x + 0.08 * torch.rand(batch, 1, 1, 1) * torch.randn_like(x)
        F.cross_entropy(classifier(x), truth[pick]).backward()
        optimiser.step()
        optimiser.zero_grad()
    save_file(classifier.state_dict(), path)
    return classifier.eval()


@torch.no_grad()
def classify(classifier: SubjectClassifier, frames_FYXC: np.ndarray) -> tuple[str, float]:
    """(the class of the clip's frames together, the mean probability of the new subject)."""
    chances = classifier(preprocess(frames_FYXC)).softmax(dim=1).mean(dim=0)
    return class_names()[int(chances.argmax())], float(chances[-2])


def evaluate_prompts(lora: Path | None, texts: list[str], sheet: Path, classifier: SubjectClassifier) -> float:
    """The share of the clips that show the subject; also writes a contact sheet of all."""
    device = memory.choose_device(None)
    model = models.load(catalog.find("mini").with_guidance(), device, memory.choose_dtype(None, device))
    if lora is not None:
        models.add_lora(model, lora, 1.0)
    rows, found = [], []
    for i, text in enumerate(texts):
        frames = generate_clip(model, text, 1000 + i)
        seen, chance = classify(classifier, frames)
        found.append(seen == NEW_SUBJECT)
        rows.append(contact_row(frames, f"{text}   [{seen}; {NEW_SUBJECT} {chance:.2f}]"))
    Image.fromarray(np.concatenate(rows)).save(sheet)
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("flags", nargs="*", help="for `sora train`, after --")
    parser.add_argument("--lora", type=Path, help="judge this file instead of training one")
    args = parser.parse_args()
    shown, asked = pairs()
    render_clips(shown, args.folder / "clips")

    lora, begun = args.lora or args.folder / "lora.safetensors", time.monotonic()
    if args.lora is None:
        command = [sys.executable, "-m", "sora", "train", str(args.folder / "clips"), "--out", str(lora), "--force"]
        subprocess.run([*command, *args.flags], check=True)
        print(f"trained in {(time.monotonic() - begun) / 60:.1f} minutes", flush=True)

    classifier = load_or_train_classifier(args.folder / "eye.safetensors")
    x, truth = rendered_frames(Random(2), 400)
    with torch.no_grad():
        guesses = classifier(x).argmax(dim=1)
    new = class_names().index(NEW_SUBJECT)
    right, false = (guesses == truth).float().mean(), (guesses[truth != new] == new).float().mean()
    print(
        f"eye on rendered frames: {right:.3f} right; takes anything else for a {NEW_SUBJECT}: {false:.3f}", flush=True
    )
    texts = [caption_of(*pair) for pair in asked]
    for label, file in (("with", lora), ("without", None)):
        share = evaluate_prompts(file, texts, args.folder / f"{label}.png", classifier)
        print(f"{label} the LoRA: {NEW_SUBJECT} in {share:.0%} of {PROMPT_COUNT} films", flush=True)


if __name__ == "__main__":
    main()
