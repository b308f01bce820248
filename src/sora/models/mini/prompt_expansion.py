"""Prompt expansion: the text encoder is given prompts like those of its training, which name a setting and a motion.

A person's own prompt is what is shown and recorded; only the text encoder is given the expanded one.
"""

from __future__ import annotations

from dataclasses import replace

from sora.models.mini.advice import substitutes_for
from sora.models.mini.prompt_parser import ParsedPrompt, parse, phrases
from sora.models.mini.vocabulary import Vocabulary

SEPARATOR = {"en": ", ", "zh": "，"}


def expand(vocabulary: Vocabulary, prompt: str) -> str:
    """Add a gentle motion and a setting that suit the subject where the prompt names none, and make a plural subject
    singular, since several look like none. A prompt without a subject of the vocabulary is returned as it is."""
    parsed = parse(vocabulary, prompt)
    if not (parsed.subject or parsed.shape):
        return prompt
    text = _singular(vocabulary, prompt) if parsed.plural else prompt
    if parsed.shape:
        key = next(iter(vocabulary.shapes(parsed.shape).values()))
        parsed = replace(parsed, subject=key)
        text += SEPARATOR[parsed.language] + vocabulary.phrase("subjects", key, parsed.language)
    setting, motion = substitutes_for(vocabulary, parsed)
    added = [_motion(vocabulary, parsed, motion), _setting(vocabulary, parsed, setting)]
    return SEPARATOR[parsed.language].join([text, *(a for a in added if a)])


def _motion(vocabulary: Vocabulary, parsed: ParsedPrompt, nearest: str) -> str:
    """A motion for a prompt that has none; none for one with a moving camera, since those were trained with motions
    that suit only some subjects. nearest: to a motion that the prompt names and that cannot be painted."""
    if parsed.motion or parsed.camera:
        return ""
    gentle = vocabulary.tables["subjects"][parsed.subject]["moves"]
    if parsed.moves and not nearest and gentle in ("still", "left"):
        return "to the left" if parsed.language == "en" else vocabulary.phrase("motions", "left", parsed.language)
    return vocabulary.phrase("motions", nearest or gentle, parsed.language)


def _setting(vocabulary: Vocabulary, parsed: ParsedPrompt, nearest: str) -> str:
    """A setting for a prompt that has none: ``nearest`` to one that cannot be painted, else the subject's usual one."""
    if parsed.setting:
        return ""
    home = vocabulary.tables["subjects"][parsed.subject]["home"]
    return vocabulary.phrase("settings", nearest or home, parsed.language)


def _singular(vocabulary: Vocabulary, prompt: str) -> str:
    """The prompt without its numbers, and with subjects in the singular."""
    mentions = phrases(vocabulary, prompt)
    return " ".join(
        m.meaning.phrase if m.slot in ("subject", "shape") else m.text for m in mentions if m.slot != "number"
    )
