"""Everything that the embedded model can paint, as lists, and random prompts."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from sora.models.mini.vocabulary import Vocabulary, load

PANNED = ("up", "down", "bounce", "spin")  # motions that were trained together with a moving camera
DISTORTING = ("bounce", "spin")  # motions in which most subjects lose their shape: listed, but in no random prompt
EXTRAS = 0.3  # share of the prompts with a camera or a weather
CHINESE = 4  # every so many-th prompt is Chinese


@dataclass(frozen=True)
class Repertoire:
    """lists: all subjects, settings, motions, cameras, weathers and hours, as a person would write them in a prompt."""

    vocabulary: Vocabulary
    lists: dict[str, list[str]]

    def prompts(self, count: int, rng: Random) -> list[str]:
        """``count`` random prompts, all different, every fourth in Chinese, without motions that distort subjects."""
        languages = ["zh" if n % CHINESE == CHINESE - 1 else "en" for n in range(count)]
        found: dict[str, None] = {}
        while len(found) < count:
            found[self._prompt(rng, languages[len(found)])] = None
        return list(found)

    def _prompt(self, rng: Random, language: str) -> str:
        vocabulary = self.vocabulary
        subject, setting = (rng.choice(vocabulary.keys(slot)) for slot in ("subjects", "settings"))
        motion = rng.choice([key for key in vocabulary.keys("motions") if key not in DISTORTING])
        text = vocabulary.sentence(subject, setting, motion, language)
        if rng.random() >= EXTRAS:
            return text
        slot = "cameras" if motion in PANNED and rng.random() < 0.5 else "weathers"
        separator = ", " if language == "en" else "，"
        return text + separator + vocabulary.phrase(slot, rng.choice(vocabulary.keys(slot)), language)


def repertoire(name: str) -> Repertoire:
    """The repertoire of the vocabulary in an asset. Raises ModelError."""
    vocabulary = load(name)
    names = {slot: [vocabulary.name(slot, key) for key in vocabulary.keys(slot)] for slot in ("subjects", "settings")}
    phrases = {
        slot: [vocabulary.phrase(slot, key) for key in vocabulary.keys(slot)]
        for slot in ("motions", "cameras", "weathers")
    }
    return Repertoire(
        vocabulary, names | phrases | {"hours": [vocabulary.phrase("hours", key) for key in vocabulary.keys("hours")]}
    )
