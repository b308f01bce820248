"""The facts of a film, and which of them one caption states."""

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

DEFAULT_VALUES = {"hour": "day", "style": "flat"}  # what a caption that does not state them implies; rarely stated
STATED_SHARES = {"subject": 0.97, "setting": 0.93, "motion": 0.95}  # shares of captions; other slots: DEFAULT_SHARE
DEFAULT_SHARE, DEFAULT_VALUE_SHARE = 0.92, 0.2


def facts(film: Film) -> dict[str, str]:
    """The film's value for each of SLOTS, "" if it has none."""
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
        "shots": _second_shot_change(film),
    }


def _second_shot_change(film: Film) -> str:
    if len(film.shots) < 2:
        return ""
    before, after = film.shots[0], film.shots[1]
    if after.setting != before.setting:
        return after.setting
    moves = after.actors[0].motion
    return moves if moves != before.actors[0].motion else ""


def sample_facts(film: Film, rng: Random, *, complete: bool) -> dict[str, str]:
    """What one caption states: for each of SLOTS the film's value, or "" to leave it out. complete: leave out nothing
    but the default hour and style."""
    stated = {}
    for slot, value in facts(film).items():
        unusual = 1.0 if complete else STATED_SHARES.get(slot, DEFAULT_SHARE)
        share = DEFAULT_VALUE_SHARE if value == DEFAULT_VALUES.get(slot) else unusual
        stated[slot] = value if rng.random() < share else ""
    if stated["hour"] != "day" and not stated["setting"]:
        stated["hour"] = ""  # "at night" alone is the setting of that name
    return stated
