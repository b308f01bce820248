"""What the embedded model can paint, as data, and every phrase that says it. No torch; read when first asked for."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sora.errors import ModelError

ASSETS = Path(__file__).parents[2] / "assets"
SELVES = ("evening", "morning", "during", "something", "nothing", "everything", "building", "lightning")
NOUNS = {"mice": "mouse", "wolves": "wolf", "leaves": "leaf", "geese": "goose", "fishes": "fish"}
NOUNS |= {word: word for word in SELVES}
VERBS = {
    "goes": "go",
    "went": "go",
    "ran": "run",
    "swam": "swim",
    "flew": "fly",
    "fell": "fall",
    "rose": "ris",
    "stood": "stand",
    "sat": "sit",
    "grew": "grow",
    "shrank": "shrink",
    "spun": "spin",
    "sank": "sink",
    "lying": "lie",
    "lies": "lie",
}
ANY_VERB = "{verb}"
Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Meaning:
    """What a phrase says. slot: one of ``SLOTS``. key: the subject, setting, motion, ... or for what cannot be painted
    the word itself. said: the phrase as the tables spell it."""

    slot: str
    key: str
    phrase: str


SLOTS = (
    *("subject", "shape", "setting", "motion", "camera", "weather", "hour", "colour", "number", "verb"),
    *("stranger", "place", "deed", "look", "silent"),
)
"""shape: a subject that has yet to be told by its colour. verb: a way of moving that leaves open where to. stranger,
place, deed, look: a subject, setting, motion, and camera, weather or style that cannot be painted."""
THINGS = frozenset({"subject", "shape", "setting", "stranger", "place", "colour", "number"})
"""Slots of nouns, which have a plural; the others' words have stems: "care" is no car, but "rising" is "rises"."""


@dataclass(frozen=True)
class Vocabulary:
    """words: the asset as it stands. things: phrases of ``THINGS`` by the singular of their words, with all that each
    may say. others: all other phrases by their stems. longest: words of the longest phrase that begins with a word."""

    tables: Mapping[str, Any]
    things: dict[Phrase, list[Meaning]] = field(default_factory=dict)
    others: dict[Phrase, list[Meaning]] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)

    def add(self, phrase: str, meaning: Meaning) -> None:
        words = split_words(phrase)
        if words:
            table, form = (self.things, singular) if meaning.slot in THINGS else (self.others, stem)
            table.setdefault(tuple(map(form, words)), []).append(meaning)
            first = stem(words[0])
            self.longest[first] = max(len(words), self.longest.get(first, 0))

    def meanings(self, words: Sequence[str]) -> list[Meaning]:
        """All that a phrase of these words may say."""
        return [*self.things.get(tuple(map(singular, words)), ()), *self.others.get(tuple(map(stem, words)), ())]

    def keys(self, slot: str) -> list[str]:
        """All there is of "subjects", "settings", "motions", "cameras", "weathers" or "hours"."""
        return list(self.tables[slot])

    def name(self, slot: str, key: str, language: str = "en") -> str:
        """What people call it: the key itself in English where it is a name, in Chinese the shortest name of two
        characters or more."""
        if language == "en":
            english = self.tables[slot][key]["english"]
            return key if slot != "subjects" or key in english else english[0]
        names = self.tables[slot][key]["chinese"]
        return min((name for name in names if len(name) > 1), key=len, default=names[0])

    def substitutes(self, slot: str, word: str) -> list[str]:
        """What comes near a stranger, a place or a deed, by the word that was said, in any of its forms."""
        table: Mapping[str, list[str]] = self.tables[f"{slot}s"]
        found = self.meanings(split_words(word))
        return next((table[m.key] for m in found if m.slot == slot), [])

    def phrase(self, slot: str, key: str, language: str = "en") -> str:
        """The usual words for it: "stands still", "on a meadow"."""
        said = self.tables[slot][key]["english" if language == "en" else "chinese"][0]
        return said.replace(ANY_VERB, "moves")

    def sentence(self, subject: str, setting: str, motion: str, language: str = "en") -> str:
        """A prompt that can be painted: "a car moves to the left on a city street"."""
        doing = self.phrase("motions", motion, language) if motion else ""
        where = self.phrase("settings", setting, language) if setting else ""
        if language != "en":
            return f"{self.name('subjects', subject, language)}{where}{doing}"
        name = self.name("subjects", subject)
        article = "an" if name[0] in "aeiou" else "a"
        return " ".join(part for part in (article, name, doing, where) if part)

    def colours(self, subject: str) -> list[str]:
        return self.tables["subjects"][subject]["colours"]

    def shapes(self, shape: str) -> dict[str, str]:
        """The subjects of a shape, by their colour."""
        rows: Mapping[str, Mapping[str, Any]] = self.tables["subjects"]
        return {row["colours"][0]: key for key, row in rows.items() if row["shape"] == shape}


@cache
def load(name: str) -> Vocabulary:
    """The vocabulary in an asset. Raises ModelError."""
    path = ASSETS / name
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
        found = Vocabulary(words)
        for phrase, meaning in _meanings(words):
            found.add(phrase, meaning)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the word list {path} is missing or damaged ({error}); reinstall sora") from None
    return found


def _meanings(words: Mapping[str, Any]) -> Iterator[tuple[str, Meaning]]:
    """Every phrase with what it says; of two meanings in one slot the first counts."""
    slots = {"subjects": "subject", "settings": "setting", "cameras": "camera", "weathers": "weather", "hours": "hour"}
    for table, slot in slots.items():
        for key, row in words[table].items():
            yield from ((phrase, Meaning(slot, key, phrase)) for phrase in (*row["english"], *row["chinese"]))
    yield from _shapes(words["subjects"])
    verbs: list[str] = words["verbs"]
    for key, row in words["motions"].items():
        for phrase in (*row["english"], *row["chinese"]):
            for said in _with_verbs(phrase, verbs):
                yield said, Meaning("motion", key, said)
    tables = {"stranger": words["strangers"], "place": words["places"], "deed": words["deeds"]}
    for slot, table in tables.items():
        yield from ((phrase, Meaning(slot, phrase, phrase)) for phrase in table)
    for colour, spellings in words["colours"].items():
        yield from ((spelling, Meaning("colour", colour, spelling)) for spelling in spellings)
    lists = {"verb": verbs, "number": words["numbers"], "look": words["looks"], "silent": words["silent"]}
    for slot, phrases in lists.items():
        yield from ((phrase, Meaning(slot, phrase, phrase)) for phrase in phrases)


def _shapes(subjects: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Meaning]]:
    """The nouns of coloured shapes without their colour."""
    for row in subjects.values():
        if row["shape"]:
            nouns = [n.removeprefix(f"{row['colours'][0]} ") for n in row["english"]]
            nouns += [n.rpartition("的")[2] for n in row["chinese"] if "的" in n]
            yield from ((noun, Meaning("shape", row["shape"], noun)) for noun in nouns)


def _with_verbs(phrase: str, verbs: Iterable[str]) -> Iterator[str]:
    """The phrase with each verb in its open place, and without any."""
    if ANY_VERB not in phrase:
        yield phrase
        return
    yield phrase.replace(ANY_VERB, "").strip()
    yield from (phrase.replace(ANY_VERB, verb) for verb in verbs)


# Words -------------------------------------------------------------------------------------------------------------

_PIECE = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]|[^\W\d_a-z\u3400-\u9fff]+")


def normalise(text: str) -> str:
    """The text with nothing left that does not matter: case, full-width forms, accents of Latin letters."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).lower()


def split_words(text: str) -> list[str]:
    """Its words; Chinese by the character, any other script by runs of letters."""
    return _PIECE.findall(normalise(text).replace("'s ", " "))


@cache
def singular(word: str) -> str:
    """A noun's singular: "puppies" is "puppy". A word for comparing alone: "glass" stays, "bus" too."""
    if word in NOUNS:
        return NOUNS[word]
    if len(word) <= 3 or not word.isascii() or re.search(r"(ss|us|is)$", word):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    short = re.sub(r"(?<=[sxz])es$|(?<=[cs]h)es$", "", word)
    return short if short != word else word.removesuffix("s")


@cache
def stem(word: str) -> str:
    """What a verb's forms have in common: "flies", "flying" and "fly" are one. A word for comparing alone."""
    base = VERBS.get(word) or singular(word)
    if word in NOUNS or word in VERBS or len(word) <= 3 or not word.isascii():
        return base
    for ending in ("ing", "ed"):
        cut = base.removesuffix(ending)
        if cut != base and len(cut) >= 2 and re.search("[aeiouy]", cut):
            base = cut
    if len(base) > 3:
        base = base.removesuffix("e")
    return re.sub(r"([bdgklmnprt])\1$", r"\1", base)
