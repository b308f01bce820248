"""What mini can paint, said before it paints: lists, notes, advice, and prompts that stop. Nothing here needs torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from conftest import Footage, Studio
from minitrain import vocabulary
from minitrain.captions import caption
from minitrain.tokenizer import build_tokenizer
from minitrain.worlds.world import WORLDS, draw_film
from sora import catalog, models
from sora.catalog.spec import Advice
from sora.errors import ModelError
from sora.models.mini import vocabulary as mini_words
from sora.models.mini.prompt_expansion import expand
from sora.models.mini.prompt_parser import parse
from sora.plan import prompts

MINI = catalog.MODELS["mini"]
RICH = WORLDS["rich"]
FOLDER = Path(__file__).parent.parent / "prompts"
SLOTS = ("subject", "setting", "motion")


def words() -> mini_words.Vocabulary:
    return mini_words.load(MINI.vocabulary)


def advice(prompt: str) -> Advice:
    found = models.advise(MINI, prompt)
    assert found is not None
    return found


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


# --- what a prompt is read as --------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("length", ["terse", "plain", "long"])
def test_every_caption_of_its_world_is_read_as_its_film(length: str, language: str):
    rng, wrong = Random(f"{length} {language}"), Counter[str]()
    for seed in range(150):
        said = caption(draw_film(RICH, 10_000 + seed), rng, length=length, language=language, gaits=RICH.has_gaits)
        found = parse(words(), said.text)
        wrong.update(slot for slot in SLOTS if getattr(found, slot) != said.facts[slot])
        if said.facts["subject"]:
            assert advice(said.text).missing == "", said.text
    assert all(wrong[slot] <= 1 for slot in SLOTS), wrong  # of 150


def test_captions_of_its_world_are_left_without_a_note():
    rng, noted = Random(3), []
    for seed in range(300):
        said = caption(draw_film(RICH, 20_000 + seed), rng, gaits=RICH.has_gaits)
        noted += [said.text] if advice(said.text).notes else []
    assert len(noted) <= 3, noted


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a dog runs on the grass", ("dog", "meadow", "")),
        ("PUPPIES, hopping over a snowy field!", ("dog", "snow", "bounce")),
        ("the camera pans left while a fish sinks in the sea", ("fish", "sea", "down")),
        ("a big, bouncing ball, blue, at the beach", ("blue ball", "beach", "bounce")),
        ("a teddy bear floating up under the stars", ("teddy", "night", "up")),
        ("一只可爱的熊猫在森林里旋转", ("panda", "forest", "spin")),
        ("消防车在城市里向右移动", ("fire engine", "city", "right")),
        ("ａ　ｃａｒ　ｉｎ　ｔｈｅ　ｄｅｓｅｒｔ", ("car", "desert", "")),
        ("take care of the carpet", ("", "", "")),
    ],
)
def test_words_are_read_by_what_they_mean(prompt: str, told: tuple[str, str, str]):
    found = parse(words(), prompt)
    assert (found.subject, found.setting, found.motion) == told


def test_night_is_a_setting_but_an_hour_of_another_one():
    assert parse(words(), "a cat at night").setting == "night"
    found = parse(words(), "a cat in the forest at night")
    assert (found.setting, found.hour) == ("forest", "night")


@pytest.mark.parametrize(
    ("prompt", "note"),
    [
        ("a blue car", "the car is red here, not blue"),
        ("the elephant is pink", "the elephant is grey here, not pink"),
        ("a green ball", "no green ball; a ball is red, blue, yellow or purple here"),
        ("two dogs in the snow", 'one subject a clip: "two" shows one dog'),
        ("3 bees", 'one subject a clip: "3" shows one bee'),
        ("ducks on a pond", 'one subject a clip: "ducks" shows one duck'),
        ("a cat and a dog on the beach", "one subject a clip: cat, without dog"),
        ("a cat on the beach in a forest", "one place a clip: beach, without forest"),
        ("a fox jumps and spins", "one motion a clip: bounce, without spin"),
        ("a cat under a palm", "no palm; try sunflower, mushroom"),
        ("a robot dances", 'no "dances"; "bounces" stands in'),
        ("a fish in a kitchen", "no kitchen; village stands in"),
        ("a fish in a kitchen by the sea", "no kitchen; left out"),
        ("a car, pixel art", '"pixel art" is left out'),
        ("a frobnicated car", 'does not know "frobnicated"'),
        ("a car in the dessert", 'no "dessert"; did you mean desert?'),
        ("蓝色的汽车", "the 汽车 is red here, not blue"),
        ("两只狗在海滩上", 'one subject a clip: "两只" shows one 小狗'),
        ("一只猫在厨房里", "no 厨房里; 村庄 stands in"),
    ],
)
def test_what_cannot_be_painted_is_said(prompt: str, note: str):
    found = advice(prompt)
    assert found.missing == ""
    assert any(line.startswith(note) for line in found.notes), found.notes


@pytest.mark.parametrize(
    "prompt",
    [
        "a red car on the blue sea",
        "an orange cat",
        "a white rabbit hops over the green grass",
        "A beautiful, very cute little turtle slowly swims; cinematic, 4k, highly detailed.",
        "one single bee",
        "一只可爱的小猫在雪地里慢慢走",
    ],
)
def test_fitting_colours_and_small_words_pass_in_silence(prompt: str):
    assert advice(prompt).notes == ()


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("a dragon in the snow", "no dragon; try dinosaur, turtle, frog"),
        ("a woman walks in the rain", "no woman; try robot, snowman, teddy"),
        ("an elefant on the beach", 'no "elefant"; did you mean elephant?'),
        ("in the snow", "no subject is named; say who or what is to be seen, as in "),
        ("something spins", "no subject is named"),
        ("a zorgle", 'does not know "zorgle"'),
        ("一条龙在天上飞", "no 龙; try 恐龙, 乌龟, 青蛙"),
        ("在森林里", "no subject is named"),
    ],
)
def test_a_prompt_without_a_subject_is_told_what_to_say(prompt: str, why: str):
    assert advice(prompt).missing.startswith(why)


@pytest.mark.parametrize("prompt", ["in the snow", "on the moon", "在森林里", "nothing"])
def test_the_prompt_that_it_proposes_can_be_painted(prompt: str):
    proposed = advice(prompt).missing.split('"')[1]
    found = advice(proposed)
    assert (found.missing, found.notes) == ("", ())
    setting = parse(words(), prompt).setting
    assert setting in ("", parse(words(), proposed).setting)


def test_open_weights_take_any_prompt():
    wan = catalog.MODELS["wan2.1-1.3b"]
    assert models.advise(wan, "a dragon") is None
    assert models.repertoire(wan) is None


# --- the word list -------------------------------------------------------------------------------------------------


def test_the_word_list_says_what_the_tables_of_the_training_say():
    world = json.loads((mini_words.ASSETS / "mini.json").read_text(encoding="utf-8"))["data"]["world"]
    said = json.loads((mini_words.ASSETS / MINI.vocabulary).read_text(encoding="utf-8"))
    again = "make it anew: python -m minitrain.vocabulary"
    assert said == json.loads(json.dumps(vocabulary.vocabulary(WORLDS[world]))), again


def test_what_stands_in_can_be_painted_itself():
    said = words().tables
    for table, keys in (("strangers", "subjects"), ("places", "settings"), ("deeds", "motions")):
        assert {key for near in said[table].values() for key in near} <= set(said[keys])
    for row in said["subjects"].values():
        assert row["moves"] in said["motions"] and row["home"] in said["settings"]


def test_what_it_adds_to_a_prompt_is_made_of_trained_words():
    tokenizer = build_tokenizer(RICH)
    for key in words().keys("subjects"):
        for language in ("en", "zh"):
            bare = words().name("subjects", key, language)
            text = expand(words(), bare)
            assert text.startswith(bare) and len(text) > len(bare)
            found = parse(words(), text)
            assert (found.subject, found.setting != "", found.motion != "") == (key, True, True), text
            assert tokenizer.token_to_id("<unk>") not in tokenizer.encode(text).ids


@pytest.mark.parametrize("prompt", ["", "a wug", "in the snow", "a red balloon floats up over a green meadow"])
def test_a_prompt_that_is_complete_or_foreign_is_read_as_it_stands(prompt: str):
    assert expand(words(), prompt) == prompt


def test_what_is_open_is_filled_by_the_subject():
    assert expand(words(), "a fish") == "a fish, moves to the left, under the sea"
    assert expand(words(), "a dog runs in the snow") == "a dog runs in the snow, to the left"
    assert expand(words(), "two dogs on a meadow stand still") == "dog on a meadow stand still"
    assert expand(words(), "一只猫") == "一只猫，静止不动，在草地上"


def test_a_damaged_word_list_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mini_words, "ASSETS", tmp_path)
    (tmp_path / "broken.json").write_text('{"subjects": []}')
    for name in ("broken.json", "absent.json"):
        with pytest.raises(ModelError, match="reinstall sora"):
            mini_words.load(name)


# --- commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [("generate",), ("image",), ("loop", "--prompt"), ("generate", "--dry-run", "--json")])
def test_words_that_name_nothing_stop_before_anything_is_written(studio: Studio, argv: tuple[str, ...]):
    result = studio(*argv, "a dragon in the snow")
    assert (result.exit_code, result.stdout, names()) == (2, "", [])
    assert result.stderr.startswith('sora: mini knows nothing to paint in "a dragon in the snow": no dragon; try dino')
    assert "--anyway" in result.stderr and result.stderr.count("\n") == 1


def test_anyway_paints_it_all_the_same(studio: Studio):
    result = studio("generate", "a dragon", "--anyway", "--frames", 1, "--seed", 1)
    assert (result.exit_code, result.stdout) == (0, "a-dragon.mp4\n")
    assert "no dragon; try dinosaur" in result.stderr


def test_what_was_painted_anyway_can_be_painted_again(studio: Studio):
    studio("generate", "a dragon", "--anyway", "--frames", 1, "--seed", 1, "-o", "a.mkv")
    assert studio("remake", "a.mkv", "-o", "b.mkv").exit_code == 0
    assert studio("remake", "a.mkv", "--prompt", "a wyvern", "-o", "c.mkv").exit_code == 2


def test_one_bad_alternative_of_a_batch_stops_all(studio: Studio):
    result = studio("generate", "a {cat|dragon} in the snow", "--count", 2)
    assert (result.exit_code, names()) == (2, [])
    assert '"a dragon in the snow"' in result.stderr


def test_notes_come_with_each_file(studio: Studio):
    result = studio("generate", "a {red|blue} car", "--frames", 1, "--seed", 1, "--json")
    notes = [json.loads(line)["notes"] for line in result.stdout.splitlines()]
    assert notes[0] == []
    assert [line.split(" (")[0] for line in notes[1]] == ["the car is red here, not blue"]
    assert '"a blue car": the car is red here, not blue' in result.stderr
    assert json.loads(studio("info", "a-blue-car.mp4", "--json").stdout)["recipe"]["prompts"] == ["a blue car"]


def test_a_dry_run_says_the_notes(studio: Studio):
    told = json.loads(studio("generate", "a blue car", "--dry-run", "--json").stdout)
    assert told["notes"][0].startswith("the car is red here, not blue")
    assert "the car is red here, not blue" in studio("generate", "a blue car", "--dry-run").stdout


def test_the_subject_of_all_shots_may_be_named_once(studio: Studio):
    for argv in (
        ("in the snow", "--then", "at night", "--subject", "a red ball"),
        ("a cat in the snow", "--then", "at night"),
    ):
        assert studio("generate", *argv, "--frames", 2, "--seed", 1).exit_code == 0
    result = studio("generate", "a cat in the snow", "--then", "at night", "--frames", 2, "--seed", 1)
    assert "shot 2 names no subject and goes on with the first one's: cat" in result.stderr
    assert studio("generate", "in the snow", "--then", "a cat at night", "--frames", 2).exit_code == 2


def test_where_a_clip_is_given_words_are_only_noted(studio: Studio, footage: Footage):
    clip = footage("clip.mkv", frames=6)
    for argv in (
        ("extend", clip, "a dragon", "--frames", 2),
        ("edit", clip, "a dragon", "--strength", 0.5),
        ("loop", clip, "--prompt", "a dragon", "--frames", 2),
        ("bridge", clip, clip, "a dragon", "--frames", 2),
    ):
        result = studio(*argv, "--seed", 1)
        assert result.exit_code == 0, result.stderr
        assert f'"a dragon" names no subject that mini knows; what {clip} shows has to serve' in result.stderr


def test_every_prompt_of_the_prompt_files_can_be_painted_in_full():
    for file in FOLDER.glob("*.txt"):
        for prompt in (line.prompt for line in prompts.parse_file(file.read_text(encoding="utf-8"))):
            found, asked = advice(prompt), parse(words(), prompt)
            assert (found.missing, found.notes) == ("", ()), prompt
            assert asked.subject and asked.setting and asked.motion, prompt


def test_ideas_lists_all_and_proposes_what_can_be_painted(studio: Studio):
    told = json.loads(studio("ideas", "--count", 40, "--seed", 5, "--json").stdout)
    assert (len(told["subjects"]), len(told["settings"]), len(told["motions"])) == (48, 16, 9)
    assert len(set(told["prompts"])) == 40
    for prompt in told["prompts"]:
        assert (advice(prompt).missing, advice(prompt).notes) == ("", ()), prompt
        assert parse(words(), prompt).subject in words().keys("subjects")
    for slot in ("subjects", "settings", "motions"):
        read_as = [getattr(parse(words(), name), slot.removesuffix("s")) for name in told[slot]]
        assert read_as == words().keys(slot)
    assert any(not prompt.isascii() for prompt in told["prompts"])
    text = studio("ideas", "--seed", 5).stdout
    assert all(subject in text for subject in told["subjects"]) and "sora generate" in text
    assert text == studio("ideas", "--seed", 5).stdout


def test_ideas_are_for_closed_vocabularies_alone(studio: Studio):
    result = studio("ideas", "--model", "wan2.1-1.3b")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "any prompt" in result.stderr
    assert studio("ideas", "--count", -1).exit_code == 2


def test_a_model_is_shown_with_what_it_paints(studio: Studio):
    text = studio("models", "show", "mini").stdout
    assert "subjects" in text and "flying saucer" in text and "mountains" in text
    assert "subjects" not in json.loads(studio("models", "show", "wan2.1-1.3b", "--json").stdout)


def test_advice_and_ideas_need_no_torch():
    code = "import sys; from sora import catalog, models; models.advise(catalog.MODELS['mini'], 'a cat'); "
    code += "models.repertoire(catalog.MODELS['mini']); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
