"""The clips that are measured. All of them come from seeds, in order; none is selected.

Films are held-out combinations: neither was the model trained on them, nor were its settings chosen on these.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import imageio_ffmpeg
import numpy as np

from minitrain.captions import caption
from minitrain.captions.setting_phrases import phrases
from minitrain.eval.verbs.eval_model import EvalModel
from minitrain.judge_data import SIZES
from minitrain.scene import FPS, Film
from minitrain.worlds import WORLDS, draw_film, render
from sora import media
from sora.plan import operations
from sora.plan.clip import Clip

WORLD = WORLDS["small"]  # which every version of the model has learnt
FIRST_SEED = 7 * 10**9  # of the films; the training's previews and the judge's scores count from other numbers
FRAMES = 17
LAVFI_FRAMES = 24
LAVFI_SOURCES = (  # ffmpeg's own pictures; testsrc2 rounds odd sides down
    "testsrc2=size=128x128:rate=8",
    "mandelbrot=size=176x96:rate=12",
    "life=size=128x128:rate=10:random_seed=1:mold=10:life_color=white",
    "testsrc2=size=320x240:rate=25",
    "mandelbrot=size=101x75:rate=8",
    "life=size=176x96:rate=15:random_seed=2:mold=10:life_color=yellow",
    "testsrc2=size=96x176:rate=15",
    "mandelbrot=size=320x240:rate=25",
    "life=size=101x75:rate=8:random_seed=3:mold=10:life_color=white",
    "testsrc2=size=101x75:rate=10",
)


@dataclass(frozen=True)
class Case:
    """One clip. kind: "world", "painted" or "ffmpeg". shown_film, text: what it shows, if known; text is a complete
    caption. subject_mask_FYX: the subject's own pixels, bool, if the clip was rendered. seed: for what is generated
    from it."""

    name: str
    kind: str
    clip: Clip
    seed: int
    text: str = ""
    shown_film: Film | None = None
    subject_mask_FYX: np.ndarray | None = None

    @property
    def film(self) -> Film:
        """The film that the clip shows. Fails if it shows nothing of the world."""
        assert self.shown_film is not None, f"{self.name} shows nothing of the world"
        return self.shown_film


def held_out_film(number: int) -> tuple[Film, str]:
    """A held-out film and a complete caption of it."""
    film = draw_film(WORLD, FIRST_SEED + number, held_out=True)
    return film, plain_caption(film, number)


def plain_caption(film: Film, number: int) -> str:
    """A complete caption of a film, in a plain sentence."""
    return caption(film, Random(number), complete=True, length="plain", language="en", gaits=False).text


def training_size(number: int) -> tuple[int, int]:
    """(height, width): the training's sizes in turn."""
    return SIZES[number % len(SIZES)]


def rendered(number: int) -> Case:
    """A clip as the renderer shows it."""
    film, text = held_out_film(number)
    shown = render([film], FRAMES, *training_size(number))
    frames, cover = shown.frames_BFCYX[0].permute(0, 2, 3, 1).numpy(), shown.cover_BFYX[0].numpy()
    return Case(f"world {number}", "world", Clip(frames, FPS), number, text, film, cover > 128)


def generated(evaluator: EvalModel, number: int) -> Case:
    """A clip that the model generated from a caption."""
    film, text = held_out_film(number)
    clip = evaluator.paint(
        operations.generate((text,), frames=FRAMES, format=evaluator.form(training_size(number))), number
    )
    return Case(f"painted {number}", "painted", clip, number, text, film)


def from_ffmpeg(number: int) -> Case:
    """A clip unlike anything in the model's training, read from a lossless file."""
    source = LAVFI_SOURCES[number % len(LAVFI_SOURCES)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "source.mkv"
        encode = f"-f lavfi -i {source} -frames:v {LAVFI_FRAMES} -c:v ffv1 -pix_fmt bgr0 {file}".split()
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *encode], check=True)
        return Case(source.split(":r")[0], "ffmpeg", media.read_clip(file), number)


def mixed(evaluator: EvalModel, count: int) -> Iterator[Case]:
    """Half of the clips rendered, a quarter generated, a quarter from ffmpeg; at least one of each."""
    yield from (rendered(n) for n in range(max(1, count // 2)))
    yield from (generated(evaluator, 100 + n) for n in range(max(1, count // 4)))
    yield from (from_ffmpeg(n) for n in range(max(1, count // 4)))


def with_other_setting(film: Film, text: str, number: int) -> tuple[str, str]:
    """(setting, caption): a setting other than the film's, and the same caption with it."""
    rng, here = Random(number), film.shots[0].setting
    setting = rng.choice([s for s in WORLD.settings if s != here])
    phrase = max((words for words in phrases(here) if words in text), key=len)
    return setting, text.replace(phrase, rng.choice(phrases(setting)), 1)
