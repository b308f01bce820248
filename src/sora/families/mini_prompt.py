"""What the embedded model reads in place of a prompt: told as its training told films, which name a place and a motion.

A person's words stay as they are wherever they are shown or kept; only the text encoder reads these.
"""

from __future__ import annotations

from dataclasses import replace

from sora.families.mini_reading import Found, Reading, phrases, read
from sora.families.mini_words import Vocabulary

SEPARATOR = {"en": ", ", "zh": "，"}


def expanded(vocabulary: Vocabulary, prompt: str) -> str:
    """The prompt with a gentle motion and a place that suit its subject, where it names none, and without what would
    turn the subject into something else: colours it cannot have, further subjects. A prompt without a subject of the
    model's own is returned as it is."""
    reading = read(vocabulary, prompt)
    if not (reading.subject or reading.shape):
        return prompt
    text = _without(vocabulary, prompt, reading)
    if reading.shape:
        key = next(iter(vocabulary.shapes(reading.shape).values()))
        reading = replace(reading, subject=key)
        text += SEPARATOR[reading.language] + vocabulary.phrase("subjects", key, reading.language)
    added = [_motion(vocabulary, reading), _setting(vocabulary, reading)]
    return SEPARATOR[reading.language].join([text, *(a for a in added if a)])


def _motion(vocabulary: Vocabulary, reading: Reading) -> str:
    """A motion for a prompt that has none. A moving camera is left alone with what stands: it was trained with motions
    that only some subjects suit."""
    if reading.motion or reading.camera:
        return ""
    near = [key for deed in reading.deeds for key in vocabulary.near("deed", deed)]
    gentle = vocabulary.words["subjects"][reading.subject]["moves"]
    if reading.moves and not near and gentle == "still":
        return "to the left" if reading.language == "en" else vocabulary.phrase("motions", "left", reading.language)
    return vocabulary.phrase("motions", near[0] if near else gentle, reading.language)


def _setting(vocabulary: Vocabulary, reading: Reading) -> str:
    """A setting for a prompt that has none: what comes near the place it names, else where the subject is at home."""
    if reading.setting:
        return ""
    near = [key for place in reading.places for key in vocabulary.near("place", place)]
    home = vocabulary.words["subjects"][reading.subject]["home"]
    return vocabulary.phrase("settings", near[0] if near else home, reading.language)


def _without(vocabulary: Vocabulary, prompt: str, reading: Reading) -> str:
    """The prompt's words without those that are left out, or the prompt itself where there are none."""
    left_out = {f.key for f in reading.others if f.slot == "subject"}
    found = list(phrases(vocabulary, prompt))

    def stays(f: Found) -> bool:
        if f.slot == "colour":
            return f.key not in reading.colours
        return not (f.slot == "subject" and f.key in left_out) and f.slot != "number"

    return prompt if all(map(stays, found)) else " ".join(f.text for f in found if stays(f))
