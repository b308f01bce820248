"""Captions state the facts that they list, and none of those that they leave out."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minitrain.captions import LANGUAGES, LENGTHS, SLOTS, caption, facts, motion_phrases, scene_phrases, setting_phrases
from minitrain.captions.chinese import join_words
from minitrain.captions.subject_names import chinese_names, names, plural, to_participle
from minitrain.captions.wordlist import chinese_words, english_words
from minitrain.scene import CAMERAS, EVENTS, HOURS, MOTIONS, RELATIONS, STYLES, WEATHERS, Actor, Film, Shot
from minitrain.worlds.settings import SETTINGS
from minitrain.worlds.subjects import SUBJECTS
from minitrain.worlds.world import WORLDS

LARGE = WORLDS["large"]


@st.composite
def films(draw: st.DrawFn) -> Film:
    """Any film there can be, also those that worlds do not draw."""
    of = lambda values: draw(st.sampled_from(sorted(values)))  # noqa: E731
    subject, pair = of(SUBJECTS), draw(st.booleans())
    actors = (Actor(subject, of(MOTIONS)), *([Actor(of(SUBJECTS), "still")] if pair else []))
    shots = [
        Shot(
            of(SETTINGS),
            actors,
            1,
            hour=of(HOURS),
            camera=of(CAMERAS),
            weather=of(WEATHERS),
            relation=of(RELATIONS) if pair else "",
            event=of(("", *EVENTS)),
        )
    ]
    if draw(st.booleans()):
        shots.append(Shot(of(SETTINGS), (Actor(subject, of(MOTIONS)),), 2))
    return Film(tuple(shots), of(STYLES))


SEEDS = st.integers(0, 2**32)
KINDS = [(length, language) for length in LENGTHS for language in LANGUAGES]


def pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the phrases, whatever stands for what is named in braces."""
    escaped = (re.sub(r"\\\{.*?\\\}", ".*", re.escape(p)) for p in phrases)
    return re.compile("|".join(escaped), re.IGNORECASE)


def in_table(table: dict[str, tuple[str, ...]], value: str) -> re.Pattern[str]:
    return pattern(table[motion_phrases.split_side(value)[0]])


def in_chinese(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return pattern(tuple(join_words(p) for p in phrases))


@given(films(), SEEDS, st.sampled_from(["terse", "plain", "long"]))
@settings(max_examples=150)
def test_english_captions_state_their_facts(film: Film, seed: int, length: str) -> None:
    written = caption(film, Random(seed), length=length, language="en")
    truth = facts(film)
    assert set(written.facts) == set(SLOTS)
    assert all(written.facts[slot] in ("", truth[slot]) for slot in SLOTS)
    tables = {
        "weather": scene_phrases.WEATHER,
        "hour": scene_phrases.HOUR,
        "style": scene_phrases.STYLE,
        "event": scene_phrases.EVENT,
    }
    tables |= {"camera": {k: v + scene_phrases.MORE_CAMERA.get(k, ()) for k, v in scene_phrases.CAMERA.items()}}
    for slot, table in tables.items():
        if written.facts[slot]:
            assert in_table(table, written.facts[slot]).search(written.text), (slot, written)
    for slot in ("subject", "second"):
        if written.facts[slot]:
            assert any(name.lower() in written.text.lower() for name in names(written.facts[slot])), (slot, written)
    if written.facts["relation"]:
        assert in_table(scene_phrases.RELATION, written.facts["relation"]).search(written.text), written
    if written.facts["setting"]:
        setting = written.facts["setting"]
        assert pattern(setting_phrases.phrases(setting) + setting_phrases.nouns(setting)).search(written.text), written
    if written.facts["motion"].endswith(("left", "right")):
        assert written.facts["motion"].rpartition("-")[2] in written.text


@given(films(), SEEDS, st.sampled_from(["terse", "plain", "long"]))
@settings(max_examples=150)
def test_chinese_captions_state_their_facts(film: Film, seed: int, length: str) -> None:
    written = caption(film, Random(seed), length=length, language="zh")
    for slot in ("camera", "weather", "hour", "style", "event", "relation"):
        if written.facts[slot]:
            phrases = scene_phrases.CHINESE[slot][motion_phrases.split_side(written.facts[slot])[0]]
            assert in_chinese(phrases).search(written.text), (slot, written)
    for slot in ("subject", "second"):
        if written.facts[slot]:
            assert any(name in written.text for name in chinese_names(written.facts[slot])), (slot, written)
    if written.facts["motion"]:
        assert in_chinese(motion_phrases.CHINESE[motion_phrases.split_side(written.facts["motion"])[0]]).search(
            written.text
        ), written


@pytest.mark.parametrize(("length", "language"), KINDS)
def test_facts_that_a_caption_leaves_out_are_not_in_its_text(length: str, language: str) -> None:
    """A film moves left under a camera that pans left: no caption says left unless it states one of them."""
    film = Film(
        (Shot("meadow", (Actor("turtle", "left"),), 1, camera="pan-left", weather="rain", hour="night"),), "neon"
    )
    silent = 0
    for seed in range(400):
        written = caption(film, Random(seed), length=length, language=language)
        words = set(re.findall(r"[a-z]+", written.text.lower())) or set(written.text)
        if not written.facts["motion"] and not written.facts["camera"]:
            silent += 1
            assert not words & {"left", "right", "左", "右"}, written.text
        assert written.facts["weather"] or not words & {"rain", "raining", "rainy", "雨"}, written.text
        assert written.facts["style"] or not words & {"neon", "霓"}, written.text
        assert written.facts["hour"] or not words & {"night", "midnight", "夜", "晚"}, written.text
    assert silent > 0


def test_night_without_a_place_is_the_setting_of_that_name() -> None:
    film = Film((Shot("city", (Actor("car", "left"),), 1, hour="night"),))
    stated = [caption(film, Random(seed)).facts for seed in range(400)]
    assert any(not t["setting"] for t in stated)
    assert all(t["setting"] for t in stated if t["hour"])


@given(films(), SEEDS)
@settings(max_examples=60)
def test_long_captions_are_long_and_fit(film: Film, seed: int) -> None:
    assert 100 < len(caption(film, Random(seed), length="long", language="en").text.split()) <= 150
    assert len(caption(film, Random(seed), length="long", language="zh").text) > 120


@given(films(), SEEDS, st.sampled_from(KINDS))
@settings(max_examples=100)
def test_the_same_seed_says_the_same(film: Film, seed: int, kind: tuple[str, str]) -> None:
    length, language = kind
    assert caption(film, Random(seed)) == caption(film, Random(seed))
    assert caption(film, Random(seed), length=length, language=language).text == (
        caption(film, Random(seed), length=length, language=language).text
    )


@given(films(), SEEDS)
@settings(max_examples=60)
def test_complete_captions_leave_out_only_default_values(film: Film, seed: int) -> None:
    stated = caption(film, Random(seed), complete=True).facts
    assert all(stated[slot] == value for slot, value in facts(film).items() if value not in ("day", "flat"))


@given(films(), SEEDS)
@settings(max_examples=200)
def test_every_word_of_a_caption_is_in_the_vocabulary(film: Film, seed: int) -> None:
    text = caption(film, Random(seed), gaits=False).text.lower()
    assert set(re.findall(r"[a-z0-9]+", text)) <= ENGLISH
    assert set(re.findall(r"[\u4e00-\u9fff]", text)) <= CHINESE


ENGLISH, CHINESE = set(english_words(LARGE)), set("".join(chinese_words(LARGE)))


def test_where_walking_is_a_motion_of_its_own_other_motions_do_not_borrow_it() -> None:
    film = Film((Shot("meadow", (Actor("turtle", "left"),), 1),))
    free = " ".join(caption(film, Random(s), language="en", gaits=False).text for s in range(200))
    strict = " ".join(caption(film, Random(s), language="en", gaits=True).text for s in range(200))
    assert "walks" in free
    assert "walk" not in strict


def test_every_setting_has_words_in_both_languages() -> None:
    for setting in SETTINGS:
        assert all(
            setting in t
            for t in (
                setting_phrases.PHRASES,
                setting_phrases.NOUNS,
                setting_phrases.CHINESE,
                setting_phrases.CHINESE_NOUNS,
            )
        ), setting


def test_everything_that_scenes_can_hold_has_words() -> None:
    keys = {motion_phrases.split_side(m)[0] for m in MOTIONS}
    assert all(
        keys == set(t)
        for t in (motion_phrases.FINITE, motion_phrases.PARTICIPLES, motion_phrases.BARE, motion_phrases.CHINESE)
    )
    for english, slot, values in (
        (scene_phrases.WEATHER, "weather", WEATHERS[1:]),
        (scene_phrases.HOUR, "hour", HOURS),
        (scene_phrases.STYLE, "style", STYLES),
        (scene_phrases.RELATION, "relation", RELATIONS),
        (scene_phrases.EVENT, "event", EVENTS),
        (scene_phrases.CAMERA, "camera", [c for c in CAMERAS[1:] if c != "pan-right"]),
    ):
        assert set(english) == set(scene_phrases.CHINESE[slot]) == set(values), slot


def test_no_name_belongs_to_two_subjects() -> None:
    for own in (names, chinese_names):
        everybody = [(name, s) for s in SUBJECTS for name in own(s)]
        assert len({name for name, _ in everybody}) == len(everybody)


@pytest.mark.parametrize(
    ("verb", "doing"), [("flies", "flying"), ("swims up", "swimming up"), ("goes", "going"), ("rises", "rising")]
)
def test_participles(verb: str, doing: str) -> None:
    assert to_participle(verb) == doing


@pytest.mark.parametrize(("one", "many"), [("box", "boxes"), ("puppy", "puppies"), ("car", "cars"), ("toy", "toys")])
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many
