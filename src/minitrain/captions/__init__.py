"""Captions of films: terse, plain and long ones in English and Chinese, which may state less than everything.

``facts`` lists what can be stated and chooses what a caption states; ``english``, ``english_long`` and ``chinese``
write the text; ``subject_names``, ``setting_phrases``, ``motion_phrases`` and ``scene_phrases`` hold the phrases,
``fillers`` those without content; ``wordlist`` lists all words. ``neutral_words``, ``unknown_words`` and ``defaults``
help to interpret prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from minitrain.captions import chinese, english
from minitrain.captions.english_long import long
from minitrain.captions.facts import SLOTS, facts, sample_facts
from minitrain.scene import Film

__all__ = ["LANGUAGES", "LENGTHS", "SLOTS", "Caption", "caption", "facts"]

LENGTHS = {"terse": 0.2, "plain": 0.55, "long": 0.25}
LANGUAGES = {"en": 0.75, "zh": 0.25}


@dataclass(frozen=True)
class Caption:
    """text, and the facts that it states: for each of SLOTS the film's value, or "" if the text does not state it."""

    text: str
    facts: dict[str, str]


def caption(
    film: Film,
    rng: Random,
    *,
    complete: bool = False,
    length: str | None = None,
    language: str | None = None,
    gaits: bool = True,
) -> Caption:
    """Describe a film. The same film and state of rng give the same caption.

    complete: state everything except the default hour and style. length: one of LENGTHS, else drawn. language: one of
    LANGUAGES, else drawn. gaits: whether walking, swimming and rolling are motions of their own in the film's world, so
    that "moves left" must not borrow their words.
    """
    stated = sample_facts(film, rng, complete=complete)
    length = length or rng.choices(list(LENGTHS), list(LENGTHS.values()))[0]
    language = language or rng.choices(list(LANGUAGES), list(LANGUAGES.values()))[0]
    if language == "zh":
        write_caption = {"terse": chinese.terse, "plain": chinese.plain, "long": chinese.long}[length]
        return Caption(write_caption(stated, rng, gaits=gaits), stated)
    subject = film.shots[0].actors[0].subject
    write_caption = {"terse": english.terse, "plain": english.plain, "long": long}[length]
    return Caption(write_caption(stated, subject, rng, gaits=gaits), stated)
