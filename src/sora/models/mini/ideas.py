"""All that the embedded model can paint, listed, and random prompts that use it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from sora.models.mini.vocabulary import Vocabulary, load

PANNED = ("up", "down", "bounce", "spin")  # motions that a moving camera was trained with
FRAYING = ("bounce", "spin")  # motions that most subjects lose their shape in: listed, but not what to begin with
EXTRAS = 0.3  # share of the prompts with a camera or a weather
CHINESE = 4  # every so many-th prompt is Chinese


@dataclass(frozen=True)
class Repertoire:
    """lists: what there is of subjects, settings, motions, cameras, weathers and hours, as a person says them."""

    vocabulary: Vocabulary
    lists: dict[str, list[str]]

    def prompts(self, count: int, rng: Random) -> list[str]:
        """Different random prompts, every fourth in Chinese, of what is painted as it stands and keeps its shape."""
        languages = ["zh" if n % CHINESE == CHINESE - 1 else "en" for n in range(count)]
        found: dict[str, None] = {}
        while len(found) < count:
            found[self._prompt(rng, languages[len(found)])] = None
        return list(found)

    def _prompt(self, rng: Random, language: str) -> str:
        words = self.vocabulary
        subject, setting = (rng.choice(words.keys(slot)) for slot in ("subjects", "settings"))
        motion = rng.choice([key for key in words.keys("motions") if key not in FRAYING])
        text = words.sentence(subject, setting, motion, language)
        if rng.random() >= EXTRAS:
            return text
        slot = "cameras" if motion in PANNED and rng.random() < 0.5 else "weathers"
        joint = ", " if language == "en" else "，"
        return text + joint + words.phrase(slot, rng.choice(words.keys(slot)), language)


def repertoire(name: str) -> Repertoire:
    """What the vocabulary in an asset holds. Raises ModelError."""
    words = load(name)
    plain = {slot: [words.name(slot, key) for key in words.keys(slot)] for slot in ("subjects", "settings")}
    told = {slot: [words.phrase(slot, key) for key in words.keys(slot)] for slot in ("motions", "cameras", "weathers")}
    return Repertoire(words, plain | told | {"hours": [words.phrase("hours", key) for key in words.keys("hours")]})
