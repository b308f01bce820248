"""What was found: rows of a table with the wish beside them, and contact sheets of what was painted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sora.plan.clip import fit

FRAMES, ROWS, HEIGHT = 10, 8, 96  # frames of a row, rows of a sheet, pixels of a frame
BAR, STRIP = 4, 13  # pixels: the bar over painted frames, the line of words over a row
PAINTED, STOOD = (225, 45, 40), (215, 215, 215)


@dataclass(frozen=True)
class Row:
    """One line of the table. met: None where nothing was wished."""

    what: str
    wish: str
    found: str
    met: bool | None


@dataclass
class Report:
    """Rows and sheets of one section. folder: where sheets go, None for none."""

    folder: Path | None
    rows: list[Row] = field(default_factory=list)
    _strips: dict[str, list[Image.Image]] = field(default_factory=dict)

    def say(self, what: str, wish: str, found: str, met: bool | None = None) -> None:
        """One row, printed at once."""
        self.rows.append(Row(what, wish, found, None if met is None else bool(met)))
        verdict = "" if met is None else "met" if met else "MISSED"
        print(f"{what:66} | {wish:12} | {found:44} | {verdict}", flush=True)

    def share(self, what: str, held: Iterable[bool], least: float | None = None) -> None:
        """How many of the cases hold, against the least share that must."""
        cases = [bool(h) for h in held]
        if not cases:
            self.say(what, "" if least is None else f">= {least:.0%}", "no cases")
            return
        part = sum(cases) / len(cases)
        found = f"{part:.0%} ({sum(cases)} of {len(cases)})"
        self.say(what, "" if least is None else f">= {least:.0%}", found, None if least is None else part >= least)

    def spread(self, what: str, values: Iterable[float], unit: str = "") -> None:
        """Numbers without a wish: least, median, most."""
        v = np.array(list(values))
        text = f"least {v.min():.2f}, median {np.median(v):.2f}, most {v.max():.2f}{unit}" if len(v) else "no cases"
        self.say(what, "", text)

    def show(self, verb: str, film_FYXC: np.ndarray, painted: Sequence[int] | range, words: str) -> None:
        """A row of evenly spaced frames on the verb's sheet, if it has room; a red bar over those painted."""
        strips = self._strips.setdefault(verb, [])
        if self.folder is not None and len(strips) < ROWS:
            strips.append(_strip(film_FYXC, set(painted), words))

    def write_sheets(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for verb, strips in self._strips.items():
            width = max(s.width for s in strips)
            sheet = Image.new("RGB", (width, sum(s.height for s in strips)), "white")
            top = 0
            for strip in strips:
                sheet.paste(strip, (0, top))
                top += strip.height
            sheet.save(self.folder / f"{verb}.png")


def _strip(film_FYXC: np.ndarray, painted: set[int], words: str) -> Image.Image:
    height, width = film_FYXC.shape[1:3]
    width = round(HEIGHT * width / height)
    chosen = np.linspace(0, len(film_FYXC) - 1, min(FRAMES, len(film_FYXC))).round().astype(int)
    strip = Image.new("RGB", ((width + 2) * len(chosen), STRIP + BAR + HEIGHT + 6), "white")
    pen = ImageDraw.Draw(strip)
    pen.text((2, 0), words, fill="black")
    for n, i in enumerate(chosen.tolist()):
        left = n * (width + 2)
        pen.rectangle((left, STRIP, left + width - 1, STRIP + BAR - 2), fill=PAINTED if i in painted else STOOD)
        strip.paste(Image.fromarray(fit(film_FYXC[i], HEIGHT, width)), (left, STRIP + BAR))
    return strip


def note(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)


def write_json(path: Path, section: str, rows: Sequence[Row]) -> None:
    """The section's rows in a file that may hold other sections already."""
    whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    whole[section] = [asdict(row) for row in rows]
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
