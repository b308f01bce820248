"""A prompt read against what the embedded model can paint: what it asks for, and what of it cannot be had. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sora.models.mini.vocabulary import THINGS, Meaning, Vocabulary, split_words, stem

TWINS = {"night": "night", "sunset": "dusk"}  # settings that beside another setting are but an hour of it
BEFORE_A_PLACE = frozenset(
    (
        *("in", "on", "at", "over", "under", "through", "near", "by", "inside", "into", "across", "from", "to", "onto"),
        *("around", "在", "穿"),
    )
)
STEPS_OVER = frozenset({"silent", "number", "look"})  # may stand between a colour and what has it


@dataclass(frozen=True)
class Mention:
    """A phrase of the prompt. begin, end: its pieces. text: as it was typed, in lower case."""

    meaning: Meaning
    begin: int
    end: int
    text: str

    @property
    def slot(self) -> str:
        return self.meaning.slot

    @property
    def key(self) -> str:
        return self.meaning.key


@dataclass(frozen=True)
class ParsedPrompt:
    """What a prompt asks for, "" where it is silent. moves: it says that the subject moves, but not where to.

    others: further subjects, settings and motions, which one clip cannot hold as well. colours: colours that the
    subject cannot have. number: the words that ask for several. strangers, places, deeds, looks: what is known not to
    be paintable. unknown: words that nothing is known about. Each in order, once.
    """

    language: str
    subject: str = ""
    shape: str = ""
    setting: str = ""
    motion: str = ""
    camera: str = ""
    weather: str = ""
    hour: str = ""
    moves: bool = False
    extra_mentions: tuple[Mention, ...] = ()
    wrong_colours: tuple[str, ...] = ()
    plural: str = ""
    unpaintable_subjects: tuple[str, ...] = ()
    unpaintable_settings: tuple[str, ...] = ()
    unpaintable_motions: tuple[str, ...] = ()
    unpaintable_looks: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()


def parse(vocabulary: Vocabulary, prompt: str) -> ParsedPrompt:
    """The longest phrases from the left, each by what it can say there."""
    found = _told_by_colour(vocabulary, list(phrases(vocabulary, prompt)))
    settings, hours = _places_and_hours(found)
    subjects, motions = _all(found, "subject"), _all(found, "motion")
    shape = next((f.key for f in found if f.slot == "shape"), "")
    first = {name: each[0].key if each else "" for name, each in (("s", subjects), ("p", settings), ("m", motions))}
    apart = [f for each in (subjects, settings, motions) for f in each if each and f.key != each[0].key]
    chinese = any("\u3400" <= c <= "\u9fff" for c in prompt)
    return ParsedPrompt(
        language="zh" if chinese else "en",
        subject=first["s"],
        shape="" if first["s"] else shape,
        setting=first["p"],
        motion=first["m"],
        camera=_first(found, "camera"),
        weather=_first(found, "weather"),
        hour=hours[0] if hours else "",
        moves=not motions and any(f.slot == "verb" for f in found),
        extra_mentions=_once(apart),
        wrong_colours=_wrong_colours(vocabulary, found, subjects),
        plural=_number(found, subjects),
        unpaintable_subjects=_texts(found, "stranger"),
        unpaintable_settings=_texts(found, "place"),
        unpaintable_motions=_texts(found, "deed"),
        unpaintable_looks=_texts(found, "look"),
        unknown_words=_texts(found, ""),
    )


# Phrases -----------------------------------------------------------------------------------------------------------


def phrases(vocabulary: Vocabulary, prompt: str) -> Iterator[Mention]:
    """The prompt cut into phrases, the longest first from the left; what begins none is a phrase of slot ""."""
    words, at = split_words(prompt), 0
    while at < len(words):
        longest = min(vocabulary.longest.get(stem(words[at]), 0), len(words) - at)
        for length in range(longest, 0, -1):
            meanings = vocabulary.meanings(words[at : at + length])
            if meanings:
                break
        else:
            length, meanings = 1, [Meaning(_slot_by_form(words[at]), words[at], words[at])]
        text, beside = _joined(words[at : at + length]), vocabulary.meanings(words[at + length : at + length + 1])
        yield Mention(_fitting(meanings, words[max(0, at - 2) : at], beside), at, at + length, text)
        at += length


def _slot_by_form(word: str) -> str:
    """What a word says that is on no list: digits are a number, adverbs such as "merrily" tell nothing."""
    return "number" if word.isdigit() else "silent" if word.endswith("ly") else ""


def _fitting(meanings: Sequence[Meaning], before: Sequence[str], beside: Sequence[Meaning]) -> Meaning:
    """Of all that a phrase can say, the likeliest: what can be painted before what cannot, a place after "in", a colour
    before a thing. before: the words on its left. beside: what the word on its right can say."""
    likely = {m.slot: m for m in reversed(meanings)}
    if meanings[0].slot == "stranger" and "place" in likely and BEFORE_A_PLACE & set(before):
        return likely["place"]
    if "colour" in likely and any(m.slot in THINGS for m in beside):
        return likely["colour"]
    return meanings[0]


def _joined(words: Sequence[str]) -> str:
    """Words as they are written: Chinese without spaces."""
    return re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", " ".join(words))


def _all(found: Sequence[Mention], slot: str) -> list[Mention]:
    return [f for f in found if f.slot == slot]


def _first(found: Sequence[Mention], slot: str) -> str:
    return next((f.key for f in found if f.slot == slot), "")


def _once(found: Sequence[Mention]) -> tuple[Mention, ...]:
    return tuple({f.key: f for f in reversed(found)}.values())[::-1]


def _texts(found: Sequence[Mention], slot: str) -> tuple[str, ...]:
    """What was typed for a slot; characters of one unknown Chinese word stand together."""
    texts: list[str] = []
    end = -1
    for f in _all(found, slot):
        if not slot and f.begin == end and not f.text.isascii() and not texts[-1].isascii():
            texts[-1] += f.text
        else:
            texts.append(f.text)
        end = f.end
    return tuple(dict.fromkeys(texts))


# What a phrase means among the others ------------------------------------------------------------------------------


def _places_and_hours(found: Sequence[Mention]) -> tuple[list[Mention], list[str]]:
    """Settings and hours. "At night" is a setting of its own, but an hour where another setting is named."""
    settings = _all(found, "setting")
    hours = [f.key for f in found if f.slot == "hour"]
    proper = [f for f in settings if f.key not in TWINS]
    if proper:
        hours = [TWINS[f.key] for f in settings if f.key in TWINS] + hours
        settings = proper
    return settings, hours


def _told_by_colour(vocabulary: Vocabulary, found: list[Mention]) -> list[Mention]:
    """Shapes that a colour nearby makes a subject: "a ball, big and red" is a red ball."""
    out = list(found)
    for i, f in enumerate(found):
        if f.slot != "shape":
            continue
        shapes = vocabulary.shapes(f.key)
        near = [*reversed(found[:i]), *found[i + 1 :]]
        colour = next((c.key for c in near if c.slot == "colour" and c.key in shapes), "")
        if not colour and len(shapes) == 1:
            colour = next(iter(shapes))
        if colour:
            out[i] = replace(f, meaning=replace(f.meaning, slot="subject", key=shapes[colour]))
    return out


def _wrong_colours(vocabulary: Vocabulary, found: Sequence[Mention], subjects: Sequence[Mention]) -> tuple[str, ...]:
    """Colours said of the first subject, or of a shape, that it cannot have."""
    things = subjects[:1] or _all(found, "shape")[:1]
    if not things:
        return ()
    thing = things[0]
    own = vocabulary.colours(thing.key) if thing.slot == "subject" else list(vocabulary.shapes(thing.key))
    at = list(found).index(thing)
    said = [f.key for f in _coloured(list(reversed(found[:at])))]
    said += [f.key for f in _coloured(found[at + 1 :], after=True)]
    return tuple(c for c in dict.fromkeys(said) if own and c not in own)


def _coloured(beside: Sequence[Mention], *, after: bool = False) -> list[Mention]:
    """The colours on one side of a subject, as far as they are said of it and not of what stands next."""
    colours: list[Mention] = []
    for f in beside:
        if f.slot == "colour":
            colours.append(f)
        elif f.slot not in STEPS_OVER:
            owned = f.slot in ("subject", "shape", "setting", "stranger", "place", "")
            return [] if after and owned else colours
    return colours


def _number(found: Sequence[Mention], subjects: Sequence[Mention]) -> str:
    """The words that ask for several of the subject: a number, or its plural."""
    things = [*subjects, *_all(found, "shape")]
    if not things:
        return ""
    at = list(found).index(things[0])
    for f in reversed(found[:at]):
        if f.slot == "number":
            return f.text
        if f.slot not in (*STEPS_OVER, "colour"):
            break
    last, said = things[0].text.split()[-1], split_words(things[0].meaning.phrase)[-1]
    return things[0].text if last != said and last.endswith("s") and not said.endswith("s") else ""
