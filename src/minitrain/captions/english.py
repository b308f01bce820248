"""Terse and plain English captions."""

from __future__ import annotations

from random import Random

from minitrain.captions import motion_phrases, scene_phrases, setting_phrases
from minitrain.captions.fillers import ADJECTIVES, ASIDES, OPENINGS, TAILS
from minitrain.captions.subject_names import gerund, names, thing, verbs
from minitrain.scene import MOTIONS

Told = dict[str, str]

UNNAMED = ("something", "it")


def doing(motion: str, subject: str, rng: Random, *, gaits: bool, finite: bool = True) -> str:
    """What the subject does, as a finite phrase, a participle or a looser one."""
    key, side, other = motion_phrases.sided(motion)
    if not finite and rng.random() < 0.35:
        return rng.choice(motion_phrases.LOOSE[key]).format(side=side, other=other)
    pattern = rng.choice(motion_phrases.FINITE[key])
    phrase = pattern.format(verb=rng.choice(verbs(subject, gaits=gaits)), side=side, other=other)
    return phrase if finite or rng.random() < 0.6 else gerund(phrase)


def bare(motion: str, rng: Random) -> str:
    key, side, other = motion_phrases.sided(motion)
    return rng.choice(motion_phrases.BARE[key]).format(side=side, other=other)


def camera(value: str, rng: Random) -> str:
    key, side, _ = motion_phrases.sided(value)
    phrases = scene_phrases.CAMERA[key] + scene_phrases.CAMERA_MORE.get(key, ())
    return rng.choice(phrases).format(side=side)


def company(told: Told, rng: Random) -> str:
    """The second actor and its relation, of which one may be left unsaid; "" where both are."""
    if not told["relation"] and not told["second"]:
        return ""
    other = thing(told["second"], rng) if told["second"] else scene_phrases.NOBODY
    patterns = scene_phrases.RELATION[told["relation"]] if told["relation"] else scene_phrases.TOGETHER
    return rng.choice(patterns).format(b=other)


def change(told: Told, subject: str, rng: Random, *, gaits: bool) -> str:
    """What the second shot changes, told after something like "then"."""
    value, cut = told["shots"], rng.choice(scene_phrases.NEXT)
    if value not in MOTIONS:
        return (
            f"cut to {rng.choice(setting_phrases.nouns(value))}"
            if cut == "cut to"
            else f"{cut} {rng.choice(setting_phrases.phrases(value))}"
        )
    pronoun = "it " if rng.random() < 0.8 else ""
    return f"{cut} {pronoun}{doing(value, subject, rng, gaits=gaits)}"


def plain(told: Told, subject: str, rng: Random, *, gaits: bool) -> str:
    """One sentence of everyday words. subject: the film's, which colours its verbs even where it is not told."""
    what = thing(told["subject"], rng) if told["subject"] else rng.choice(UNNAMED)
    does = doing(told["motion"], subject, rng, gaits=gaits, finite=False) if told["motion"] else ""
    where = rng.choice(setting_phrases.phrases(told["setting"])) if told["setting"] else ""
    extras = [e for e in _extras(told, rng) if e]
    if extras and told["hour"] and rng.random() < 0.4 and where:
        where, extras = f"{where} {extras[0]}", extras[1:]
    with_whom = company(told, rng)
    if with_whom and rng.random() < 0.4:
        what = f"{what} {with_whom}"
    elif with_whom:
        extras.append(with_whom)
    rng.shuffle(extras)
    text = _assemble(what, does, where, extras, rng)
    return f"{text}, {change(told, subject, rng, gaits=gaits)}" if told["shots"] else text


def _extras(told: Told, rng: Random) -> list[str]:
    """Clauses that stand beside the sentence, the hour first."""
    return [
        rng.choice(scene_phrases.HOUR[told["hour"]]) if told["hour"] else "",
        camera(told["camera"], rng) if told["camera"] else "",
        rng.choice(scene_phrases.WEATHER[told["weather"]]) if told["weather"] else "",
        rng.choice(scene_phrases.STYLE[told["style"]]) if told["style"] else "",
        rng.choice(scene_phrases.EVENT[told["event"]]) if told["event"] else "",
        rng.choice(TAILS) if rng.random() < 0.06 else "",
    ]


def _assemble(what: str, does: str, where: str, extras: list[str], rng: Random) -> str:
    orders = ((what, does, where),) * 6 + ((where + "," if where else "", what, does), (what, where, does))
    parts = [p for p in rng.choice(orders) if p]
    if rng.random() < 0.12:
        parts.insert(rng.randint(1, len(parts)), rng.choice(ASIDES))
    if rng.random() < 0.15:
        parts.insert(0, rng.choice(OPENINGS))
    text = " ".join(parts)
    for extra in extras:
        text = f"{text}, {extra}" if rng.random() < 0.7 else f"{extra}, {text}"
    return text


def terse(told: Told, subject: str, rng: Random, *, gaits: bool) -> str:
    """Catchwords: "red car, city, left"."""
    words = [
        _bare_thing(told["subject"], rng) if told["subject"] else "",
        company(told, rng),
        bare(told["motion"], rng) if told["motion"] else "",
        _place(told["setting"], rng) if told["setting"] else "",
        *_extras(told, rng),
    ]
    words = [w for w in words if w]
    if rng.random() < 0.4:
        rng.shuffle(words)
    if told["shots"]:
        words.append(change(told, subject, rng, gaits=gaits))
    return rng.choice((", ", ", ", ", ", " ", "; ", " - ", ". ")).join(words)


def _bare_thing(subject: str, rng: Random) -> str:
    name = rng.choice(names(subject))
    return f"{rng.choice(ADJECTIVES)} {name}" if rng.random() < 0.1 else name


def _place(setting: str, rng: Random) -> str:
    return rng.choice(setting_phrases.nouns(setting) if rng.random() < 0.7 else setting_phrases.phrases(setting))
