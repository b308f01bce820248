"""What there is to tell of a film, and which of it one caption tells."""

from __future__ import annotations

from random import Random

from minitrain.scene import Film
from minitrain.worlds.settings import SETTINGS

SLOTS = (
    *("subject", "setting", "motion", "camera", "weather"),
    *("hour", "style", "second", "relation", "event", "shots"),
)
"""What a caption can tell. second: the second actor's subject. relation: of the second actor to the first. shots: what
the second shot changes, its setting or else its motion."""

USUAL = {"hour": "day", "style": "flat"}  # what a silent caption lets a reader expect, seldom said
SAID = {"subject": 0.97, "setting": 0.93, "motion": 0.95}  # shares of captions; the other slots SAID_ELSE
SAID_ELSE, SAID_USUAL = 0.92, 0.2


def facts(film: Film) -> dict[str, str]:
    """The film's value for each of SLOTS, "" where it has none."""
    shot, first = film.shots[0], film.shots[0].actors[0]
    return {
        "subject": first.subject,
        "setting": shot.setting,
        "motion": first.motion,
        "camera": "" if shot.camera == "static" else shot.camera,
        "weather": shot.weather,
        "hour": shot.hour if len(SETTINGS[shot.setting].hours) > 1 else "",  # else the setting tells it
        "style": film.style,
        "second": shot.actors[1].subject if len(shot.actors) > 1 else "",
        "relation": shot.relation,
        "event": shot.event,
        "shots": _change(film),
    }


def _change(film: Film) -> str:
    if len(film.shots) < 2:
        return ""
    before, after = film.shots[0], film.shots[1]
    if after.setting != before.setting:
        return after.setting
    moves = after.actors[0].motion
    return moves if moves != before.actors[0].motion else ""


def chosen(film: Film, rng: Random, *, complete: bool) -> dict[str, str]:
    """What one caption tells of the film: for each of SLOTS its value, or "" to be silent about it. complete: silent
    about nothing but the usual hour and style."""
    told = {}
    for slot, value in facts(film).items():
        unusual = 1.0 if complete else SAID.get(slot, SAID_ELSE)
        share = SAID_USUAL if value == USUAL.get(slot) else unusual
        told[slot] = value if rng.random() < share else ""
    if told["hour"] != "day" and not told["setting"]:
        told["hour"] = ""  # "at night" alone is the setting of that name
    return told
