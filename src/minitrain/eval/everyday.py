"""Everyday prompts: ``python -m minitrain.eval.everyday FOLDER [--seed 1] [--no-judge] [--only NUMBERS]``.

Each prompt is passed to ``sora generate`` as it stands. The table shows how it was answered (generated, generated with
notes, or refused), how it should have been, and what the judge sees in the clip if it knows the subject. FOLDER gets an
.mp4 each and ``sheet.png``, a row of five frames a prompt. Every clip must show what its prompt names, except for what
the notes take back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from minitrain.eval.verdicts import Verdicts, log_progress
from sora import media
from sora.plan import prompts

GENERATED, WITH_NOTES, REFUSED = "paints", "notes", "stops"
EVERYDAY: tuple[tuple[str, str, str], ...] = (
    ("a cat", GENERATED, "cat"),
    ("a dog runs", GENERATED, "dog"),
    ("an elephant", GENERATED, "elephant"),
    ("a red car drives through the city", GENERATED, "car"),
    ("a sailboat at sunset", GENERATED, "sailboat"),
    ("a penguin in the snow", GENERATED, "penguin"),
    ("a rocket flies into space", GENERATED, "rocket"),
    ("a cute little bunny hops over the grass", GENERATED, "rabbit"),
    ("a butterfly in the forest", GENERATED, "butterfly"),
    ("a spooky pumpkin at night", GENERATED, "pumpkin"),
    ("strawberry", GENERATED, "strawberry"),
    ("a helicopter flies over the mountains, cinematic", GENERATED, "helicopter"),
    ("a blue car in the city", WITH_NOTES, "car"),
    ("a green ball bounces", WITH_NOTES, "red ball"),
    ("a pink elephant in the desert", WITH_NOTES, "elephant"),
    ("two dogs play on the beach", WITH_NOTES, "dog"),
    ("a cat and a dog in the snow", WITH_NOTES, "cat"),
    ("ducks on a pond", WITH_NOTES, "duck"),
    ("a fish in a kitchen", WITH_NOTES, "fish"),
    ("a robot dances in the rain", WITH_NOTES, "robot"),
    ("a dragon breathes fire", REFUSED, ""),
    ("a woman walks down the street", REFUSED, ""),
    ("a white horse gallops along the beach", REFUSED, ""),
    ("an elefant on the beach", REFUSED, ""),
    ("sunset over the ocean", REFUSED, ""),
    ("a quiet forest in the morning", REFUSED, ""),
    ("一只熊猫在森林里", GENERATED, "panda"),
    ("蓝色的汽车在城市里", WITH_NOTES, "car"),
    ("一条龙在天上飞", REFUSED, ""),
)
"""Prompt, expected answer, and the subject to be seen."""

FRAMES_PER_ROW, SIDE, CAPTION_HEIGHT, GAP = (
    5,
    128,
    30,
    12,
)  # frames a row; their height, a caption's and between columns, in pixels
FONTS = ("NotoSansCJK-Regular.ttc", "DroidSansFallbackFull.ttf", "DejaVuSans.ttf")  # the last for Latin letters alone


@dataclass(frozen=True)
class Answer:
    """The answer of ``sora generate`` to one prompt. outcome: one of GENERATED, WITH_NOTES, REFUSED. lines: its notes
    or its error. clip: the file, if there is one. judged: the judge's answers."""

    prompt: str
    outcome: str
    lines: tuple[str, ...] = ()
    clip: Path | None = None
    judged: dict[str, str] = field(default_factory=dict)


def run_generate(prompt: str, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    """(exit status, the JSON events, stderr) of one ``sora generate --json``, with its own defaults."""
    argv = [sys.executable, "-m", "sora", "generate", prompt, "--json", *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.strip()


def run_dry(prompt: str) -> Answer:
    """The answer to a prompt that should be refused; nothing is generated if it is not."""
    status, events, stderr = run_generate(prompt, "--dry-run")
    return Answer(prompt, REFUSED, (stderr,)) if status == 2 else Answer(prompt, WITH_NOTES, tuple(events[0]["notes"]))


def generate_all(texts: Sequence[str], folder: Path, seed: int) -> list[Answer]:
    """The answers to prompts that should be generated, as alternatives of one command. Exits if one of them is
    refused."""
    alternatives = "{" + "|".join(map(prompts.escaped, texts)) + "}"
    status, events, stderr = run_generate(alternatives, "--seed", str(seed), "-o", str(folder / "clip.mp4"), "--force")
    if status:
        raise SystemExit(f"sora ended with {status}: {stderr}")
    rows = zip(texts, events, strict=True)
    return [Answer(t, WITH_NOTES if r["notes"] else GENERATED, tuple(r["notes"]), Path(r["path"])) for t, r in rows]


def judge_clip(clip: Path, subject: str) -> dict[str, str]:
    """The judge's answers about a clip; empty if it does not know the subject."""
    from minitrain import judge

    found = judge.load()
    return judge.answer(found, media.read_clip(clip).frames_FYXC) if subject in found.options["subject"] else {}


def answer_row(answer: Answer) -> Image.Image:
    """Evenly chosen frames under the prompt and the answer."""
    picture = Image.new("RGB", (FRAMES_PER_ROW * SIDE, CAPTION_HEIGHT + (SIDE if answer.clip else 0)), "white")
    pen = ImageDraw.Draw(picture)
    for y, text, ink in (
        (1, f"{answer.prompt}   [{answer.outcome}] {answer.judged.get('subject', '')}", "black"),
        (15, "; ".join(answer.lines).removeprefix("sora: ")[:115], "gray"),
    ):
        pen.text((3, y), text, ink, _font(text))
    if answer.clip:
        frames_FYXC = media.read_clip(answer.clip).frames_FYXC
        for n, at in enumerate(np.linspace(0, len(frames_FYXC) - 1, FRAMES_PER_ROW).round().astype(int)):
            picture.paste(Image.fromarray(frames_FYXC[at]).resize((SIDE, SIDE)), (n * SIDE, CAPTION_HEIGHT))
    return picture


def _font(text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that has the text's letters; the fallback of Debian's fonts-droid-fallback has no Latin ones."""
    for name in FONTS[::-1] if text.isascii() else FONTS:
        try:
            return ImageFont.truetype(name, 11)
        except OSError:
            continue
    return ImageFont.load_default()


def save_sheet(answers: Sequence[Answer], path: Path) -> None:
    """Rows below one another, in two columns of about the same height."""
    rows = [answer_row(answer) for answer in answers]
    half = sum(r.height for r in rows) / 2
    picture = Image.new("RGB", (2 * FRAMES_PER_ROW * SIDE + GAP, round(half) + SIDE + CAPTION_HEIGHT), "white")
    left = top = 0
    for each in rows:
        if top >= half:
            left, top = FRAMES_PER_ROW * SIDE + GAP, 0
        picture.paste(each, (left, top))
        top += each.height
    picture.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-judge", action="store_true")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="of the list, from 1")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    selected = [row for n, row in enumerate(EVERYDAY, start=1) if not args.only or n in args.only]
    clips = generate_all([prompt for prompt, expected, _ in selected if expected != REFUSED], args.folder, args.seed)
    generated = {answer.prompt: answer for answer in clips}
    answers, verdicts, subject_seen = [], Verdicts(), []
    for prompt, expected, subject in selected:
        answer = generated.get(prompt) or run_dry(prompt)
        if answer.clip and not args.no_judge:
            answer = replace(answer, judged=judge_clip(answer.clip, subject))
        answers.append(answer)
        if answer.judged:
            subject_seen.append(answer.judged["subject"] == subject)
        found = ", ".join(filter(None, (answer.outcome, answer.judged.get("subject", ""))))
        verdicts.add(prompt, expected, found, answer.outcome == expected)
        for line in answer.lines:
            log_progress(f"    {line}")
    save_sheet(answers, args.folder / "sheet.png")
    verdicts.add_share("the judge sees the subject, of clips whose subject it knows", subject_seen)
    print(f"\n{verdicts.summary()}")


if __name__ == "__main__":
    main()
