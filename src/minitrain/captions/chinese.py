"""Terse, plain and long Chinese captions. The tables separate words by spaces, which are removed here."""

from __future__ import annotations

from random import Random

from minitrain.captions import motion_phrases, scene_phrases, setting_phrases
from minitrain.captions.english import Facts
from minitrain.captions.fillers import CHINESE_OPENINGS, CHINESE_SENTENCES, CHINESE_TAILS
from minitrain.captions.subject_names import chinese_names, chinese_noun_phrase
from minitrain.scene import MOTIONS

SIDES = {"left": "左", "right": "右", "": ""}
MIN_CHARACTERS = 121  # of a long caption, at least
UNNAMED = ("某个 东西", "它", "什么 东西")
SUBJECT_PATTERNS = ("画面 中 有 {}", "我们 看到 {}", "主角 是 {}", "{} 出现 在 画面 中", "这里 有 {}")
SETTING_PATTERNS = ("故事 发生 {}", "场景 设 {}", "一切 都 发生 {}", "我们 身 {}")
CLAUSE_PATTERNS = ("另外 {}", "同时 {}", "此外 {}", "{}", "{}")
STYLE_PATTERNS = ("风格 是 {}", "画风 是 {}", "采用 {}", "{}")


def motion_phrase(motion: str, rng: Random, *, gaits: bool) -> str:
    key, side, other = motion_phrases.split_side(motion)
    phrases = motion_phrases.CHINESE[key]
    if key == "left" and not gaits:
        phrases += motion_phrases.CHINESE_GAITS
    return rng.choice(phrases).format(side=SIDES[side], other=SIDES[other])


def clauses(facts: Facts, rng: Random) -> list[str]:
    """Phrases for the camera, weather, hour, style, event and second actor, as far as they are stated."""
    phrases = []
    for slot in ("camera", "weather", "hour", "style", "event"):
        if facts[slot]:
            key, side, _ = motion_phrases.split_side(facts[slot])
            phrase = rng.choice(scene_phrases.CHINESE[slot][key]).format(side=SIDES[side])
            phrases.append(
                rng.choice(STYLE_PATTERNS[:2]).format(phrase) if slot == "style" and rng.random() < 0.3 else phrase
            )
    if facts["second"] or facts["relation"]:
        other = chinese_noun_phrase(facts["second"], rng) if facts["second"] else scene_phrases.CHINESE_UNNAMED_SECOND
        patterns = (
            scene_phrases.CHINESE["relation"][facts["relation"]]
            if facts["relation"]
            else scene_phrases.CHINESE_UNRELATED_SECOND
        )
        phrases.append(rng.choice(patterns).format(b=other))
    return phrases


def second_shot_phrase(value: str, rng: Random, *, gaits: bool) -> str:
    after = (
        motion_phrase(value, rng, gaits=gaits)
        if value in MOTIONS
        else rng.choice(setting_phrases.chinese_phrases(value))
    )
    return f"{rng.choice(scene_phrases.CHINESE_CUT_WORDS)} {after}"


def join_words(text: str) -> str:
    """Words as they are written, without spaces, except around Latin letters."""
    out = ""
    for word in text.split():
        out += f" {word}" if out and out[-1].isascii() and word[0].isascii() else word
    return out


def terse(facts: Facts, rng: Random, *, gaits: bool) -> str:
    words = [
        rng.choice(chinese_names(facts["subject"])) if facts["subject"] else "",
        rng.choice(setting_phrases.chinese_nouns(facts["setting"])) if facts["setting"] else "",
        motion_phrase(facts["motion"], rng, gaits=gaits) if facts["motion"] else "",
        *clauses(facts, rng),
    ]
    words = [w for w in words if w]
    if rng.random() < 0.4:
        rng.shuffle(words)
    if facts["shots"]:
        words.append(second_shot_phrase(facts["shots"], rng, gaits=gaits))
    return rng.choice(("，", "，", "、", " ", "。")).join(join_words(w) for w in words)


def plain(facts: Facts, rng: Random, *, gaits: bool) -> str:
    what = chinese_noun_phrase(facts["subject"], rng) if facts["subject"] else rng.choice(UNNAMED)
    does = motion_phrase(facts["motion"], rng, gaits=gaits) if facts["motion"] else ""
    where = rng.choice(setting_phrases.chinese_phrases(facts["setting"])) if facts["setting"] else ""
    sentence = " ".join(
        rng.choice(((what, where, does), (what, where, does), (where, what, does), (what, does, where)))
    )
    if rng.random() < 0.15:
        sentence = f"{rng.choice(CHINESE_OPENINGS)} {sentence}"
    clauses_so_far = [sentence]
    for clause in clauses(facts, rng) + ([rng.choice(CHINESE_TAILS)] if rng.random() < 0.08 else []):
        clauses_so_far.insert(len(clauses_so_far) if rng.random() < 0.7 else 0, clause)
    if facts["shots"]:
        clauses_so_far.append(second_shot_phrase(facts["shots"], rng, gaits=gaits))
    return "，".join(join_words(s) for s in clauses_so_far) + rng.choice(("", "", "。"))


def long(facts: Facts, rng: Random, *, gaits: bool) -> str:
    """A description of at least MIN_CHARACTERS characters."""
    what = chinese_noun_phrase(facts["subject"], rng) if facts["subject"] else rng.choice(UNNAMED)
    first = rng.choice(SUBJECT_PATTERNS).format(what)
    sentences = [first]
    if facts["motion"]:
        sentences.append(f"它 {motion_phrase(facts['motion'], rng, gaits=gaits)}")
    if facts["setting"]:
        sentences.append(
            rng.choice(SETTING_PATTERNS).format(rng.choice(setting_phrases.chinese_phrases(facts["setting"])))
        )
    sentences += [rng.choice(CLAUSE_PATTERNS).format(c) for c in clauses(facts, rng)]
    fillers = rng.sample(CHINESE_SENTENCES, len(CHINESE_SENTENCES))
    while sum(len(join_words(s)) for s in sentences) < MIN_CHARACTERS:
        sentences.append(fillers.pop())
    rng.shuffle(sentences)
    if rng.random() < 0.6:
        sentences.remove(first)
        sentences.insert(0, first)
    if facts["shots"]:
        sentences.append(second_shot_phrase(facts["shots"], rng, gaits=gaits))
    return "。".join(join_words(s) for s in sentences) + "。"
