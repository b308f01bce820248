"""Everything that a world's captions can state, as data for run time: ``python -m minitrain.vocabulary --world rich``.

``sora.models.mini`` reads it to tell users beforehand what the model can generate. It is made from the tables of
``captions`` and published with the weights, so that the two never disagree.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minitrain.captions import (
    chinese,
    colours,
    english,
    english_long,
    fillers,
    motion_phrases,
    neutral_words,
    scene_phrases,
    setting_phrases,
    unknown_words,
)
from minitrain.captions.subject_names import chinese_names, names, verbs
from minitrain.scene import WEATHERS
from minitrain.worlds.subjects import SUBJECTS
from minitrain.worlds.world import WORLDS, World

FILE = "mini-words.json"

DEFAULT_MOTION, DEFAULT_SETTING = "still", "meadow"
MOTION_BY_SUBJECT: dict[str, str] = {
    **dict.fromkeys(("balloon", "rocket"), "up"),
    **dict.fromkeys(("car", "bus", "taxi", "fire engine", "locomotive", "sailboat", "helicopter"), "left"),
    **dict.fromkeys(("fish", "whale", "dolphin", "turtle", "snail", "bee", "butterfly", "flying saucer"), "left"),
    **dict.fromkeys(("dog", "elephant", "penguin", "pig", "rabbit", "duck", "chick", "dinosaur", "crab"), "left"),
    **dict.fromkeys(("red ball", "blue ball", "yellow ball", "purple ball", "ghost"), "left"),
    "red heart": "grow",
}
"""By subject; any other's is ``MOTION``."""

SETTING_BY_SUBJECT: dict[str, str] = {
    **dict.fromkeys(("fish", "whale", "dolphin", "octopus", "turtle"), "sea"),
    **dict.fromkeys(("car", "bus", "taxi", "fire engine", "robot"), "city"),
    **dict.fromkeys(("rocket", "flying saucer", "yellow star"), "space"),
    **dict.fromkeys(("penguin", "snowman"), "snow"),
    **dict.fromkeys(("bear", "fox", "mushroom"), "forest"),
    **dict.fromkeys(("ghost", "pumpkin"), "night"),
    **dict.fromkeys(("lion", "dinosaur"), "desert"),
    **dict.fromkeys(("pig", "chick"), "farm"),
    **dict.fromkeys(("locomotive", "helicopter"), "mountains"),
    **dict.fromkeys(("duck", "sailboat", "frog"), "lake"),
    "crab": "beach",
    "teddy": "village",
    "red heart": "sunset",
}
"""By subject; any other's is ``HOME``."""


def vocabulary(world: World) -> dict[str, Any]:
    """The phrases of a world's captions, by the fact that they state. Phrases contain ``{verb}`` for any of
    ``verbs``."""
    return {
        "subjects": {key: _subject(key) for key in world.subjects},
        "settings": {key: _setting(key) for key in world.settings},
        "motions": {key: _motion(key) for key in world.motions},
        "cameras": {key: _camera_or_weather("camera", key) for key in world.cameras if key != "static"},
        "weathers": {key: _camera_or_weather("weather", key) for key in world.weathers if key},
        "hours": {key: _camera_or_weather("hour", key) for key in world.hours},
        "verbs": sorted({v for key in SUBJECTS for v in verbs(key, gaits=False)} | set(motion_phrases.PLAIN_VERBS)),
        "colours": _colours(),
        "strangers": _unknown_subjects(world),
        "places": _unknown_places(world),
        "deeds": _nearest_known(unknown_words.VERBS_BY_MOTIONS, world.motions),
        "looks": _unknown_looks(world),
        "numbers": [*neutral_words.NUMBER_WORDS, *neutral_words.CHINESE_NUMBER_WORDS.split()],
        "silent": _neutral_phrases(),
    }


def _subject(key: str) -> dict[str, Any]:
    subject = SUBJECTS[key]
    return {
        "kind": subject.kind,
        "shape": subject.shape,
        "colours": colours.colours(key),
        "moves": MOTION_BY_SUBJECT.get(key, DEFAULT_MOTION),
        "home": SETTING_BY_SUBJECT.get(key, DEFAULT_SETTING),
        "english": names(key),
        "chinese": chinese_names(key),
    }


def _setting(key: str) -> dict[str, Any]:
    return {
        "english": _unique((*setting_phrases.phrases(key), *setting_phrases.nouns(key), key)),
        "chinese": _join_chinese((*setting_phrases.chinese_phrases(key), *setting_phrases.chinese_nouns(key))),
    }


def _motion(key: str) -> dict[str, Any]:
    table, side, other = motion_phrases.split_side(key)
    phrases = (*motion_phrases.FINITE[table], *motion_phrases.PARTICIPLES[table], *motion_phrases.BARE[table])
    gaits = motion_phrases.CHINESE_GAITS if table == "left" else ()
    zh = (*motion_phrases.CHINESE[table], *gaits)
    sides = {"side": chinese.SIDES[side], "other": chinese.SIDES[other]}
    return {
        "english": _unique(p.format(verb="{verb}", side=side, other=other) for p in phrases),
        "chinese": _join_chinese(p.format(**sides) for p in zh),
    }


def _camera_or_weather(slot: str, key: str) -> dict[str, Any]:
    tables = {"camera": scene_phrases.CAMERA, "weather": scene_phrases.WEATHER, "hour": scene_phrases.HOUR}
    table, side, _ = motion_phrases.split_side(key)
    more = scene_phrases.MORE_CAMERA.get(table, ()) if slot == "camera" else ()
    return {
        "english": _unique(p.format(side=side) for p in (*tables[slot][table], *more)),
        "chinese": _join_chinese(p.format(side=chinese.SIDES[side]) for p in scene_phrases.CHINESE[slot][table]),
    }


def _colours() -> dict[str, list[str]]:
    """Each colour with all its spellings."""
    spelled = {colour: [colour, zh, f"{zh.removesuffix('色')}色"] for colour, zh in colours.CHINESE.items()}
    for spelling, colour in colours.SPELLINGS.items():
        spelled[colour].append(spelling)
    return {colour: _unique(words) for colour, words in spelled.items()}


def _unknown_subjects(world: World) -> dict[str, list[str]]:
    """Names of subjects that the world does not have, each with the most similar ones that it has."""
    found: dict[str, list[str]] = {}
    for table in (unknown_words.NOUNS_BY_GROUP, unknown_words.CHINESE_NOUNS_BY_GROUP):
        for group, words in table.items():
            found |= dict.fromkeys(words.split(), _first_known(unknown_words.NEAREST_SUBJECTS[group], world.subjects))
    for key, subject in SUBJECTS.items():
        if key not in world.subjects and not subject.shape:
            like = _first_known(
                unknown_words.NEAREST_SUBJECTS[unknown_words.GROUP_BY_KIND[subject.kind]], world.subjects
            )
            for name in (*names(key), *chinese_names(key)):
                found.setdefault(name, found.get(key, like))
    taken = {n for key in world.subjects for n in (*names(key), *chinese_names(key))}
    coloured = {name for name in found if _is_recoloured_subject(name, taken)}
    return {name: like for name, like in sorted(found.items()) if name not in taken | coloured}


def _is_recoloured_subject(name: str, taken: set[str]) -> bool:
    """Whether a name is that of a subject of the world in another colour: "blue car"."""
    rest = {name.removeprefix(f"{colour} ") for colour in colours.CHINESE}
    rest |= {name.removeprefix(f"{zh}色").removeprefix(zh) for zh in colours.CHINESE.values()}
    return bool((rest - {name}) & taken)


def _unknown_places(world: World) -> dict[str, list[str]]:
    found = _nearest_known(unknown_words.PLACES_BY_SETTINGS, world.settings)
    for key in setting_phrases.PHRASES:
        if key in world.settings or key not in found:
            continue
        phrases = (*setting_phrases.phrases(key), *setting_phrases.nouns(key))
        for phrase in (
            *phrases,
            *_join_chinese((*setting_phrases.chinese_phrases(key), *setting_phrases.chinese_nouns(key))),
        ):
            found.setdefault(phrase, found[key])
    taken = {
        n
        for key in world.settings
        for n in (*setting_phrases.nouns(key), *_join_chinese(setting_phrases.chinese_nouns(key)))
    }
    return {name: like for name, like in sorted(found.items()) if name not in taken}


def _unknown_looks(world: World) -> list[str]:
    """Phrases for cameras, weathers and styles that the world does not have."""
    absent = {
        "camera": [
            c for c in scene_phrases.CAMERA if c not in {motion_phrases.split_side(c)[0] for c in world.cameras}
        ],
        "weather": [w for w in WEATHERS if w and w not in world.weathers],
    }
    tables = {"camera": scene_phrases.CAMERA, "weather": scene_phrases.WEATHER}
    phrases = [p for slot, keys in absent.items() for key in keys for p in tables[slot][key]]
    zh = [p for slot, keys in absent.items() for key in keys for p in scene_phrases.CHINESE[slot][key]]
    styles = [style for style in scene_phrases.STYLE if style not in world.styles]
    phrases += [p for style in styles for p in scene_phrases.STYLE[style]]
    zh += [p for style in styles for p in scene_phrases.CHINESE["style"][style]]
    return [*_unique(phrases), *_join_chinese(zh)]


def _neutral_phrases() -> list[str]:
    """Phrases and words that may occur in any prompt and state nothing that is drawn, in both languages."""
    sentences = (
        *(*fillers.OPENINGS, *fillers.ADJECTIVES, *fillers.ASIDES, *fillers.TAILS, *fillers.SENTENCES),
        *(
            *english_long.SUBJECT_PATTERNS,
            *english_long.MOTION_PATTERNS,
            *english_long.SETTING_PATTERNS,
            *english_long.SETTING_NOUN_PATTERNS,
            *english_long.CLAUSE_PATTERNS,
            *english_long.HOUR_PATTERNS,
            *english_long.STYLE_PATTERNS,
        ),
        *(*english.UNNAMED, *scene_phrases.CAMERA_STATIC, *scene_phrases.STYLE["flat"]),
    )
    zh = (
        *(*fillers.CHINESE_OPENINGS, *fillers.CHINESE_ADJECTIVES, *fillers.CHINESE_TAILS, *fillers.CHINESE_SENTENCES),
        *(
            *chinese.SUBJECT_PATTERNS,
            *chinese.SETTING_PATTERNS,
            *chinese.CLAUSE_PATTERNS,
            *chinese.STYLE_PATTERNS,
            *chinese.UNNAMED,
        ),
        *scene_phrases.CHINESE["style"]["flat"],
    )
    phrases = [part.strip(" .,:").lower() for sentence in sentences for part in sentence.split("{}")]
    phrases += [part.replace(" ", "") for sentence in zh for part in sentence.split("{}")]
    for table in (
        neutral_words.SMALL_WORDS,
        neutral_words.CHINESE_SMALL_WORDS,
        neutral_words.MOOD_WORDS,
        neutral_words.CHINESE_MOOD_WORDS,
    ):
        phrases += table.split()
    phrases += [word for sentence in zh for word in sentence.replace("{}", " ").split()]
    return sorted(set(phrases) - {""})


def _nearest_known(table: Mapping[tuple[str, ...], str], keys: Sequence[str]) -> dict[str, list[str]]:
    """Each word of the table with those of its values that the world has, if there are any."""
    found = {word: _first_known(near, keys) for near, words in table.items() for word in words.split()}
    return {word: near for word, near in sorted(found.items()) if near and word not in keys}


def _first_known(like: Iterable[str], keys: Sequence[str], count: int = 3) -> list[str]:
    return [key for key in like if key in keys][:count]


def _unique(phrases: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(phrases))


def _join_chinese(phrases: Iterable[str]) -> list[str]:
    """Chinese words as they are written, without spaces."""
    return _unique(phrase.replace(" ", "") for phrase in phrases)


def to_json(world: World) -> str:
    """The file's text, with one row of a table on each line."""
    return "{\n" + ",\n".join(_json_table(name, rows) for name, rows in vocabulary(world).items()) + "\n}\n"


def _json_table(name: str, rows: Mapping[str, Any] | Sequence[str]) -> str:
    if not isinstance(rows, Mapping):
        return f" {_json(name)}: {_json(rows)}"
    return f" {_json(name)}: {{\n" + ",\n".join(f"  {_json(key)}: {_json(row)}" for key, row in rows.items()) + "\n }"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def write(world: World, assets: Path) -> list[str]:
    """Write the file if it changed; returns its name, or nothing."""
    path, text = assets / FILE, to_json(world)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return []
    path.write_text(text, encoding="utf-8")
    return [FILE]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain.vocabulary", description=__doc__)
    parser.add_argument("--world", choices=WORLDS, default="rich")
    parser.add_argument("--into", type=Path, default=Path("src/sora/assets"))
    args = parser.parse_args(argv)
    write(WORLDS[args.world], args.into)


if __name__ == "__main__":
    main()
