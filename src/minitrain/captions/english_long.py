"""Long English captions of over a hundred words: whole sentences in shuffled order, with fillers between them."""

from __future__ import annotations

from random import Random

from minitrain.captions import scene_phrases, setting_phrases
from minitrain.captions.english import Facts, camera_phrase, motion_phrase, second_actor_phrase, second_shot_phrase
from minitrain.captions.fillers import SENTENCES
from minitrain.captions.subject_names import names, noun_phrase

MIN_WORDS = 101  # at least
SUBJECT_PATTERNS = (
    "The film shows {}.",
    "In this animation there is {}.",
    "We are looking at {}.",
    "The hero is {}.",
    "You can see {}.",
)
MOTION_PATTERNS = (
    "It {}.",
    "It {}, and does so without haste.",
    "All the while it {}.",
    "What it does is simple: it {}.",
)
SETTING_PATTERNS = (
    "All of it happens {}.",
    "The scene is set {}.",
    "We find ourselves {}.",
    "The story takes place {}.",
    "Everything goes on {}.",
)
SETTING_NOUN_PATTERNS = ("The place around is this: {}.", "The background is {}.", "Behind everything lies the {}.")
CLAUSE_PATTERNS = (
    "In addition, {}.",
    "One more thing can be seen: {}.",
    "At the same time, {}.",
    "There is also this: {}.",
)
HOUR_PATTERNS = ("It happens {}.", "The time is easy to tell: {}.", "We are there {}.")
STYLE_PATTERNS = ("The style is {}.", "The picture is made like this: {}.", "It is done as {}.", "The look: {}.")


def long(facts: Facts, subject: str, rng: Random, *, gaits: bool) -> str:
    """A flowing description of at least MIN_WORDS words, whatever it states."""
    sentences = _sentences(facts, subject, rng, gaits=gaits)
    fillers = rng.sample(SENTENCES, len(SENTENCES))
    while sum(len(s.split()) for s in sentences) < MIN_WORDS:
        sentences.append(fillers.pop())
    first = sentences[0]
    rng.shuffle(sentences)
    if rng.random() < 0.6:  # stories tend to begin with their hero
        sentences.remove(first)
        sentences.insert(0, first)
    if facts["shots"]:
        sentences.append(_sentence("{}.", second_shot_phrase(facts, subject, rng, gaits=gaits)))
    return " ".join(sentences)


def _sentences(facts: Facts, subject: str, rng: Random, *, gaits: bool) -> list[str]:
    """Everything stated, in one or two sentences each, the subject first."""
    sentences = [*_subject_sentences(facts, subject, rng, gaits=gaits)]
    if facts["setting"] and rng.random() < 0.8:
        sentences.append(_sentence(rng.choice(SETTING_PATTERNS), rng.choice(setting_phrases.phrases(facts["setting"]))))
    elif facts["setting"]:
        sentences.append(
            _sentence(rng.choice(SETTING_NOUN_PATTERNS), rng.choice(setting_phrases.nouns(facts["setting"])))
        )
    clauses = [
        second_actor_phrase(facts, rng),
        camera_phrase(facts["camera"], rng) if facts["camera"] else "",
        rng.choice(scene_phrases.WEATHER[facts["weather"]]) if facts["weather"] else "",
        rng.choice(scene_phrases.EVENT[facts["event"]]) if facts["event"] else "",
    ]
    sentences += [_sentence(rng.choice((*CLAUSE_PATTERNS, "{}.", "{}.")), clause) for clause in clauses if clause]
    if facts["hour"]:
        sentences.append(_sentence(rng.choice(HOUR_PATTERNS), rng.choice(scene_phrases.HOUR[facts["hour"]])))
    if facts["style"]:
        sentences.append(_sentence(rng.choice(STYLE_PATTERNS), rng.choice(scene_phrases.STYLE[facts["style"]])))
    return sentences


def _subject_sentences(facts: Facts, subject: str, rng: Random, *, gaits: bool) -> list[str]:
    does = motion_phrase(facts["motion"], subject, rng, gaits=gaits) if facts["motion"] else ""
    if not facts["subject"]:
        return [_sentence("Something {}.", does)] if does else ["Something can be seen."]
    if not does:
        return [_sentence(rng.choice(SUBJECT_PATTERNS), noun_phrase(facts["subject"], rng))]
    if rng.random() < 0.4:
        return [_sentence("{}.", f"{noun_phrase(facts['subject'], rng)} {does}")]
    act = f"The {rng.choice(names(facts['subject']))} {{}}." if rng.random() < 0.3 else rng.choice(MOTION_PATTERNS)
    return [_sentence(rng.choice(SUBJECT_PATTERNS), noun_phrase(facts["subject"], rng)), _sentence(act, does)]


def _sentence(pattern: str, words: str) -> str:
    text = pattern.format(words)
    return text[0].upper() + text[1:]
