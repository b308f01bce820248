"""The world's settings by name, and the hours of the day at which each can be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image

from minitrain.scene import HOURS
from minitrain.worlds import settings_first as first
from minitrain.worlds import settings_more as more
from minitrain.worlds.drawing import Drawing


@dataclass(frozen=True)
class Setting:
    """draw: draws the three layers from a random source. hours: those of scene.HOURS that it exists at."""

    draw: Callable[[Drawing, Random], None]
    hours: tuple[str, ...] = HOURS


SETTINGS: dict[str, Setting] = {
    "meadow": Setting(first.meadow),
    "snow": Setting(first.snow),
    "sea": Setting(first.sea),
    "desert": Setting(first.desert),
    "night": Setting(first.night, ("night",)),
    "city": Setting(first.city),
    "sunset": Setting(first.sunset, ("dusk",)),
    "beach": Setting(first.beach),
    "forest": Setting(first.forest),
    "space": Setting(first.space, ("night",)),
    "mountains": Setting(more.mountains),
    "farm": Setting(more.farm),
    "village": Setting(more.village),
    "jungle": Setting(more.jungle),
    "lake": Setting(more.lake),
    "moon": Setting(more.moon, ("night",)),
    "cave": Setting(more.cave, ("day",)),
    "kitchen": Setting(more.kitchen),
    "playground": Setting(more.playground),
    "harbour": Setting(more.harbour),
    "reef": Setting(more.reef),
}


def backdrop(
    setting: str, hour: str, variation: int, height: int, width: int, short: int, *, layered: bool
) -> list[Image.Image]:
    """One of a setting's variations: three premultiplied RGBA pictures from far to near, or a single one. short: pixels
    of the canvas' short side, which sizes are shares of; height, width: of the pictures."""
    stage = Drawing(height, width, short, hour, layered=layered)
    SETTINGS[setting].draw(stage, Random(f"{setting} {variation}"))
    return stage.layers()
