"""Prompts as people type them: ``python -m minitrain.eval.everyday FOLDER [--seed 1] [--no-judge] [--only NUMBERS]``.

Each is handed to ``sora generate`` as it stands. Printed is what it answers beforehand (it paints, paints with notes,
or stops) beside the answer that was expected, and what the judge reads in the clip where it knows the subject. FOLDER
gets an .mp4 each and ``sheet.png``, a row of five frames a prompt. Everything that is painted must show what the prompt
names, but for what the notes take back.
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

from minitrain.eval.verdicts import Verdicts, note
from sora import media
from sora.plan import prompts

PAINTS, NOTES, STOPS = "paints", "notes", "stops"
EVERYDAY: tuple[tuple[str, str, str], ...] = (
    ("a cat", PAINTS, "cat"),
    ("a dog runs", PAINTS, "dog"),
    ("an elephant", PAINTS, "elephant"),
    ("a red car drives through the city", PAINTS, "car"),
    ("a sailboat at sunset", PAINTS, "sailboat"),
    ("a penguin in the snow", PAINTS, "penguin"),
    ("a rocket flies into space", PAINTS, "rocket"),
    ("a cute little bunny hops over the grass", PAINTS, "rabbit"),
    ("a butterfly in the forest", PAINTS, "butterfly"),
    ("a spooky pumpkin at night", PAINTS, "pumpkin"),
    ("strawberry", PAINTS, "strawberry"),
    ("a helicopter flies over the mountains, cinematic", PAINTS, "helicopter"),
    ("a blue car in the city", NOTES, "car"),
    ("a green ball bounces", NOTES, "red ball"),
    ("a pink elephant in the desert", NOTES, "elephant"),
    ("two dogs play on the beach", NOTES, "dog"),
    ("a cat and a dog in the snow", NOTES, "cat"),
    ("ducks on a pond", NOTES, "duck"),
    ("a fish in a kitchen", NOTES, "fish"),
    ("a robot dances in the rain", NOTES, "robot"),
    ("a dragon breathes fire", STOPS, ""),
    ("a woman walks down the street", STOPS, ""),
    ("a white horse gallops along the beach", STOPS, ""),
    ("an elefant on the beach", STOPS, ""),
    ("sunset over the ocean", STOPS, ""),
    ("a quiet forest in the morning", STOPS, ""),
    ("一只熊猫在森林里", PAINTS, "panda"),
    ("蓝色的汽车在城市里", NOTES, "car"),
    ("一条龙在天上飞", STOPS, ""),
)
"""Prompt, expected answer, and the subject to be seen."""

SHOWN, SIDE, STRIP, GAP = 5, 128, 30, 12  # frames a row; their height, a caption's and between columns, in pixels
FONTS = ("NotoSansCJK-Regular.ttc", "DroidSansFallbackFull.ttf", "DejaVuSans.ttf")  # the last for Latin letters alone


@dataclass(frozen=True)
class Answer:
    """How ``sora generate`` answered one prompt. kind: one of PAINTS, NOTES, STOPS. clip: the file, if it painted."""

    prompt: str
    kind: str
    lines: tuple[str, ...] = ()
    clip: Path | None = None
    read: dict[str, str] = field(default_factory=dict)


def asked(prompt: str, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    """(exit status, an object a line, what stderr says) of one ``sora generate --json``, with its own defaults."""
    argv = [sys.executable, "-m", "sora", "generate", prompt, "--json", *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.strip()


def stopped(prompt: str) -> Answer:
    """The answer to a prompt that should stop; nothing is painted if it does not."""
    status, told, stderr = asked(prompt, "--dry-run")
    return Answer(prompt, STOPS, (stderr,)) if status == 2 else Answer(prompt, NOTES, tuple(told[0]["notes"]))


def painted(texts: Sequence[str], folder: Path, seed: int) -> list[Answer]:
    """The answers to prompts that should be painted, as alternatives of one command. Ends where one of them stops."""
    alternatives = "{" + "|".join(map(prompts.escaped, texts)) + "}"
    status, told, stderr = asked(alternatives, "--seed", str(seed), "-o", str(folder / "clip.mp4"), "--force")
    if status:
        raise SystemExit(f"sora ended with {status}: {stderr}")
    rows = zip(texts, told, strict=True)
    return [Answer(t, NOTES if r["notes"] else PAINTS, tuple(r["notes"]), Path(r["path"])) for t, r in rows]


def judged(clip: Path, subject: str) -> dict[str, str]:
    """What the judge of the training reads in a clip; nothing where it does not know what should be there."""
    from minitrain import judge

    found = judge.load()
    return judge.answer(found, media.read_clip(clip).frames_FYXC) if subject in found.options["subject"] else {}


def row(answer: Answer) -> Image.Image:
    """Evenly chosen frames under the prompt and the answer."""
    picture = Image.new("RGB", (SHOWN * SIDE, STRIP + (SIDE if answer.clip else 0)), "white")
    pen = ImageDraw.Draw(picture)
    for y, text, ink in (
        (1, f"{answer.prompt}   [{answer.kind}] {answer.read.get('subject', '')}", "black"),
        (15, "; ".join(answer.lines).removeprefix("sora: ")[:115], "gray"),
    ):
        pen.text((3, y), text, ink, _font(text))
    if answer.clip:
        frames_FYXC = media.read_clip(answer.clip).frames_FYXC
        for n, at in enumerate(np.linspace(0, len(frames_FYXC) - 1, SHOWN).round().astype(int)):
            picture.paste(Image.fromarray(frames_FYXC[at]).resize((SIDE, SIDE)), (n * SIDE, STRIP))
    return picture


def _font(text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that has the text's letters; the fallback of Debian's fonts-droid-fallback has no Latin ones."""
    for name in FONTS[::-1] if text.isascii() else FONTS:
        try:
            return ImageFont.truetype(name, 11)
        except OSError:
            continue
    return ImageFont.load_default()


def sheet(answers: Sequence[Answer], path: Path) -> None:
    """Rows under one another, in two columns of about the same height."""
    rows = [row(answer) for answer in answers]
    half = sum(r.height for r in rows) / 2
    picture = Image.new("RGB", (2 * SHOWN * SIDE + GAP, round(half) + SIDE + STRIP), "white")
    left = top = 0
    for each in rows:
        if top >= half:
            left, top = SHOWN * SIDE + GAP, 0
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
    listed = [row for n, row in enumerate(EVERYDAY, start=1) if not args.only or n in args.only]
    clips = painted([prompt for prompt, expected, _ in listed if expected != STOPS], args.folder, args.seed)
    made = {answer.prompt: answer for answer in clips}
    answers, verdicts, seen = [], Verdicts(), []
    for prompt, expected, subject in listed:
        answer = made.get(prompt) or stopped(prompt)
        if answer.clip and not args.no_judge:
            answer = replace(answer, read=judged(answer.clip, subject))
        answers.append(answer)
        if answer.read:
            seen.append(answer.read["subject"] == subject)
        found = ", ".join(filter(None, (answer.kind, answer.read.get("subject", ""))))
        verdicts.say(prompt, expected, found, answer.kind == expected)
        for line in answer.lines:
            note(f"    {line}")
    sheet(answers, args.folder / "sheet.png")
    verdicts.share("the judge sees the subject, of clips whose subject it knows", seen)
    print(f"\n{verdicts.summary()}")


if __name__ == "__main__":
    main()
