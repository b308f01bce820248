"""Advice on a prompt before it is painted: what the embedded model cannot show of it, and what it can show instead.

Names are in the language of the prompt, sentences in English.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

from sora.catalog.spec import Advice
from sora.models.mini.prompt_parser import ParsedPrompt, parse
from sora.models.mini.vocabulary import Vocabulary, load

TYPO_RATIO = 0.8  # from this ratio of difflib's on, a word is taken for a typing mistake
MIN_TYPO = 4  # letters of such a word
LEAD = re.compile(
    r"^(in front of|next to|in|on|at|by|among|between|through|inside|deep inside|past|over|near)( the| a| an)? |^在"
)


def advice(name: str, prompt: str, *, allow_unknown: bool = False) -> Advice:
    """Advice on a prompt, by the vocabulary in an asset. allow_unknown: say nothing of unknown words, which a LoRA may
    have taught. Raises ModelError."""
    vocabulary = load(name)
    parsed = parse(vocabulary, prompt)
    subject = _subject_name(vocabulary, parsed) if parsed.subject or parsed.shape else ""
    return Advice(subject, missing(vocabulary, parsed, prompt), notes(vocabulary, parsed, allow_unknown=allow_unknown))


def notes(vocabulary: Vocabulary, parsed: ParsedPrompt, *, allow_unknown: bool = False) -> tuple[str, ...]:
    """What of the prompt is replaced or left out, a sentence each. allow_unknown: as in ``advice``."""
    if not (parsed.subject or parsed.shape):
        return ()
    lines = [*_colour(vocabulary, parsed), *_extra_mentions(vocabulary, parsed)]
    if parsed.plural:
        lines.append(f'one subject a clip: "{parsed.plural}" shows one {_subject_name(vocabulary, parsed)}')
    lines += [*_unpaintable_subjects(vocabulary, parsed), *_replacements(vocabulary, parsed)]
    lines += [
        f'"{phrase}" is left out: there is no such camera, weather or style' for phrase in parsed.unpaintable_looks
    ]
    return (*lines, *([] if allow_unknown else _unknown_words(vocabulary, parsed)))


def missing(vocabulary: Vocabulary, parsed: ParsedPrompt, prompt: str) -> str:
    """Why a prompt has nothing to paint, with what to write instead; "" where it names a subject."""
    if parsed.subject or parsed.shape:
        return ""
    lines = [*_unpaintable_subjects(vocabulary, parsed), *_unknown_words(vocabulary, parsed)]
    if not lines:
        lines = [f"no subject is named; say who or what is to be seen, as in {_example(vocabulary, parsed, prompt)}"]
    return "; ".join(lines)


def _subject_name(vocabulary: Vocabulary, parsed: ParsedPrompt) -> str:
    return vocabulary.name("subjects", parsed.subject, parsed.language) if parsed.subject else parsed.shape


def _colour(vocabulary: Vocabulary, parsed: ParsedPrompt) -> Iterator[str]:
    if parsed.shape:
        own = list(vocabulary.shapes(parsed.shape))
        refusal = f"no {_join_with_or(parsed.wrong_colours)} {parsed.shape}; " if parsed.wrong_colours else ""
        yield f"{refusal}a {parsed.shape} is {_join_with_or(own)} here, and this one is {own[0]}"
    elif parsed.wrong_colours:
        own = vocabulary.colours(parsed.subject)[:2]
        asked = _join_with_or(parsed.wrong_colours)
        line = f"the {_subject_name(vocabulary, parsed)} is {' and '.join(own)} here, not {asked}"
        kind = vocabulary.tables["subjects"][parsed.subject]["kind"]
        alternatives = [
            key for key in vocabulary.keys("subjects") if vocabulary.colours(key)[:1] == [parsed.wrong_colours[0]]
        ]
        alternatives.sort(key=lambda key: vocabulary.tables["subjects"][key]["kind"] != kind)
        names = [vocabulary.name("subjects", key, parsed.language) for key in alternatives[:3]]
        yield f"{line} ({parsed.wrong_colours[0]} things: {', '.join(names)})" if alternatives else line


def _extra_mentions(vocabulary: Vocabulary, parsed: ParsedPrompt) -> Iterator[str]:
    for slot, table, label in (
        ("subject", "subjects", "subject"),
        ("setting", "settings", "place"),
        ("motion", "motions", "motion"),
    ):
        dropped = [vocabulary.name(table, f.key, parsed.language) for f in parsed.extra_mentions if f.slot == slot]
        if dropped:
            kept = vocabulary.name(table, getattr(parsed, slot), parsed.language)
            yield f"one {label} a clip: {kept}, without {', '.join(dropped)}"


def _unpaintable_subjects(vocabulary: Vocabulary, parsed: ParsedPrompt) -> Iterator[str]:
    """A note for each subject that cannot be painted, with the closest that can."""
    for word in parsed.unpaintable_subjects:
        options = [
            vocabulary.name("subjects", key, parsed.language) for key in vocabulary.substitutes("stranger", word)
        ]
        yield f"no {word}; try {', '.join(options)}" if options else f"no {word}"


def _replacements(vocabulary: Vocabulary, parsed: ParsedPrompt) -> Iterator[str]:
    """A note for each setting and motion that cannot be painted, with what ``prompt_expansion`` puts in its place."""
    setting, motion = substitutes_for(vocabulary, parsed)
    for n, word in enumerate(parsed.unpaintable_settings):
        instead = (
            f"{vocabulary.name('settings', setting, parsed.language)} stands in" if setting and not n else "left out"
        )
        yield f"no {LEAD.sub('', word)}; {instead}"
    for n, word in enumerate(parsed.unpaintable_motions):
        instead = f'"{vocabulary.phrase("motions", motion, parsed.language)}" stands in' if motion and not n else ""
        yield f'no "{word}"; {instead or "left out"}'


def substitutes_for(vocabulary: Vocabulary, parsed: ParsedPrompt) -> tuple[str, str]:
    """The (setting, motion) that are painted instead of those in a prompt that cannot be; "" where the prompt names one
    that can be painted, or none at all."""
    settings = [key for word in parsed.unpaintable_settings[:1] for key in vocabulary.substitutes("place", word)]
    motions = [key for word in parsed.unpaintable_motions[:1] for key in vocabulary.substitutes("deed", word)]
    setting = settings[0] if settings and not parsed.setting else ""
    return setting, motions[0] if motions and not (parsed.motion or parsed.camera) else ""


def _unknown_words(vocabulary: Vocabulary, parsed: ParsedPrompt) -> Iterator[str]:
    corrections = {word: correction for word in parsed.unknown_words if (correction := correction_of(vocabulary, word))}
    yield from (f'no "{word}"; did you mean {correction}?' for word, correction in corrections.items())
    if rest := [f'"{word}"' for word in parsed.unknown_words if word not in corrections]:
        yield f"does not know {', '.join(rest)}"


def correction_of(vocabulary: Vocabulary, word: str) -> str:
    """The subject or setting that this word is likely a typing mistake for; "" for none."""
    from difflib import get_close_matches

    if len(word) < MIN_TYPO or not word.isascii():
        return ""
    names = [
        n for table in ("subjects", "settings") for row in vocabulary.tables[table].values() for n in row["english"]
    ]
    close = get_close_matches(word, [n for n in names if " " not in n], n=1, cutoff=TYPO_RATIO)
    return close[0] if close else ""


def _join_with_or(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _example(vocabulary: Vocabulary, parsed: ParsedPrompt, prompt: str) -> str:
    """A prompt that can be painted: the same setting with a subject in it."""
    keys = vocabulary.keys("subjects")
    subject = keys[zlib.crc32(prompt.encode()) % len(keys)]
    setting = parsed.setting or vocabulary.tables["subjects"][subject]["home"]
    return f'"{vocabulary.sentence(subject, setting, "", parsed.language)}"'
