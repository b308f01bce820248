"""Terse and plain English captions."""

from __future__ import annotations

from random import Random

from minitrain.captions import motion_phrases, scene_phrases, setting_phrases
from minitrain.captions.fillers import ADJECTIVES, ASIDES, OPENINGS, TAILS
from minitrain.captions.subject_names import names, noun_phrase, to_participle, verbs
from minitrain.scene import MOTIONS

Facts = dict[str, str]

UNNAMED = ("something", "it")


def motion_phrase(motion: str, subject: str, rng: Random, *, gaits: bool, finite: bool = True) -> str:
    """What the subject does, as a finite phrase, a participle or another form."""
    key, side, other = motion_phrases.split_side(motion)
    if not finite and rng.random() < 0.35:
        return rng.choice(motion_phrases.PARTICIPLES[key]).format(side=side, other=other)
    pattern = rng.choice(motion_phrases.FINITE[key])
    phrase = pattern.format(verb=rng.choice(verbs(subject, gaits=gaits)), side=side, other=other)
    return phrase if finite or rng.random() < 0.6 else to_participle(phrase)


def bare_motion(motion: str, rng: Random) -> str:
    key, side, other = motion_phrases.split_side(motion)
    return rng.choice(motion_phrases.BARE[key]).format(side=side, other=other)


def camera_phrase(value: str, rng: Random) -> str:
    key, side, _ = motion_phrases.split_side(value)
    phrases = scene_phrases.CAMERA[key] + scene_phrases.MORE_CAMERA.get(key, ())
    return rng.choice(phrases).format(side=side)


def second_actor_phrase(facts: Facts, rng: Random) -> str:
    """The second actor and its relation, of which one may be missing; "" if both are."""
    if not facts["relation"] and not facts["second"]:
        return ""
    other = noun_phrase(facts["second"], rng) if facts["second"] else scene_phrases.UNNAMED_SECOND
    patterns = scene_phrases.RELATION[facts["relation"]] if facts["relation"] else scene_phrases.UNRELATED_SECOND
    return rng.choice(patterns).format(b=other)


def second_shot_phrase(facts: Facts, subject: str, rng: Random, *, gaits: bool) -> str:
    """What the second shot changes, after a word such as "then"."""
    value, cut = facts["shots"], rng.choice(scene_phrases.CUT_WORDS)
    if value not in MOTIONS:
        return (
            f"cut to {rng.choice(setting_phrases.nouns(value))}"
            if cut == "cut to"
            else f"{cut} {rng.choice(setting_phrases.phrases(value))}"
        )
    pronoun = "it " if rng.random() < 0.8 else ""
    return f"{cut} {pronoun}{motion_phrase(value, subject, rng, gaits=gaits)}"


def plain(facts: Facts, subject: str, rng: Random, *, gaits: bool) -> str:
    """One sentence of everyday words. subject: the film's, which determines its verbs even if the caption does not name
    it."""
    what = noun_phrase(facts["subject"], rng) if facts["subject"] else rng.choice(UNNAMED)
    does = motion_phrase(facts["motion"], subject, rng, gaits=gaits, finite=False) if facts["motion"] else ""
    where = rng.choice(setting_phrases.phrases(facts["setting"])) if facts["setting"] else ""
    extras = [e for e in _extras(facts, rng) if e]
    if extras and facts["hour"] and rng.random() < 0.4 and where:
        where, extras = f"{where} {extras[0]}", extras[1:]
    with_whom = second_actor_phrase(facts, rng)
    if with_whom and rng.random() < 0.4:
        what = f"{what} {with_whom}"
    elif with_whom:
        extras.append(with_whom)
    rng.shuffle(extras)
    text = _assemble(what, does, where, extras, rng)
    return f"{text}, {second_shot_phrase(facts, subject, rng, gaits=gaits)}" if facts["shots"] else text


def _extras(facts: Facts, rng: Random) -> list[str]:
    """Clauses that are added to the sentence, the hour first."""
    return [
        rng.choice(scene_phrases.HOUR[facts["hour"]]) if facts["hour"] else "",
        camera_phrase(facts["camera"], rng) if facts["camera"] else "",
        rng.choice(scene_phrases.WEATHER[facts["weather"]]) if facts["weather"] else "",
        rng.choice(scene_phrases.STYLE[facts["style"]]) if facts["style"] else "",
        rng.choice(scene_phrases.EVENT[facts["event"]]) if facts["event"] else "",
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


def terse(facts: Facts, subject: str, rng: Random, *, gaits: bool) -> str:
    """Keywords: "red car, city, left"."""
    words = [
        _bare_subject(facts["subject"], rng) if facts["subject"] else "",
        second_actor_phrase(facts, rng),
        bare_motion(facts["motion"], rng) if facts["motion"] else "",
        _setting_phrase(facts["setting"], rng) if facts["setting"] else "",
        *_extras(facts, rng),
    ]
    words = [w for w in words if w]
    if rng.random() < 0.4:
        rng.shuffle(words)
    if facts["shots"]:
        words.append(second_shot_phrase(facts, subject, rng, gaits=gaits))
    return rng.choice((", ", ", ", ", ", " ", "; ", " - ", ". ")).join(words)


def _bare_subject(subject: str, rng: Random) -> str:
    name = rng.choice(names(subject))
    return f"{rng.choice(ADJECTIVES)} {name}" if rng.random() < 0.1 else name


def _setting_phrase(setting: str, rng: Random) -> str:
    return rng.choice(setting_phrases.nouns(setting) if rng.random() < 0.7 else setting_phrases.phrases(setting))
