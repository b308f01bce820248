"""What happens in a clip of the cartoon world: the description that films are drawn as, rendered from and captioned
from.

A film is one or two shots with hard cuts between them. A shot has a setting at an hour of the day, one or two actors, a
camera and perhaps weather. Everything a caption can state is a word from one of the lists here or a key of
``subjects.SUBJECTS`` and ``settings.SETTINGS``; everything else follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

FPS = 8.0

MOTIONS = (
    *("left", "right", "up", "down", "bounce", "spin", "grow", "shrink", "still"),  # of the first version
    *("walk-left", "walk-right", "swim-left", "swim-right", "arc-left", "arc-right"),
    *("fall", "roll-left", "roll-right", "enter-left", "enter-right", "leave-left", "leave-right"),
)
"""The ways an actor moves alone. walk bobs, swim waves and tilts, arc flies a parabola, fall tumbles, roll turns as it
travels, enter comes in from that side, leave goes out by that side."""

RELATIONS = ("beside", "above", "orbits", "follows", "behind")
"""The second actor's relation to the first. ``beside`` and above: both keep their places. orbits: the second circles
the first. follows: the second comes after the first, in the same direction. behind: the second passes behind the first,
is hidden for a while, and comes out again."""

EVENTS = ("stroke", "bites")
"""Lasting effects of the one actor. stroke: a brush leaves paint wherever it goes. bites: food loses a bite every now
and then, and stays bitten."""

CAMERAS = ("static", "pan-left", "pan-right", "tilt-up", "tilt-down", "zoom-in", "zoom-out", "follow")
WEATHERS = ("", "snow", "rain", "leaves", "bubbles", "confetti")
HOURS = ("day", "dusk", "night")
STYLES = ("flat", "pencil", "pixel", "neon", "watercolour")


@dataclass(frozen=True)
class Actor:
    """subject: a key of SUBJECTS. motion: one of MOTIONS. faces: "left" or "right", the direction it looks in. size:
    its side as a share of the canvas' short side."""

    subject: str
    motion: str
    faces: str = "left"
    size: float = 0.5


@dataclass(frozen=True)
class Shot:
    """relation: of the second actor to the first, one of RELATIONS, "" if there is no second one. event: one of EVENTS
    or "". seed: determines every other detail of the shot, such as where things stand. contained: whether an actor that
    is alone stays inside the picture; otherwise a travelling actor that leaves at one edge comes in at the opposite
    one."""

    setting: str
    actors: tuple[Actor, ...]
    seed: int
    hour: str = "day"
    camera: str = "static"
    weather: str = ""
    relation: str = ""
    event: str = ""
    contained: bool = False


@dataclass(frozen=True)
class Film:
    """One or two shots of the same first subject, of equal length, in one style."""

    shots: tuple[Shot, ...]
    style: str = "flat"
