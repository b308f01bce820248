"""Scenes in words: many ways to say the same thing, and sometimes less than all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from sora.training.sprites import SUBJECTS
from sora.training.world import Scene, World

SLOTS = ("subject", "setting", "motion", "camera", "snow")  # what a caption can tell

SETTING_WORDS = {
    "meadow": (
        *("on a meadow", "on the grass", "in a green field", "over a green meadow", "in a meadow", "over a meadow"),
        *("on green grass", "in the green hills", "on a sunny meadow", "across a green meadow", "in a grassy field"),
    ),
    "snow": (
        *("in the snow", "on snow", "in a snowy landscape", "in winter", "over a snowy field", "on white snow"),
        *("on a snowy plain", "across the snow", "among snowy fir trees", "over the snow"),
    ),
    "sea": (
        *("under the sea", "underwater", "in the ocean", "under water", "beneath the waves", "in the deep blue sea"),
        *("at the bottom of the sea", "in the sea", "over the sea floor", "on the sea floor", "below the waves"),
    ),
    "desert": (
        *("in the desert", "on the sand", "in a desert", "over the dunes", "in the hot desert", "on yellow sand"),
        *("between cactuses", "past a cactus", "across the desert", "in the dunes", "over the desert"),
    ),
    "night": (
        *("at night", "under the night sky", "in the night", "under the stars", "in the moonlight", "under the moon"),
        *("in the dark night", "at night under the stars", "in a starry night", "in the night sky", "after dark"),
    ),
    "city": (
        *("in a city street", "in the city", "on a street", "in town", "through the city", "on a city street"),
        *("past tall houses", "on the road", "along the street", "in front of houses", "down a city street"),
    ),
    "sunset": (
        *(
            "at sunset",
            "in front of a sunset",
            "in the evening",
            "during sunset",
            "at sunset over the water",
            "at dusk",
        ),
        *("in the evening light", "in the orange evening", "as the sun sets", "in the glow of the sunset"),
    ),
}
PLAIN_MOTION = {
    "up": (
        *(
            "rises",
            "rising",
            "floats up",
            "flies up",
            "going upwards",
            "flying up",
            "goes up",
            "floating up",
            "moves up",
        ),
        *("climbs up", "moves upwards", "rises up", "soars up", "lifts off", "moving up", "drifts up"),
    ),
    "down": (
        *("falls", "falling", "descends", "sinking down", "going downwards", "sinks", "drops down", "falls down"),
        *("moves down", "floats down", "goes down", "moving down", "comes down", "drifts down", "falling down"),
    ),
    "bounce": (
        *("bounces", "bouncing", "jumps", "jumping up and down", "hops", "jumping", "hopping", "bounces up and down"),
        *("jumps up and down", "bouncing up and down", "hops up and down"),
    ),
    "spin": (
        *("spins", "spinning", "rotates", "rotating", "turning around", "spins around", "turns in circles", "whirls"),
        *("spinning around", "rolls over", "turns around", "is spinning"),
    ),
    "grow": (
        *("grows", "growing", "gets bigger", "comes closer", "becoming larger", "grows bigger", "gets larger"),
        *("coming closer", "becomes bigger", "getting bigger", "approaches", "grows large"),
    ),
    "shrink": (
        *("shrinks", "shrinking", "gets smaller", "goes away", "becoming smaller", "becomes smaller", "moves away"),
        *("getting smaller", "grows smaller", "moving away", "becomes small", "shrinks away"),
    ),
    "still": (
        *(
            "stands still",
            "standing still",
            "sits still",
            "not moving",
            "is resting",
            "waits",
            "does not move",
            "rests",
        ),
        *("stays still", "stays in place", "resting", "waiting", "keeps still", "stands"),
    ),
}
SIDEWAYS = (
    *("{verb} to the {side}", "{verb} {side}", "{verb}ing to the {side}", "{verb}ing {side}", "{verb} {side}wards"),
    *("{verb} from {other} to {side}", "moving {side}", "{verb} towards the {side}", "{verb} slowly to the {side}"),
)
CAMERA_WORDS = {
    "pan-left": ("the camera pans left", "camera pan left", "camera moving to the left"),
    "pan-right": ("the camera pans right", "camera pan right", "camera moving to the right"),
}
SNOW_WORDS = (
    "snow is falling",
    "with falling snow",
    "while it snows",
    "snowfall",
    "with snowflakes",
    "in falling snow",
)
OPENINGS = (
    "a video of",
    "a cartoon of",
    "a clip of",
    "an animation of",
    "please show me",
    "we see",
    "there is",
    "show",
)
ADJECTIVES = ("cute", "small", "large", "happy", "little", "lovely", "big", "nice")
ASIDES = ("slowly", "quickly", "gently", "alone", "in the middle", "happily", "quietly", "again")


@dataclass(frozen=True)
class Caption:
    """text, and what it tells: for each of SLOTS the scene's value, or "" where the text is silent."""

    text: str
    told: dict[str, str]


def caption(scene: Scene, rng: Random, *, complete: bool = False) -> Caption:
    """One wording. complete: subject, setting and motion are always told."""
    tells = {
        "subject": complete or rng.random() < 0.97,
        "setting": complete or rng.random() < 0.93,
        "motion": complete or rng.random() < 0.95,
        "camera": scene.camera != "static" and rng.random() < 0.9,
        "snow": scene.snow and rng.random() < 0.9,
    }
    thing = _thing(scene.subject, rng) if tells["subject"] else rng.choice(("something", "it"))
    doing = _doing(scene, rng) if tells["motion"] else ""
    where = rng.choice(SETTING_WORDS[scene.setting]) if tells["setting"] else ""
    extras = [rng.choice(CAMERA_WORDS[scene.camera])] if tells["camera"] else []
    extras += [rng.choice(SNOW_WORDS)] if tells["snow"] else []
    text = _assemble(thing, doing, where, extras, rng)
    values = {
        "subject": scene.subject,
        "setting": scene.setting,
        "motion": scene.motion,
        "camera": scene.camera,
        "snow": "snow",
    }
    return Caption(text, {slot: values[slot] if tells[slot] else "" for slot in SLOTS})


def _thing(subject: str, rng: Random) -> str:
    names = SUBJECTS[subject].names
    name = names[0] if rng.random() < 0.4 else rng.choice(names)
    if rng.random() < 0.15:
        name = f"{rng.choice(ADJECTIVES)} {name}"
    article = rng.choice(("a", "a", "a", "the", "one", ""))
    if article == "a" and name[0] in "aeiou":
        article = "an"
    return f"{article} {name}".strip()


def _doing(scene: Scene, rng: Random) -> str:
    if scene.motion in PLAIN_MOTION:
        return rng.choice(PLAIN_MOTION[scene.motion])
    other = "right" if scene.motion == "left" else "left"
    pattern, verb = rng.choice(SIDEWAYS), rng.choice(SUBJECTS[scene.subject].verbs)
    verb = _gerund(verb) if "{verb}ing" in pattern else verb
    return pattern.replace("{verb}ing", "{verb}").format(verb=verb, side=scene.motion, other=other)


def _gerund(verb: str) -> str:
    """walks -> walking, moves -> moving, swims -> swimming."""
    stem = "go" if verb == "goes" else verb.removesuffix("s")
    if stem.endswith("e"):
        return stem[:-1] + "ing"
    doubled = len(stem) <= 4 and re.fullmatch(r"[^aeiou]*[aeiou][bdgmnpt]", stem)
    return stem + stem[-1] + "ing" if doubled else stem + "ing"


def _assemble(thing: str, doing: str, where: str, extras: list[str], rng: Random) -> str:
    orders = ((thing, doing, where),) * 6 + ((where + "," if where else "", thing, doing), (thing, where, doing))
    parts = [p for p in rng.choice(orders) if p]
    if rng.random() < 0.12:
        parts.insert(rng.randint(1, len(parts)), rng.choice(ASIDES))
    if rng.random() < 0.15:
        parts.insert(0, rng.choice(OPENINGS))
    text = " ".join(parts)
    for extra in extras:
        text = f"{text}, {extra}" if rng.random() < 0.7 else f"{extra}, {text}"
    return text


def vocabulary(world: World) -> list[str]:
    """Every word that captions of this world can hold, sorted."""
    verbs = {v for s in world.subjects for v in SUBJECTS[s].verbs}
    texts = [
        *(name for s in world.subjects for name in SUBJECTS[s].names),
        *(phrase for s in world.settings for phrase in SETTING_WORDS[s]),
        *(phrase for m in world.motions if m in PLAIN_MOTION for phrase in PLAIN_MOTION[m]),
        *verbs,
        *(_gerund(v) for v in verbs),
        *(p.format(verb="", side=a, other=b) for p in SIDEWAYS for a, b in (("left", "right"), ("right", "left"))),
        *(phrase for phrases in CAMERA_WORDS.values() for phrase in phrases),
        *SNOW_WORDS,
        *OPENINGS,
        *ADJECTIVES,
        *ASIDES,
        "a an the one something it and with of",
    ]
    words = {w for text in texts for w in re.findall(r"[a-z]+", text)}
    return sorted(words - {"ing"})
