"""Terse, plain and long Chinese captions. Tables hold words apart, which are joined here."""

from __future__ import annotations

from random import Random

from minitrain.captions import motion_phrases, scene_phrases, setting_phrases
from minitrain.captions.english import Told
from minitrain.captions.fillers import CHINESE_OPENINGS, CHINESE_SENTENCES, CHINESE_TAILS
from minitrain.captions.subject_names import chinese_names, chinese_thing
from minitrain.scene import MOTIONS

SIDES = {"left": "左", "right": "右", "": ""}
CHARACTERS = 121  # of a long caption, at least
SOMETHING = ("某个 东西", "它", "什么 东西")
SHOWN = ("画面 中 有 {}", "我们 看到 {}", "主角 是 {}", "{} 出现 在 画面 中", "这里 有 {}")
SET = ("故事 发生 {}", "场景 设 {}", "一切 都 发生 {}", "我们 身 {}")
ALSO = ("另外 {}", "同时 {}", "此外 {}", "{}", "{}")
STYLES = ("风格 是 {}", "画风 是 {}", "采用 {}", "{}")


def doing(motion: str, rng: Random, *, gaits: bool) -> str:
    key, side, other = motion_phrases.sided(motion)
    phrases = motion_phrases.CHINESE[key]
    if key == "left" and not gaits:
        phrases += motion_phrases.CHINESE_GAITS
    return rng.choice(phrases).format(side=SIDES[side], other=SIDES[other])


def clauses(told: Told, rng: Random) -> list[str]:
    """Camera, weather, hour, style, event and the second actor, as far as they are told."""
    said = []
    for slot in ("camera", "weather", "hour", "style", "event"):
        if told[slot]:
            key, side, _ = motion_phrases.sided(told[slot])
            phrase = rng.choice(scene_phrases.CHINESE[slot][key]).format(side=SIDES[side])
            said.append(rng.choice(STYLES[:2]).format(phrase) if slot == "style" and rng.random() < 0.3 else phrase)
    if told["second"] or told["relation"]:
        other = chinese_thing(told["second"], rng) if told["second"] else scene_phrases.CHINESE_NOBODY
        patterns = (
            scene_phrases.CHINESE["relation"][told["relation"]] if told["relation"] else scene_phrases.CHINESE_TOGETHER
        )
        said.append(rng.choice(patterns).format(b=other))
    return said


def change(value: str, rng: Random, *, gaits: bool) -> str:
    after = doing(value, rng, gaits=gaits) if value in MOTIONS else rng.choice(setting_phrases.chinese_phrases(value))
    return f"{rng.choice(scene_phrases.CHINESE_NEXT)} {after}"


def joined(text: str) -> str:
    """Words as they are written, without spaces, except around Latin letters."""
    out = ""
    for word in text.split():
        out += f" {word}" if out and out[-1].isascii() and word[0].isascii() else word
    return out


def terse(told: Told, rng: Random, *, gaits: bool) -> str:
    words = [
        rng.choice(chinese_names(told["subject"])) if told["subject"] else "",
        rng.choice(setting_phrases.chinese_nouns(told["setting"])) if told["setting"] else "",
        doing(told["motion"], rng, gaits=gaits) if told["motion"] else "",
        *clauses(told, rng),
    ]
    words = [w for w in words if w]
    if rng.random() < 0.4:
        rng.shuffle(words)
    if told["shots"]:
        words.append(change(told["shots"], rng, gaits=gaits))
    return rng.choice(("，", "，", "、", " ", "。")).join(joined(w) for w in words)


def plain(told: Told, rng: Random, *, gaits: bool) -> str:
    what = chinese_thing(told["subject"], rng) if told["subject"] else rng.choice(SOMETHING)
    does = doing(told["motion"], rng, gaits=gaits) if told["motion"] else ""
    where = rng.choice(setting_phrases.chinese_phrases(told["setting"])) if told["setting"] else ""
    sentence = " ".join(
        rng.choice(((what, where, does), (what, where, does), (where, what, does), (what, does, where)))
    )
    if rng.random() < 0.15:
        sentence = f"{rng.choice(CHINESE_OPENINGS)} {sentence}"
    said = [sentence]
    for clause in clauses(told, rng) + ([rng.choice(CHINESE_TAILS)] if rng.random() < 0.08 else []):
        said.insert(len(said) if rng.random() < 0.7 else 0, clause)
    if told["shots"]:
        said.append(change(told["shots"], rng, gaits=gaits))
    return "，".join(joined(s) for s in said) + rng.choice(("", "", "。"))


def long(told: Told, rng: Random, *, gaits: bool) -> str:
    """A description of more than CHARACTERS - 1 characters."""
    what = chinese_thing(told["subject"], rng) if told["subject"] else rng.choice(SOMETHING)
    first = rng.choice(SHOWN).format(what)
    said = [first]
    if told["motion"]:
        said.append(f"它 {doing(told['motion'], rng, gaits=gaits)}")
    if told["setting"]:
        said.append(rng.choice(SET).format(rng.choice(setting_phrases.chinese_phrases(told["setting"]))))
    said += [rng.choice(ALSO).format(c) for c in clauses(told, rng)]
    fillers = rng.sample(CHINESE_SENTENCES, len(CHINESE_SENTENCES))
    while sum(len(joined(s)) for s in said) < CHARACTERS:
        said.append(fillers.pop())
    rng.shuffle(said)
    if rng.random() < 0.6:
        said.remove(first)
        said.insert(0, first)
    if told["shots"]:
        said.append(change(told["shots"], rng, gaits=gaits))
    return "。".join(joined(s) for s in said) + "。"
