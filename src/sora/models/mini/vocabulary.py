"""The embedded model's vocabulary: all that it can paint, and every phrase for it. No torch; loaded when first used."""

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
OWN_SINGULARS = ("evening", "morning", "during", "something", "nothing", "everything", "building", "lightning")
NOUNS = {"mice": "mouse", "wolves": "wolf", "leaves": "leaf", "geese": "goose", "fishes": "fish"}
NOUNS |= {word: word for word in OWN_SINGULARS}
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
    """A meaning of a phrase. slot: one of ``SLOTS``. key: the name of the subject, setting, motion, ... or, for what
    cannot be painted, the word itself. phrase: as it is spelled in the tables."""

    slot: str
    key: str
    phrase: str


SLOTS = (
    *("subject", "shape", "setting", "motion", "camera", "weather", "hour", "colour", "number", "verb"),
    *("stranger", "place", "deed", "look", "silent"),
)
"""What a phrase can name. shape: a noun that becomes a subject together with a colour. verb: a motion without a
direction. stranger, place, deed, look: a subject, a setting, a motion, and a camera, weather or style that cannot be
painted. silent: words that change nothing."""
NOUN_SLOTS = frozenset({"subject", "shape", "setting", "stranger", "place", "colour", "number"})
"""The slots of nouns, compared by their singular. Other words are compared by their stem: "care" is no "car", but
"rising" is "rises"."""


@dataclass(frozen=True)
class Vocabulary:
    """tables: the asset's JSON. things: phrases with a slot of ``NOUN_SLOTS``, by the singular of their words, with all
    their meanings. others: all other phrases, by the stems of their words. longest: how many words the longest phrase
    has that begins with a word of this stem."""

    tables: Mapping[str, Any]
    things: dict[Phrase, list[Meaning]] = field(default_factory=dict)
    others: dict[Phrase, list[Meaning]] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)

    def add(self, phrase: str, meaning: Meaning) -> None:
        words = split_words(phrase)
        if words:
            table, normal_form = (self.things, singular) if meaning.slot in NOUN_SLOTS else (self.others, stem)
            table.setdefault(tuple(map(normal_form, words)), []).append(meaning)
            first = stem(words[0])
            self.longest[first] = max(len(words), self.longest.get(first, 0))

    def meanings(self, words: Sequence[str]) -> list[Meaning]:
        """All meanings of a phrase of these words."""
        return [*self.things.get(tuple(map(singular, words)), ()), *self.others.get(tuple(map(stem, words)), ())]

    def keys(self, slot: str) -> list[str]:
        """The keys of a table: "subjects", "settings", "motions", "cameras", "weathers" or "hours"."""
        return list(self.tables[slot])

    def name(self, slot: str, key: str, language: str = "en") -> str:
        """The usual name of an entry: in English its key where that is a name, in Chinese the shortest name of two
        characters or more."""
        if language == "en":
            english = self.tables[slot][key]["english"]
            return key if slot != "subjects" or key in english else english[0]
        names = self.tables[slot][key]["chinese"]
        return min((name for name in names if len(name) > 1), key=len, default=names[0])

    def substitutes(self, slot: str, word: str) -> list[str]:
        """The keys to paint instead of a stranger, place or deed (``slot``), by its word in any form; closest first."""
        table: Mapping[str, list[str]] = self.tables[f"{slot}s"]
        found = self.meanings(split_words(word))
        return next((table[m.key] for m in found if m.slot == slot), [])

    def phrase(self, slot: str, key: str, language: str = "en") -> str:
        """The usual phrase for an entry: "stands still", "on a meadow"."""
        phrase = self.tables[slot][key]["english" if language == "en" else "chinese"][0]
        return phrase.replace(ANY_VERB, "moves")

    def sentence(self, subject: str, setting: str, motion: str, language: str = "en") -> str:
        """A prompt of these entries: "a car moves to the left on a city street"."""
        motion_phrase = self.phrase("motions", motion, language) if motion else ""
        setting_phrase = self.phrase("settings", setting, language) if setting else ""
        if language != "en":
            return f"{self.name('subjects', subject, language)}{setting_phrase}{motion_phrase}"
        name = self.name("subjects", subject)
        article = "an" if name[0] in "aeiou" else "a"
        return " ".join(phrase for phrase in (article, name, motion_phrase, setting_phrase) if phrase)

    def colours(self, subject: str) -> list[str]:
        return self.tables["subjects"][subject]["colours"]

    def shapes(self, shape: str) -> dict[str, str]:
        """The subjects of a shape, by colour."""
        rows: Mapping[str, Mapping[str, Any]] = self.tables["subjects"]
        return {row["colours"][0]: key for key, row in rows.items() if row["shape"] == shape}


@cache
def load(name: str) -> Vocabulary:
    """Load the vocabulary in an asset. Raises ModelError."""
    path = ASSETS / name
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = Vocabulary(tables)
        for phrase, meaning in _meanings(tables):
            vocabulary.add(phrase, meaning)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the word list {path} is missing or damaged ({error}); reinstall sora") from None
    return vocabulary


def _meanings(data: Mapping[str, Any]) -> Iterator[tuple[str, Meaning]]:
    """Every phrase with its meaning; of two meanings in one slot the first counts."""
    slots = {"subjects": "subject", "settings": "setting", "cameras": "camera", "weathers": "weather", "hours": "hour"}
    for table, slot in slots.items():
        for key, row in data[table].items():
            yield from ((phrase, Meaning(slot, key, phrase)) for phrase in (*row["english"], *row["chinese"]))
    yield from _shapes(data["subjects"])
    verbs: list[str] = data["verbs"]
    for key, row in data["motions"].items():
        for phrase in (*row["english"], *row["chinese"]):
            for spelled_out in _with_verbs(phrase, verbs):
                yield spelled_out, Meaning("motion", key, spelled_out)
    tables = {"stranger": data["strangers"], "place": data["places"], "deed": data["deeds"]}
    for slot, table in tables.items():
        yield from ((phrase, Meaning(slot, phrase, phrase)) for phrase in table)
    for colour, spellings in data["colours"].items():
        yield from ((spelling, Meaning("colour", colour, spelling)) for spelling in spellings)
    lists = {"verb": verbs, "number": data["numbers"], "look": data["looks"], "silent": data["silent"]}
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
    """The phrase with each verb in place of ANY_VERB, and without any."""
    if ANY_VERB not in phrase:
        yield phrase
        return
    yield phrase.replace(ANY_VERB, "").strip()
    yield from (phrase.replace(ANY_VERB, verb) for verb in verbs)


# Words -------------------------------------------------------------------------------------------------------------

_PIECE = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]|[^\W\d_a-z\u3400-\u9fff]+")


def normalise(text: str) -> str:
    """Normalise text for comparison: lower case, no full-width forms, no accents on Latin letters."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).lower()


def split_words(text: str) -> list[str]:
    """Split text into words: Chinese into characters, any other script at what is no letter."""
    return _PIECE.findall(normalise(text).replace("'s ", " "))


@cache
def singular(word: str) -> str:
    """A noun's singular: "puppies" is "puppy". The result serves comparison only: "glass" stays, "bus" too."""
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
    """The stem of a verb: "flies", "flying" and "fly" are one. The result serves comparison only."""
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
