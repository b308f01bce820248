"""Long captions, over a hundred words: whole sentences in shuffled order, with others between that tell nothing."""

from __future__ import annotations

from random import Random

from minitrain.captions import scene_phrases, setting_phrases
from minitrain.captions.english import Told, camera, change, company, doing
from minitrain.captions.fillers import SENTENCES
from minitrain.captions.subject_names import names, thing

WORDS = 101  # at least
SHOWN = (
    "The film shows {}.",
    "In this animation there is {}.",
    "We are looking at {}.",
    "The hero is {}.",
    "You can see {}.",
)
ACTS = ("It {}.", "It {}, and does so without haste.", "All the while it {}.", "What it does is simple: it {}.")
SET = (
    "All of it happens {}.",
    "The scene is set {}.",
    "We find ourselves {}.",
    "The story takes place {}.",
    "Everything goes on {}.",
)
NAMED_PLACE = ("The place around is this: {}.", "The background is {}.", "Behind everything lies the {}.")
ALSO = ("In addition, {}.", "One more thing can be seen: {}.", "At the same time, {}.", "There is also this: {}.")
HOURS = ("It happens {}.", "The time is easy to tell: {}.", "We are there {}.")
STYLES = ("The style is {}.", "The picture is made like this: {}.", "It is done as {}.", "The look: {}.")


def flowing(told: Told, subject: str, rng: Random, *, gaits: bool) -> str:
    """A flowing description of more than a hundred words, whatever it tells."""
    said = _sentences(told, subject, rng, gaits=gaits)
    fillers = rng.sample(SENTENCES, len(SENTENCES))
    while sum(len(s.split()) for s in said) < WORDS:
        said.append(fillers.pop())
    first = said[0]
    rng.shuffle(said)
    if rng.random() < 0.6:  # stories tend to begin with their hero
        said.remove(first)
        said.insert(0, first)
    if told["shots"]:
        said.append(_sentence("{}.", change(told, subject, rng, gaits=gaits)))
    return " ".join(said)


def _sentences(told: Told, subject: str, rng: Random, *, gaits: bool) -> list[str]:
    """Everything told, one sentence or two each, the subject first."""
    said = [*_hero(told, subject, rng, gaits=gaits)]
    if told["setting"] and rng.random() < 0.8:
        said.append(_sentence(rng.choice(SET), rng.choice(setting_phrases.phrases(told["setting"]))))
    elif told["setting"]:
        said.append(_sentence(rng.choice(NAMED_PLACE), rng.choice(setting_phrases.nouns(told["setting"]))))
    clauses = [
        company(told, rng),
        camera(told["camera"], rng) if told["camera"] else "",
        rng.choice(scene_phrases.WEATHER[told["weather"]]) if told["weather"] else "",
        rng.choice(scene_phrases.EVENT[told["event"]]) if told["event"] else "",
    ]
    said += [_sentence(rng.choice((*ALSO, "{}.", "{}.")), clause) for clause in clauses if clause]
    if told["hour"]:
        said.append(_sentence(rng.choice(HOURS), rng.choice(scene_phrases.HOUR[told["hour"]])))
    if told["style"]:
        said.append(_sentence(rng.choice(STYLES), rng.choice(scene_phrases.STYLE[told["style"]])))
    return said


def _hero(told: Told, subject: str, rng: Random, *, gaits: bool) -> list[str]:
    does = doing(told["motion"], subject, rng, gaits=gaits) if told["motion"] else ""
    if not told["subject"]:
        return [_sentence("Something {}.", does)] if does else ["Something can be seen."]
    if not does:
        return [_sentence(rng.choice(SHOWN), thing(told["subject"], rng))]
    if rng.random() < 0.4:
        return [_sentence("{}.", f"{thing(told['subject'], rng)} {does}")]
    act = f"The {rng.choice(names(told['subject']))} {{}}." if rng.random() < 0.3 else rng.choice(ACTS)
    return [_sentence(rng.choice(SHOWN), thing(told["subject"], rng)), _sentence(act, does)]


def _sentence(pattern: str, words: str) -> str:
    text = pattern.format(words)
    return text[0].upper() + text[1:]
