"""Verdicts with contact sheets of the generated clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from minitrain.eval.verdicts import Verdicts
from sora.plan.clip import fit

FRAMES, ROWS, HEIGHT = 10, 8, 96  # frames of a row, rows of a sheet, pixels of a frame
BAR_HEIGHT, CAPTION_HEIGHT = 4, 13  # pixels: the bar over painted frames, the line of words over a row
GENERATED_COLOUR, SOURCE_COLOUR = (225, 45, 40), (215, 215, 215)


@dataclass
class Report(Verdicts):
    """Rows and sheets of one section. folder: for sheets, None for none."""

    folder: Path | None = None
    _strips: dict[str, list[Image.Image]] = field(default_factory=dict)

    def add_strip(self, verb: str, film_FYXC: np.ndarray, painted: Sequence[int] | range, words: str) -> None:
        """Add a row of evenly spaced frames to the verb's sheet, if there is room; a red bar marks generated frames."""
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
    strip = Image.new("RGB", ((width + 2) * len(chosen), CAPTION_HEIGHT + BAR_HEIGHT + HEIGHT + 6), "white")
    pen = ImageDraw.Draw(strip)
    pen.text((2, 0), words, fill="black")
    for n, i in enumerate(chosen.tolist()):
        left = n * (width + 2)
        pen.rectangle(
            (left, CAPTION_HEIGHT, left + width - 1, CAPTION_HEIGHT + BAR_HEIGHT - 2),
            fill=GENERATED_COLOUR if i in painted else SOURCE_COLOUR,
        )
        strip.paste(Image.fromarray(fit(film_FYXC[i], HEIGHT, width)), (left, CAPTION_HEIGHT + BAR_HEIGHT))
    return strip
