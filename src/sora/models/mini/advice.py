"""What a person is told of a prompt before it is painted: what of it the embedded model cannot show, and what it can.

Names are said in the prompt's language, sentences in English.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

from sora.catalog.spec import Advice
from sora.models.mini.prompt_parser import ParsedPrompt, parse
from sora.models.mini.vocabulary import Vocabulary, load

CLOSE = 0.8  # difflib's ratio from which on a word is taken for a slip of the keyboard
SHORTEST = 4  # letters of such a word
LEAD = re.compile(
    r"^(in front of|next to|in|on|at|by|among|between|through|inside|deep inside|past|over|near)( the| a| an)? |^在"
)


def advice(name: str, prompt: str, *, allow_unknown: bool = False) -> Advice:
    """What the vocabulary in an asset makes of a prompt. own_words: words that nothing is known about are the person's
    own, as a LoRA's. Raises ModelError."""
    vocabulary = load(name)
    reading = parse(vocabulary, prompt)
    subject = _thing(vocabulary, reading) if reading.subject or reading.shape else ""
    return Advice(
        subject, missing(vocabulary, reading, prompt), notes(vocabulary, reading, allow_unknown=allow_unknown)
    )


def notes(vocabulary: Vocabulary, reading: ParsedPrompt, *, allow_unknown: bool = False) -> tuple[str, ...]:
    """What of the prompt is painted otherwise or left out, a sentence each. own_words: as in ``advice``."""
    if not (reading.subject or reading.shape):
        return ()
    lines = [*_colour(vocabulary, reading), *_others(vocabulary, reading)]
    if reading.plural:
        lines.append(f'one subject a clip: "{reading.plural}" shows one {_thing(vocabulary, reading)}')
    lines += [*_strangers(vocabulary, reading), *_stand_ins(vocabulary, reading)]
    lines += [f'"{look}" is left out: there is no such camera, weather or style' for look in reading.unpaintable_looks]
    return (*lines, *([] if allow_unknown else _unknown(vocabulary, reading)))


def missing(vocabulary: Vocabulary, reading: ParsedPrompt, prompt: str) -> str:
    """Why there is nothing to paint in a prompt, with what could be said instead; "" where a subject is named."""
    if reading.subject or reading.shape:
        return ""
    lines = [*_strangers(vocabulary, reading), *_unknown(vocabulary, reading)]
    if not lines:
        lines = [f"no subject is named; say who or what is to be seen, as in {_example(vocabulary, reading, prompt)}"]
    return "; ".join(lines)


def _thing(vocabulary: Vocabulary, reading: ParsedPrompt) -> str:
    return vocabulary.name("subjects", reading.subject, reading.language) if reading.subject else reading.shape


def _colour(vocabulary: Vocabulary, reading: ParsedPrompt) -> Iterator[str]:
    if reading.shape:
        own = list(vocabulary.shapes(reading.shape))
        wrong = f"no {_either(reading.wrong_colours)} {reading.shape}; " if reading.wrong_colours else ""
        yield f"{wrong}a {reading.shape} is {_either(own)} here, and this one is {own[0]}"
    elif reading.wrong_colours:
        own = vocabulary.colours(reading.subject)[:2]
        line = f"the {_thing(vocabulary, reading)} is {' and '.join(own)} here, not {_either(reading.wrong_colours)}"
        kind = vocabulary.tables["subjects"][reading.subject]["kind"]
        have = [key for key in vocabulary.keys("subjects") if vocabulary.colours(key)[:1] == [reading.wrong_colours[0]]]
        have.sort(key=lambda key: vocabulary.tables["subjects"][key]["kind"] != kind)
        names = [vocabulary.name("subjects", key, reading.language) for key in have[:3]]
        yield f"{line} ({reading.wrong_colours[0]} things: {', '.join(names)})" if have else line


def _others(vocabulary: Vocabulary, reading: ParsedPrompt) -> Iterator[str]:
    for slot, table, called in (
        ("subject", "subjects", "subject"),
        ("setting", "settings", "place"),
        ("motion", "motions", "motion"),
    ):
        left = [vocabulary.name(table, f.key, reading.language) for f in reading.extra_mentions if f.slot == slot]
        if left:
            kept = vocabulary.name(table, getattr(reading, slot), reading.language)
            yield f"one {called} a clip: {kept}, without {', '.join(left)}"


def _strangers(vocabulary: Vocabulary, reading: ParsedPrompt) -> Iterator[str]:
    """Known words for subjects that cannot be painted, each with what comes near it."""
    for word in reading.unpaintable_subjects:
        near = [vocabulary.name("subjects", key, reading.language) for key in vocabulary.substitutes("stranger", word)]
        yield f"no {word}; try {', '.join(near)}" if near else f"no {word}"


def _stand_ins(vocabulary: Vocabulary, reading: ParsedPrompt) -> Iterator[str]:
    """Places and motions that cannot be painted, with what is painted instead (as ``mini_prompt.expanded`` has it)."""
    place, motion = standing_in(vocabulary, reading)
    for n, word in enumerate(reading.unpaintable_settings):
        instead = f"{vocabulary.name('settings', place, reading.language)} stands in" if place and not n else "left out"
        yield f"no {LEAD.sub('', word)}; {instead}"
    for n, word in enumerate(reading.unpaintable_motions):
        instead = f'"{vocabulary.phrase("motions", motion, reading.language)}" stands in' if motion and not n else ""
        yield f'no "{word}"; {instead or "left out"}'


def standing_in(vocabulary: Vocabulary, reading: ParsedPrompt) -> tuple[str, str]:
    """(the setting, the motion) nearest to those that a prompt names and that cannot be painted; "" where it names one
    that can, or none at all."""
    places = [key for word in reading.unpaintable_settings[:1] for key in vocabulary.substitutes("place", word)]
    motions = [key for word in reading.unpaintable_motions[:1] for key in vocabulary.substitutes("deed", word)]
    place = places[0] if places and not reading.setting else ""
    return place, motions[0] if motions and not (reading.motion or reading.camera) else ""


def _unknown(vocabulary: Vocabulary, reading: ParsedPrompt) -> Iterator[str]:
    meant = {word: close for word in reading.unknown_words if (close := nearest(vocabulary, word))}
    yield from (f'no "{word}"; did you mean {close}?' for word, close in meant.items())
    if rest := [f'"{word}"' for word in reading.unknown_words if word not in meant]:
        yield f"does not know {', '.join(rest)}"


def nearest(vocabulary: Vocabulary, word: str) -> str:
    """The name of a subject or setting that was mistyped as this word; "" for none."""
    from difflib import get_close_matches

    if len(word) < SHORTEST or not word.isascii():
        return ""
    names = [
        n for table in ("subjects", "settings") for row in vocabulary.tables[table].values() for n in row["english"]
    ]
    close = get_close_matches(word, [n for n in names if " " not in n], n=1, cutoff=CLOSE)
    return close[0] if close else ""


def _either(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _example(vocabulary: Vocabulary, reading: ParsedPrompt, prompt: str) -> str:
    """A prompt that would do: the same place with someone in it."""
    keys = vocabulary.keys("subjects")
    subject = keys[zlib.crc32(prompt.encode()) % len(keys)]
    setting = reading.setting or vocabulary.tables["subjects"][subject]["home"]
    return f'"{vocabulary.sentence(subject, setting, "", reading.language)}"'
