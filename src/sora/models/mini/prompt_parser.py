"""Parse a prompt by the embedded model's vocabulary: what it names, and what of that cannot be painted. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sora.models.mini.vocabulary import NOUN_SLOTS, Meaning, Vocabulary, split_words, stem

SETTING_HOURS = {"night": "night", "sunset": "dusk"}  # settings that are only its hour where another setting is named
PLACE_PREPOSITIONS = frozenset(
    (
        *("in", "on", "at", "over", "under", "through", "near", "by", "inside", "into", "across", "from", "to", "onto"),
        *("around", "在", "穿"),
    )
)
IGNORED_SLOTS = frozenset({"silent", "number", "look"})  # may stand between a colour and its noun


@dataclass(frozen=True)
class Mention:
    """A phrase of the prompt. begin, end: its range of words. text: as it was typed, in lower case."""

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
    """What a prompt names; "" for what it does not. moves: it says that the subject moves, but not in which direction.

    extra_mentions: further subjects, settings and motions, of which a clip shows only the first. wrong_colours: colours
    that the subject cannot have. plural: the words that ask for several. unpaintable_subjects, unpaintable_settings,
    unpaintable_motions, unpaintable_looks: words that the vocabulary knows as something it cannot paint.
    unknown_words: words that it does not know. Each in the order of the prompt, once.
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
    """Parse a prompt: the longest phrases from the left, each by its likeliest meaning there."""
    mentions = _resolve_shapes(vocabulary, list(phrases(vocabulary, prompt)))
    settings, hours = _settings_and_hours(mentions)
    subjects, motions = _all(mentions, "subject"), _all(mentions, "motion")
    shape = next((f.key for f in mentions if f.slot == "shape"), "")
    first = {name: each[0].key if each else "" for name, each in (("s", subjects), ("p", settings), ("m", motions))}
    extra = [f for each in (subjects, settings, motions) for f in each if each and f.key != each[0].key]
    chinese = any("\u3400" <= c <= "\u9fff" for c in prompt)
    return ParsedPrompt(
        language="zh" if chinese else "en",
        subject=first["s"],
        shape="" if first["s"] else shape,
        setting=first["p"],
        motion=first["m"],
        camera=_first(mentions, "camera"),
        weather=_first(mentions, "weather"),
        hour=hours[0] if hours else "",
        moves=not motions and any(f.slot == "verb" for f in mentions),
        extra_mentions=_unique(extra),
        wrong_colours=_wrong_colours(vocabulary, mentions, subjects),
        plural=_plural(mentions, subjects),
        unpaintable_subjects=_texts(mentions, "stranger"),
        unpaintable_settings=_texts(mentions, "place"),
        unpaintable_motions=_texts(mentions, "deed"),
        unpaintable_looks=_texts(mentions, "look"),
        unknown_words=_texts(mentions, ""),
    )


# Phrases -----------------------------------------------------------------------------------------------------------


def phrases(vocabulary: Vocabulary, prompt: str) -> Iterator[Mention]:
    """Cut a prompt into phrases, from the left and the longest first; a word that begins no known phrase has an
    empty slot."""
    words, start = split_words(prompt), 0
    while start < len(words):
        longest = min(vocabulary.longest.get(stem(words[start]), 0), len(words) - start)
        for length in range(longest, 0, -1):
            meanings = vocabulary.meanings(words[start : start + length])
            if meanings:
                break
        else:
            length, meanings = 1, [Meaning(_slot_by_form(words[start]), words[start], words[start])]
        end = start + length
        meaning = _likeliest(meanings, words[max(0, start - 2) : start], vocabulary.meanings(words[end : end + 1]))
        yield Mention(meaning, start, end, _join(words[start:end]))
        start = end


def _slot_by_form(word: str) -> str:
    """The slot of a word outside the vocabulary: digits are a number, adverbs such as "merrily" are ignored."""
    return "number" if word.isdigit() else "silent" if word.endswith("ly") else ""


def _likeliest(meanings: Sequence[Meaning], before: Sequence[str], after: Sequence[Meaning]) -> Meaning:
    """The likeliest meaning of a phrase: what can be painted before what cannot, a place after "in", a colour before a
    noun. before: the words on its left. after: the meanings of the word on its right."""
    likely = {m.slot: m for m in reversed(meanings)}
    if meanings[0].slot == "stranger" and "place" in likely and PLACE_PREPOSITIONS & set(before):
        return likely["place"]
    if "colour" in likely and any(m.slot in NOUN_SLOTS for m in after):
        return likely["colour"]
    return meanings[0]


def _join(words: Sequence[str]) -> str:
    """Join words as they are written: Chinese without spaces."""
    return re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", " ".join(words))


def _all(mentions: Sequence[Mention], slot: str) -> list[Mention]:
    return [f for f in mentions if f.slot == slot]


def _first(mentions: Sequence[Mention], slot: str) -> str:
    return next((f.key for f in mentions if f.slot == slot), "")


def _unique(mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    return tuple({f.key: f for f in reversed(mentions)}.values())[::-1]


def _texts(mentions: Sequence[Mention], slot: str) -> tuple[str, ...]:
    """What was typed for a slot; the characters of one unknown Chinese word are joined."""
    texts: list[str] = []
    end = -1
    for f in _all(mentions, slot):
        if not slot and f.begin == end and not f.text.isascii() and not texts[-1].isascii():
            texts[-1] += f.text
        else:
            texts.append(f.text)
        end = f.end
    return tuple(dict.fromkeys(texts))


# Meanings that depend on other phrases ------------------------------------------------------------------------------


def _settings_and_hours(mentions: Sequence[Mention]) -> tuple[list[Mention], list[str]]:
    """The settings and the hours. "At night" is a setting of its own, but an hour where another setting is named."""
    settings = _all(mentions, "setting")
    hours = [f.key for f in mentions if f.slot == "hour"]
    proper = [f for f in settings if f.key not in SETTING_HOURS]
    if proper:
        hours = [SETTING_HOURS[f.key] for f in settings if f.key in SETTING_HOURS] + hours
        settings = proper
    return settings, hours


def _resolve_shapes(vocabulary: Vocabulary, mentions: list[Mention]) -> list[Mention]:
    """Turn shapes into subjects by a colour nearby: "a ball, big and red" is a red ball."""
    out = list(mentions)
    for i, f in enumerate(mentions):
        if f.slot != "shape":
            continue
        shapes = vocabulary.shapes(f.key)
        nearest_first = [*reversed(mentions[:i]), *mentions[i + 1 :]]
        colour = next((c.key for c in nearest_first if c.slot == "colour" and c.key in shapes), "")
        if not colour and len(shapes) == 1:
            colour = next(iter(shapes))
        if colour:
            out[i] = replace(f, meaning=replace(f.meaning, slot="subject", key=shapes[colour]))
    return out


def _wrong_colours(vocabulary: Vocabulary, mentions: Sequence[Mention], subjects: Sequence[Mention]) -> tuple[str, ...]:
    """Colours of the first subject, or of a shape, that it cannot have."""
    things = subjects[:1] or _all(mentions, "shape")[:1]
    if not things:
        return ()
    thing = things[0]
    own = vocabulary.colours(thing.key) if thing.slot == "subject" else list(vocabulary.shapes(thing.key))
    index = list(mentions).index(thing)
    named = [f.key for f in _colours_of(list(reversed(mentions[:index])))]
    named += [f.key for f in _colours_of(mentions[index + 1 :], after=True)]
    return tuple(c for c in dict.fromkeys(named) if own and c not in own)


def _colours_of(mentions: Sequence[Mention], *, after: bool = False) -> list[Mention]:
    """The colours on one side of a subject that belong to it and not to the next noun. mentions: from the subject
    on."""
    colours: list[Mention] = []
    for f in mentions:
        if f.slot == "colour":
            colours.append(f)
        elif f.slot not in IGNORED_SLOTS:
            owned = f.slot in ("subject", "shape", "setting", "stranger", "place", "")
            return [] if after and owned else colours
    return colours


def _plural(mentions: Sequence[Mention], subjects: Sequence[Mention]) -> str:
    """The words that ask for several subjects: a number, or a plural."""
    things = [*subjects, *_all(mentions, "shape")]
    if not things:
        return ""
    index = list(mentions).index(things[0])
    for f in reversed(mentions[:index]):
        if f.slot == "number":
            return f.text
        if f.slot not in (*IGNORED_SLOTS, "colour"):
            break
    last, singular = things[0].text.split()[-1], split_words(things[0].meaning.phrase)[-1]
    return things[0].text if last != singular and last.endswith("s") and not singular.endswith("s") else ""
