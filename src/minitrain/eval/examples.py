"""The README's six examples, each over 20 seeds: ``python -m minitrain.eval.examples FOLDER [--gif docs/mini.gif]``.

Prints, for each prompt of EXAMPLES, the share of seeds whose clip the judge finds right: subject, setting and motion as
requested, and the subject whole. Clips are saved in FOLDER as ``PROMPT/SEED.npz`` and not generated twice. ``--gif``
places one clip of each side by side, of the seeds that the README names. ``--candidates`` measures more prompts, to
choose from.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image

from minitrain import judge as judges
from minitrain.eval.paint import generate_clip
from minitrain.eval.verdicts import Verdicts, log_progress
from sora import catalog, models
from sora.engine.model import Model

MIN_SHARE = 0.8  # share of the seeds
TILE_SIDE, COLUMNS, FPS = 184, 3, 8  # pixels; tiles of a row; frames a second


@dataclass(frozen=True)
class Example:
    """prompt: as in the README. subject, setting, motion: what it asks for. seed: the one shown."""

    prompt: str
    subject: str
    setting: str
    motion: str
    seed: int = 1

    def is_correct(self, answers: dict[str, str]) -> bool:
        """Whether the judge's answers are what was asked for, and the subject is whole."""
        expected = {"subject": self.subject, "setting": self.setting, "motion": self.motion, "whole": "whole"}
        return all(answers[question] == answer for question, answer in expected.items())


EXAMPLES = (
    Example("a red balloon floats up over a green meadow", "balloon", "meadow", "up"),
    Example("a red car drives to the left through the city", "car", "city", "left", 6),
    Example("a red apple floats up in space", "apple", "space", "up"),
    Example("a fox moves to the left in front of the mountains", "fox", "mountains", "left", 2),
    Example("a sailboat moves to the left at sunset", "sailboat", "sunset", "left"),
    Example("a fish swims to the left under the sea", "fish", "sea", "left", 12),
)
CANDIDATES = (
    Example("a red heart gets bigger in the village", "red heart", "village", "grow"),
    Example("a penguin moves to the right in the snow", "penguin", "snow", "right"),
    Example("a pumpkin gets bigger on the moon", "pumpkin", "moon", "grow"),
    Example("a blue ball rolls to the left in the forest", "blue ball", "forest", "left"),
    Example("a ghost in the village at night", "ghost", "village", "still"),
)


def load_or_generate(model: Model, example: Example, seed: int, folder: Path) -> np.ndarray:
    """frames_FYXC, uint8: generated with the defaults, or loaded from an earlier run."""
    path = folder / example.prompt.replace(" ", "-") / f"{seed}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        frames_FYXC = generate_clip(model, {"text": example.prompt, "number": seed, "aspect": 1.0}, {})
        np.savez_compressed(path, frames=frames_FYXC)
    return np.load(path)["frames"]


def measure_share(
    model: Model, judge: judges.Judge, example: Example, count: int, folder: Path, verdicts: Verdicts
) -> None:
    """Add the share of correct clips to the table; the errors of the others are logged."""
    seen = [judges.answer(judge, load_or_generate(model, example, seed, folder)) for seed in range(1, count + 1)]
    right = [example.is_correct(each) for each in seen]
    wrong = [
        f"{n}: {each['subject']}, {each['setting']}, {each['motion']}, {each['whole']}"
        for n, (each, fits) in enumerate(zip(seen, right, strict=True), start=1)
        if not fits
    ]
    verdicts.add_share(example.prompt, right, MIN_SHARE)
    for line in wrong:
        log_progress(f"    {line}")


def write_gif(clips: list[np.ndarray], path: Path) -> None:
    """The clips as tiles of one GIF that plays forwards and backwards, with one palette."""
    tiles = [
        [np.asarray(Image.fromarray(f).resize((TILE_SIDE, TILE_SIDE), Image.Resampling.LANCZOS)) for f in c]
        for c in clips
    ]
    rows = [tiles[i : i + COLUMNS] for i in range(0, len(tiles), COLUMNS)]
    whole = [np.concatenate([np.concatenate([t[n] for t in row], 1) for row in rows]) for n in range(len(clips[0]))]
    with tempfile.TemporaryDirectory() as folder:
        for n, frame in enumerate([*whole, *whole[-2:0:-1]]):
            Image.fromarray(frame).save(Path(folder) / f"{n:03d}.png")
        palette = (
            "split[a][b];[a]palettegen=max_colors=128:stats_mode=diff[p];[b][p]paletteuse=dither=bayer:bayer_scale=4"
        )
        source = ["-framerate", str(FPS), "-i", f"{folder}/%03d.png"]
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-v",
            "error",
            "-y",
            *source,
            "-vf",
            palette,
            "-loop",
            "0",
            str(path),
        ]
        subprocess.run(command, check=True)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20, help="seeds of each prompt")
    parser.add_argument("--candidates", action="store_true")
    parser.add_argument("--gif", type=Path, metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)
    judge = judges.load()
    verdicts = Verdicts()
    for example in (*EXAMPLES, *CANDIDATES * args.candidates):
        measure_share(model, judge, example, args.count, args.folder, verdicts)
    print(f"\n{verdicts.summary()}")
    if args.gif:
        args.gif.parent.mkdir(parents=True, exist_ok=True)
        write_gif([load_or_generate(model, e, e.seed, args.folder) for e in EXAMPLES], args.gif)


if __name__ == "__main__":
    main()
