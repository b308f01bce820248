"""Every word that captions of a world can contain, for its tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minitrain.captions import chinese, english, english_long, fillers, motion_phrases, scene_phrases, setting_phrases
from minitrain.captions.subject_names import chinese_names, names, plural, to_participle, verbs
from minitrain.worlds.world import World

SMALL_WORDS = (
    "a an the one something it its and with of to in on at is are i you we this that there",
    "left right leftwards rightwards leftward rightward sideways backwards forwards side hand hands video picture",
)


def english_words(world: World) -> list[str]:
    """Whole English words, lower case, sorted."""
    found = {w for text in _english(world) for w in re.findall(r"[a-z0-9]+", text.lower())}
    return sorted(found - {"verb", "b"})


def chinese_words(world: World) -> list[str]:
    """Whole Chinese words, sorted."""
    return sorted({w for text in _chinese(world) for w in re.findall(r"[\u4e00-\u9fff]+", text)})


def _english(world: World) -> Iterator[str]:
    for subject in world.subjects:
        own = {*verbs(subject, gaits=False), *verbs(subject, gaits=True)}
        yield from (*names(subject), *map(plural, names(subject)), *own, *map(to_participle, own))
    for setting in world.settings:
        yield from (*setting_phrases.phrases(setting), *setting_phrases.nouns(setting))
    for key in {motion_phrases.split_side(m)[0] for m in world.motions}:
        phrases = [p.replace("{verb} ", "") for p in motion_phrases.FINITE[key]]
        yield from (*phrases, *map(to_participle, phrases), *motion_phrases.PARTICIPLES[key], *motion_phrases.BARE[key])
    yield from _phrases_of(
        scene_phrases.CAMERA | {k: scene_phrases.CAMERA[k] + v for k, v in scene_phrases.MORE_CAMERA.items()},
        world.cameras,
    )
    yield from _phrases_of(scene_phrases.WEATHER, world.weathers)
    yield from _phrases_of(scene_phrases.HOUR, world.hours)
    yield from _phrases_of(scene_phrases.STYLE, world.styles)
    yield from _phrases_of(scene_phrases.RELATION, world.relations)
    yield from _phrases_of(scene_phrases.EVENT, world.events)
    yield from (*scene_phrases.UNRELATED_SECOND, *(scene_phrases.CUT_WORDS if world.cut_share else ()))
    yield from (*fillers.OPENINGS, *fillers.ADJECTIVES, *fillers.ASIDES, *fillers.TAILS, *fillers.SENTENCES)
    yield from (
        *english_long.SUBJECT_PATTERNS,
        *english_long.MOTION_PATTERNS,
        *english_long.SETTING_PATTERNS,
        *english_long.SETTING_NOUN_PATTERNS,
        *english_long.CLAUSE_PATTERNS,
        *english_long.HOUR_PATTERNS,
        *english_long.STYLE_PATTERNS,
    )
    yield from (
        *SMALL_WORDS,
        *english.UNNAMED,
        *(motion_phrases.PLAIN_VERBS),
        *map(to_participle, motion_phrases.PLAIN_VERBS),
    )


def _chinese(world: World) -> Iterator[str]:
    for subject in world.subjects:
        yield from chinese_names(subject)
    for setting in world.settings:
        yield from (*setting_phrases.chinese_phrases(setting), *setting_phrases.chinese_nouns(setting))
    yield from _phrases_of(motion_phrases.CHINESE, world.motions)
    for slot, values in (
        *(("camera", world.cameras), ("weather", world.weathers), ("hour", world.hours), ("style", world.styles)),
        *(("relation", world.relations), ("event", world.events)),
    ):
        yield from _phrases_of(scene_phrases.CHINESE[slot], values)
    yield from (
        *motion_phrases.CHINESE_GAITS,
        *scene_phrases.CHINESE_UNRELATED_SECOND,
        *(scene_phrases.CHINESE_CUT_WORDS if world.cut_share else ()),
    )
    yield from (*fillers.CHINESE_OPENINGS, *fillers.CHINESE_ADJECTIVES, *fillers.CHINESE_TAILS)
    yield from (
        *fillers.CHINESE_SENTENCES,
        *chinese.SUBJECT_PATTERNS,
        *chinese.SETTING_PATTERNS,
        *chinese.CLAUSE_PATTERNS,
        *chinese.STYLE_PATTERNS,
    )
    yield from (
        *chinese.UNNAMED,
        "一个 一只 一位 一辆 一棵 这个 左 右 左边 右边 画面",
        scene_phrases.CHINESE_UNNAMED_SECOND,
    )


def _phrases_of(table: dict[str, tuple[str, ...]], values: Iterable[str]) -> Iterator[str]:
    for key in {motion_phrases.split_side(v)[0] for v in values}:
        yield from table.get(key, ())
