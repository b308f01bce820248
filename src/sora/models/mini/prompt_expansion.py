"""What the embedded model reads in place of a prompt: told as its training told films, which name a place and a motion.

A person's words stay as they are wherever they are shown or kept; only the text encoder reads these.
"""

from __future__ import annotations

from dataclasses import replace

from sora.models.mini.advice import standing_in
from sora.models.mini.prompt_parser import ParsedPrompt, parse, phrases
from sora.models.mini.vocabulary import Vocabulary

SEPARATOR = {"en": ", ", "zh": "，"}


def expand(vocabulary: Vocabulary, prompt: str) -> str:
    """The prompt with a gentle motion and a place that suit its subject, where it names none, and with one subject for
    several, which looks like none. A prompt without a subject of the model's own is returned as it is."""
    reading = parse(vocabulary, prompt)
    if not (reading.subject or reading.shape):
        return prompt
    text = _singular(vocabulary, prompt) if reading.plural else prompt
    if reading.shape:
        key = next(iter(vocabulary.shapes(reading.shape).values()))
        reading = replace(reading, subject=key)
        text += SEPARATOR[reading.language] + vocabulary.phrase("subjects", key, reading.language)
    place, motion = standing_in(vocabulary, reading)
    added = [_motion(vocabulary, reading, motion), _setting(vocabulary, reading, place)]
    return SEPARATOR[reading.language].join([text, *(a for a in added if a)])


def _motion(vocabulary: Vocabulary, reading: ParsedPrompt, nearest: str) -> str:
    """A motion for a prompt that has none. What a moving camera shows is left alone: it was trained with motions that
    only some subjects suit."""
    if reading.motion or reading.camera:
        return ""
    gentle = vocabulary.tables["subjects"][reading.subject]["moves"]
    if reading.moves and not nearest and gentle in ("still", "left"):
        return "to the left" if reading.language == "en" else vocabulary.phrase("motions", "left", reading.language)
    return vocabulary.phrase("motions", nearest or gentle, reading.language)


def _setting(vocabulary: Vocabulary, reading: ParsedPrompt, nearest: str) -> str:
    """A setting for a prompt that has none: what comes near the place it names, else where the subject is at home."""
    if reading.setting:
        return ""
    home = vocabulary.tables["subjects"][reading.subject]["home"]
    return vocabulary.phrase("settings", nearest or home, reading.language)


def _singular(vocabulary: Vocabulary, prompt: str) -> str:
    """The prompt's words without numbers, its subjects by their singular names."""
    found = phrases(vocabulary, prompt)
    return " ".join(f.meaning.phrase if f.slot in ("subject", "shape") else f.text for f in found if f.slot != "number")
