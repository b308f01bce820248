"""Whether a LoRA of 8 clips shows a subject unknown to mini: ``python -m minitrain.eval.lora FOLDER [-- FLAGS]``.

Renders 8 clips of a glyph the embedded model never saw, runs ``sora train`` on them (FLAGS are its own, as --steps),
paints 20 clips that name the subject in other settings and motions, with the LoRA and without, and counts in how many
it appears. The eye that counts is a small classifier, trained here on rendered frames of that glyph, of the world's own
subjects, and of wreckage in their colours; its score on unseen rendered frames is printed too. Contact sheets stand in
FOLDER for eyes of your own.
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

from minitrain.eval.sheet import film, row
from minitrain.scene import FPS, Actor, Film, Shot
from minitrain.worlds import WORLDS, render
from sora import catalog, media, memory, models, weights
from sora.plan.clip import Clip

WRECK = "nothing whole"
NAME = "sauropod"  # drawn by the larger world's artist, and unknown to smaller worlds
CLIPS, ASKED, SIDE = 8, 20, 48
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
    if NAME in subjects:
        raise SystemExit(f"the embedded model knows a {NAME} already; choose another NAME")
    return subjects


def a_film(subject: str, setting: str, motion: str, rng: Random) -> Film:
    faces = motion if motion in ("left", "right") else "left"
    return Film((Shot(setting, (Actor(subject, motion, faces),), rng.getrandbits(40)),))


def pairs() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(setting, motion) of the 8 clips to learn from, and of 20 others."""
    every = [(s, m) for s in PLACES for m in MOTIONS]
    shown = [(list(PLACES)[i % len(PLACES)], motion) for i, motion in enumerate(MOTIONS)]
    return shown[:CLIPS], Random(4).sample([p for p in every if p not in shown], ASKED)


def words(setting: str, motion: str) -> str:
    return f"a {NAME} {catalog.find('mini').motion[motion]} {PLACES[setting]}"


def frames_of(film: Film, frames: int, first: int = 0) -> np.ndarray:
    """frames_FYXC uint8."""
    return render([film], frames, 128, 128, first=first, length=17).frames_BFCYX[0].permute(0, 2, 3, 1).numpy()


def render_clips(shown: list[tuple[str, str]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, (setting, motion) in enumerate(shown):
        frames = frames_of(a_film(NAME, setting, motion, Random(i)), 17)
        media.write_clip(folder / f"{i}.mkv", Clip(frames, FPS), force=True)
        (folder / f"{i}.txt").write_text(words(setting, motion))


class Eye(nn.Module):
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


def looked_at(frames_FYXC: np.ndarray) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(frames_FYXC)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(x, (SIDE, SIDE), mode="area")


def rendered_frames(rng: Random, count: int) -> tuple[Tensor, Tensor]:
    """Single frames of the world's subjects, the new one and wreckage, (count, 3, SIDE, SIDE), and which. The colours
    of a subject are not the subject: a share of the frames shows one cut into tiles and laid out anew."""
    names = answers()
    made, truth = [], []
    for _ in range(count):
        which = rng.choice((rng.randrange(len(names)), len(names) - 1, len(names) - 2))
        wrecked = names[which] == WRECK
        subject = rng.choice((NAME, rng.choice(names[:-1]))) if wrecked else names[which]
        film = a_film(subject, rng.choice(list(PLACES)), rng.choice(MOTIONS), rng)
        frames = frames_of(film, 1, first=rng.randrange(17))
        made.append(looked_at(wreck(frames, rng) if wrecked else frames))
        truth.append(which)
    return torch.cat(made), torch.tensor(truth)


def answers() -> tuple[str, ...]:
    return (*known_subjects(), NAME, WRECK)


def wreck(frames_FYXC: np.ndarray, rng: Random) -> np.ndarray:
    """The frame with its tiles exchanged among their neighbours: the same colours in about the same place."""
    tile, result = rng.choice((8, 16)), frames_FYXC.copy()
    for _ in range(2 * (128 // tile) ** 2):
        y, x = (tile * rng.randrange(1, 128 // tile - 1) for _ in range(2))
        v, u = y + tile * rng.choice((-1, 0, 1)), x + tile * rng.choice((-1, 0, 1))
        here, there = np.s_[:, y : y + tile, x : x + tile], np.s_[:, v : v + tile, u : u + tile]
        result[here], result[there] = result[there].copy(), result[here].copy()
    return result


def trained_eye(path: Path, steps: int = 400, batch: int = 32) -> Eye:
    eye = Eye(len(answers()))
    if path.is_file():
        eye.load_state_dict(load_file(path))
        return eye.eval()
    torch.manual_seed(0)
    optimiser, rng = torch.optim.AdamW(eye.parameters(), lr=2e-3), Random(1)
    pool, truth = rendered_frames(rng, 2000)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        pick = torch.randint(len(pool), (batch,))
        x = pool[pick]
        soft = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = x.lerp(soft, torch.rand(batch, 1, 1, 1)) + 0.1 * torch.randn(batch, 3, 1, 1)
        x = x + 0.08 * torch.rand(batch, 1, 1, 1) * torch.randn_like(x)
        F.cross_entropy(eye(x), truth[pick]).backward()
        optimiser.step()
        optimiser.zero_grad()
    save_file(eye.state_dict(), path)
    return eye.eval()


@torch.no_grad()
def verdict(eye: Eye, frames_FYXC: np.ndarray) -> tuple[str, float]:
    """(what the film's frames show together, the mean probability of the new subject)."""
    chances = eye(looked_at(frames_FYXC)).softmax(dim=1).mean(dim=0)
    return answers()[int(chances.argmax())], float(chances[-2])


def paint_all(lora: Path | None, texts: list[str], sheet: Path, eye: Eye) -> float:
    """The share of the films that show the subject; a sheet of all."""
    device = memory.choose_device(None)
    model = models.load(catalog.find("mini").with_guidance(), device, memory.choose_dtype(None, device))
    if lora is not None:
        models.add_lora(model, lora, 1.0)
    rows, found = [], []
    for i, text in enumerate(texts):
        frames = film(model, text, 1000 + i)
        seen, chance = verdict(eye, frames)
        found.append(seen == NAME)
        rows.append(row(frames, f"{text}   [{seen}; {NAME} {chance:.2f}]"))
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

    eye = trained_eye(args.folder / "eye.safetensors")
    x, truth = rendered_frames(Random(2), 400)
    with torch.no_grad():
        guesses = eye(x).argmax(dim=1)
    new = answers().index(NAME)
    right, false = (guesses == truth).float().mean(), (guesses[truth != new] == new).float().mean()
    print(f"eye on rendered frames: {right:.3f} right; takes anything else for a {NAME}: {false:.3f}", flush=True)
    texts = [words(*pair) for pair in asked]
    for label, file in (("with", lora), ("without", None)):
        share = paint_all(file, texts, args.folder / f"{label}.png", eye)
        print(f"{label} the LoRA: {NAME} in {share:.0%} of {ASKED} films", flush=True)


if __name__ == "__main__":
    main()
