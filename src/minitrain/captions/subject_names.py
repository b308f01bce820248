"""Names of subjects, and the verbs of their motions."""

from __future__ import annotations

import re
from functools import cache
from random import Random

from minitrain.captions.fillers import ADJECTIVES, CHINESE_ADJECTIVES
from minitrain.captions.motion_phrases import GAITS, PLAIN_VERBS
from minitrain.worlds.subjects import SUBJECTS

MORE_NAMES = {
    "balloon": ("party balloon", "air balloon"),
    "car": ("automobile", "little car", "vehicle", "red automobile", "toy car", "motorcar"),
    "sailboat": ("sailing boat", "ship", "sailing ship", "dinghy"),
    "rocket": ("space rocket", "space ship", "spacecraft"),
    "turtle": ("sea turtle", "tortoise", "baby turtle"),
    "fish": ("tropical fish", "fishy", "clownfish", "little fish", "goldfish"),
    "elephant": ("baby elephant", "gray elephant"),
    "chick": ("baby chicken", "yellow bird", "chickie", "chicky"),
    "dog": ("doggy", "doggie", "pooch", "pup", "puppy"),
    "cat": ("pussycat", "kitty cat", "kitty", "kitten"),
    "rabbit": ("bunny", "bunny rabbit", "hare"),
    "horse": ("pony", "horsey"),
    "bird": ("birdie",),
    "duck": ("ducky", "duckling"),
    "airplane": ("plane", "aeroplane", "jet"),
    "train": ("choo choo", "railway train"),
    "bicycle": ("bike", "push bike"),
    "frog": ("froggy", "toad"),
    "pig": ("piggy", "piglet"),
}
"""Further names of subjects; one that belongs to another subject is left out."""

MORE_CHINESE_NAMES = {
    "balloon": ("红色的气球",),
    "car": ("红色的汽车", "轿车", "车", "小车"),
    "sailboat": ("船", "小帆船"),
    "rocket": ("宇宙飞船", "太空船"),
    "turtle": ("小乌龟",),
    "fish": ("热带鱼", "小丑鱼"),
    "elephant": ("小象",),
    "chick": ("黄色的小鸡", "鸡仔"),
    "red ball": ("红色的小球",),
    "blue ball": ("蓝色的小球",),
    "yellow ball": ("黄色的小球",),
    "purple ball": ("紫色的小球",),
    "dog": ("狗狗",),
    "cat": ("猫咪",),
    "bird": ("鸟儿",),
}
MEASURE_WORDS = {"animal": "一只", "person": "一位", "vehicle": "一辆", "plant": "一棵", "sky": "一个"}  # else 一个


@cache
def names(subject: str) -> tuple[str, ...]:
    """English names of a subject, the canonical one first."""
    own = SUBJECTS[subject].names
    taken = {n for key, s in SUBJECTS.items() if key != subject for n in (key, *s.names)}
    return tuple(dict.fromkeys((*own, *(n for n in MORE_NAMES.get(subject, ()) if n not in taken))))


@cache
def chinese_names(subject: str) -> tuple[str, ...]:
    """Chinese names of a subject, the canonical one first."""
    taken = {n for key, s in SUBJECTS.items() if key != subject for n in s.zh}
    more = MORE_CHINESE_NAMES.get(subject, ())
    return tuple(dict.fromkeys((*SUBJECTS[subject].zh, *(n for n in more if n not in taken))))


def verbs(subject: str, *, gaits: bool) -> tuple[str, ...]:
    """Verbs for a subject's motion to a side. gaits: leave out the verbs that are motions of their own."""
    own = SUBJECTS[subject].verbs
    fitting = tuple(v for v in own if not (gaits and v in GAITS))
    return fitting or PLAIN_VERBS


def noun_phrase(subject: str, rng: Random) -> str:
    """A subject with an article and perhaps an adjective: "a happy puppy"."""
    name = names(subject)[0] if rng.random() < 0.35 else rng.choice(names(subject))
    if rng.random() < 0.15:
        name = f"{rng.choice(ADJECTIVES)} {name}"
    article = rng.choice(("a", "a", "a", "the", "one", ""))
    if article == "a" and name[0] in "aeiou":
        article = "an"
    return f"{article} {name}".strip()


def chinese_noun_phrase(subject: str, rng: Random) -> str:
    name = rng.choice(chinese_names(subject))
    adjective = rng.choice(CHINESE_ADJECTIVES) if rng.random() < 0.15 else ""
    measure = rng.choice((MEASURE_WORDS.get(SUBJECTS[subject].kind, "一个"), "一个", "这个", ""))
    return f"{measure} {adjective} {name}"


def to_participle(phrase: str) -> str:
    """The phrase with its first word as a participle: "walks on" -> "walking on", "flies" -> "flying"."""
    verb, _, rest = phrase.partition(" ")
    if verb in ("is", "does"):
        return phrase
    stem = "go" if verb == "goes" else re.sub("ie$", "y", verb.removesuffix("s"))
    doubled = len(stem) <= 4 and re.fullmatch(r"[^aeiou]*[aeiou][bdgmnpt]", stem)
    stem = stem[:-1] if stem.endswith("e") else stem + stem[-1] if doubled else stem
    return f"{stem}ing {rest}".strip()


def plural(name: str) -> str:
    """A name's plural by rule: boxes, puppies, fishes, cars."""
    if re.search(r"(s|x|z|ch|sh)$", name):
        return name + "es"
    return name[:-1] + "ies" if re.search(r"[^aeiou]y$", name) else name + "s"
