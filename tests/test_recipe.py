"""Recipes: the round trip through JSON, what is refused, and recipes of format 1."""

import hashlib
import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora.errors import InputError
from sora.plan import recipe_format_1
from sora.plan.recipe import MAX_CHARACTERS, Recipe, digest_of, from_record, prompt_in, record_of, sha256_of
from sora.plan.recipe_names import in_names, is_in_memory, is_name, with_paths
from sora.plan.request import Request, fields
from sora.plan.shot import OPTIONS as SHOT_OPTIONS
from sora.plan.shot import Shot

words = st.text(st.characters(exclude_categories=[]), max_size=50)  # lone surrogates too: odd file names arrive so
size = st.tuples(st.integers(1, 9999), st.integers(1, 9999))
positive = st.floats(0.001, 1e6)


def values(name: str) -> st.SearchStrategy[Any]:
    """What a field of a request may hold."""
    field = fields()[name]
    if name == "shots":
        return st.lists(st.builds(Shot, prompt=words, **{each: values(each) for each in SHOT_OPTIONS}), max_size=3).map(
            tuple
        )
    if field.kind is bool:
        return st.booleans()
    one: st.SearchStrategy[Any] = st.sampled_from(field.choices) if field.choices else words
    if field.kind is int:
        one = st.integers(max(0, int(field.minimum or 0)), int(field.maximum or 99))
    if field.kind is float:
        one = st.floats(field.minimum or 0, field.maximum or 99)
    return st.lists(one, max_size=3).map(tuple) if field.is_list else st.none() | one


requests = st.builds(
    Request, verb=st.sampled_from(["generate", "edit", "bridge"]), **{name: values(name) for name in fields()}
)
recipes = st.builds(
    Recipe,
    **dict.fromkeys(("sora", "weights", "device", "dtype", "torch"), words),
    request=requests,
    prompts=st.lists(words, min_size=1, max_size=3).map(tuple),
    frames=st.integers(1, 999),
    fps=positive,
    painted=size,
    size=size,
    inputs=st.lists(st.tuples(words, words), max_size=3).map(tuple),
    threads=st.integers(0, 64),
)

EXAMPLE = Recipe(
    sora="0.1",
    request=Request(verb="extend", prompt="a 🎈 “rises”\n=;#\\", clip="/a.mp4", seed=1, steps=8, backward=True),
    prompts=("a 🎈 “rises”",),
    weights="ab" * 32,
    frames=17,
    fps=8,
    device="cpu",
    dtype="float32",
    torch="2.6",
    painted=(128, 96),
    size=(256, 192),
    inputs=(("/a.mp4", "cd" * 32),),
)

OLD: dict[str, Any] = {
    "sora": "0.1",
    "verb": "extend",
    "prompt": "a ball",
    "negative": "",
    "model": "mini",
    "weights": "ab" * 32,
    "seed": 1,
    "steps": 8,
    "guidance": 3,
    "shift": 3.0,
    "step": "euler",
    "frames": 17,
    "fps": 8,
    "painted": [128, 96],
    "size": [256, 192],
    "device": "cpu",
    "dtype": "float32",
    "torch": "2.6",
    "inputs": [["/a.mp4", "cd" * 32]],
    "argv": [
        "extend",
        "--backward",
        "--frames",
        "4",
        "--seed",
        "1",
        "--lora",
        "/x.safetensors:0.5",
        "--",
        "/a.mp4",
        "b",
    ],
    "format": 1,
}


def read(text: str) -> Recipe:
    return from_record(record_of(text))


def no_draft(path: str) -> Request:
    raise AssertionError(f"{path} was read")


@settings(max_examples=50)
@given(recipes)
def test_recipe_survives_json(recipe: Recipe) -> None:
    text = recipe.to_json()
    text.encode()  # can be written to a file
    assert "\n" not in text
    written = read(text)
    assert read(written.to_json()) == written
    paths = {name for name, field in fields().items() if field.is_path or name == "loras"}
    kept = {name: getattr(recipe.request, name) for name in fields() if name not in paths}
    assert {name: getattr(written.request, name) for name in kept} == kept
    assert msgspec.structs.replace(written, request=recipe.request, inputs=recipe.inputs) == recipe
    assert all(is_name(name) or is_in_memory(name) for name, _ in written.inputs)


def test_json_is_compact_readable_and_says_only_what_is_said() -> None:
    text = EXAMPLE.to_json()
    assert text.startswith('{"format":3,"sora":"0.1","request":{"verb":"extend","prompt":"a 🎈 “rises”')
    assert json.loads(text)["request"].keys() == {"verb", "prompt", "clip", "seed", "steps", "backward"}


def test_keys_beside_the_request_that_are_not_known_are_passed_over() -> None:
    record = json.loads(EXAMPLE.to_json()) | {"lens": "50 mm"}
    assert read(json.dumps(record)) == read(EXAMPLE.to_json())


def test_recipes_with_the_field_names_of_earlier_versions_are_read() -> None:
    renamed = {"was": "source_prompt", "without": "disable", "negative": "negative_prompt", "last": "last_image"}
    values = {"was": "grass", "without": ["winograd"], "negative": "snow", "last": "b.png"}
    for old, new in renamed.items():
        record = json.loads(EXAMPLE.to_json())
        record["request"][old] = values[old]
        recipe = read(json.dumps(record))
        written = json.loads(recipe.to_json())["request"]
        assert written[new] == values[old] and old not in written
        record["request"][new] = values[old]
        with pytest.raises(InputError, match=old):  # one value by two names
            read(json.dumps(record))


REQUESTS: list[tuple[str, object]] = [
    *[("seed", 1.5), ("seed", True), ("seed", "1"), ("seed", -1), ("steps", 10**9), ("prompt", 3), ("verb", "models")],
    *[("verb", None), ("then", "a"), ("then", [1]), ("device", "tpu"), ("camera", "dolly"), ("guidance", 10**400)],
    *[("strength", float("nan")), ("fps", float("inf")), ("backward", "yes"), ("clip", "x" * 5000)],
    *[("output", "x.mp4"), ("force", True), ("count", 5), ("dry_run", True), ("command", "rm"), ("argv", ["rm"])],
]


def test_requests_that_are_none_are_refused() -> None:
    for key, value in REQUESTS:
        record = json.loads(EXAMPLE.to_json())
        record["request"][key] = value
        with pytest.raises(InputError, match=r"recipe's request|not finite") as caught:
            read(json.dumps(record))
        assert "\n" not in str(caught.value), key


def test_values_of_the_wrong_kind_are_refused() -> None:
    wrong: list[tuple[str, object]] = [
        *[("fps", "8"), ("fps", float("nan")), ("painted", [128]), ("painted", [1, 2, 3]), ("size", [1.5, 2])],
        *[("inputs", [["a"]]), ("inputs", {"a": "b"}), ("inputs", [["a", "b"]] * 2000), ("format", "2"), ("format", 4)],
        *[("prompts", []), ("prompts", "a"), ("request", None), ("request", []), ("threads", -1), ("frames", 0)],
    ]
    for key, value in wrong:
        record = json.loads(EXAMPLE.to_json()) | {key: value}
        with pytest.raises(InputError) as caught:
            read(json.dumps(record))
        assert "\n" not in str(caught.value), key


def test_missing_keys_are_named() -> None:
    whole = json.loads(EXAMPLE.to_json())
    for key in whole.keys() - {"inputs", "threads", "format"}:
        record = {name: value for name, value in whole.items() if name != key}
        with pytest.raises(InputError, match=key):
            read(json.dumps(record))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "[" * 100_000, "made with GIMP", "{" + " " * MAX_CHARACTERS]
)
def test_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="recipe"):
        record_of(text)


def test_a_recipe_in_a_file_holds_names_and_no_paths() -> None:
    own: dict[str, Any] = {"clip": "/home/me/a/clip.mp4", "clip_b": "/home/me/b/clip.mp4", "mask": "memory:" + "0" * 64}
    own |= {"model": "/home/me/models/mini", "loras": ("/home/me/my:x.safetensors:0.5", "/home/me/b/clip.mp4:1")}
    inputs = [*[*own.values()][:4], "/home/me/my:x.safetensors"]
    digests = tuple((path, letter * 64) for path, letter in zip(inputs, "abcde", strict=True))
    recipe = msgspec.structs.replace(EXAMPLE, request=Request(verb="bridge", **own), inputs=digests)
    text = recipe.to_json()
    assert "home" not in text and "/" not in text
    written = read(text)
    assert (written.request.clip, written.request.clip_b, written.request.mask) == (
        *("clip.mp4", "clip.mp4#2"),
        "memory:" + "0" * 64,
    )
    assert (written.request.model, written.request.loras) == ("mini", ("my:x.safetensors:0.5", "clip.mp4#2:1"))
    names = [name for name, _ in written.inputs]
    assert names == ["clip.mp4", "clip.mp4#2", "memory:" + "0" * 64, "mini", "my:x.safetensors"]
    assert with_paths(written.request, dict(zip(names, inputs, strict=True))) == recipe.request


def test_one_file_read_twice_has_one_name_and_odd_names_become_harmless() -> None:
    inputs = (("/a/x.png", "a"), ("/b/x.png", "a"), ("/c/C:x\\y.png", "b"), ("/c/..", "c"), ("/", "d"))
    request, named = in_names(Request(verb="img2vid", image="/a/x.png", last_image="/b/x.png"), inputs)
    assert (request.image, request.last_image) == ("x.png", "x.png")
    assert named == (("x.png", "a"), ("C_x_y.png", "b"), ("_", "c"), ("_#2", "d"))
    for text in ("", ".", "..", "a/b", "../a", "/a", "a\\b", "C:a", "c:", "a\0b"):
        assert not is_name(text), text


def test_infinite_guidance_cannot_be_written() -> None:
    with pytest.raises(ValueError):
        msgspec.structs.replace(EXAMPLE, fps=float("inf")).to_json()


# --- format 1 ----------------------------------------------------------------------------------------------------


def test_a_command_line_of_format_1_is_read_as_data() -> None:
    made = recipe_format_1.converted(OLD, no_draft)
    assert made.request == Request(
        verb="extend", clip="/a.mp4", prompt="b", backward=True, frames=4, seed=1, loras=("/x.safetensors:0.5",)
    )
    assert (made.prompts, made.inputs, made.format) == (("a ball",), (("/a.mp4", "cd" * 32),), 2)


def test_a_finished_draft_of_format_1_takes_the_drafts_own_request() -> None:
    draft = Request(verb="generate", prompt="a", draft=True, steps=2, frames=5, size="64x48")
    argv = ["finish", "--strength", "0.6", "--steps", "4", "--", "/d.mkv"]
    made = recipe_format_1.converted(OLD | {"argv": argv}, lambda path: draft if path == "/d.mkv" else no_draft(path))
    assert made.request == msgspec.structs.replace(draft, draft=False, steps=4, draft_file="/d.mkv", draft_strength=0.6)


def test_a_recipe_from_before_command_lines_is_read() -> None:
    made = recipe_format_1.converted({k: v for k, v in OLD.items() if k != "argv"} | {"verb": "image"}, no_draft)
    assert (made.request.verb, made.request.prompt, made.request.size) == ("image", "a ball", "256x192")
    assert (made.request.sampler, made.request.steps, made.request.guidance) == ("euler", 8, 3)


COMMANDS = (
    *(["models", "remove", "mini", "--yes"], ["train", "/clips", "-o", "x"], ["remake", "x.mkv"], ["rm", "-rf", "/"]),
    *(["generate", "--output", "x.mp4", "--", "a"], ["generate", "-o", "x.mp4", "--", "a"], ["generate"], []),
    *(["generate", "--force", "--", "a"], ["generate", "--count", "1000", "--", "a"], ["generate", "--dry-run", "a"]),
    *(["generate", "--seed", "x", "--", "a"], ["generate", "--seed"], ["generate", "--file", "/etc/passwd"]),
    *(["extend", "--", "a", "b", "c"], ["generate", "--frames", "4", "--", "a", "b"], "generate a", [1, 2]),
    *(["generate", "--json", "a"], ["generate", "--profile", "x", "a"], ["--profile", "x", "generate", "a"]),
)


def test_commands_that_paint_nothing_or_say_more_are_refused() -> None:
    for argv in COMMANDS:
        with pytest.raises(InputError) as caught:
            recipe_format_1.converted(OLD | {"argv": argv, "verb": "extend"}, no_draft)
        assert "\n" not in str(caught.value), argv


def test_words_in_a_recipe_of_either_format() -> None:
    assert prompt_in(EXAMPLE.to_json()) == "a 🎈 “rises”"
    assert prompt_in(json.dumps(OLD)) == "a ball"
    assert prompt_in(json.dumps({"prompts": 5})) == ""


# --- digests -----------------------------------------------------------------------------------------------------


def test_sha256_of_a_file(tmp_path) -> None:
    data = bytes(range(256)) * 9000  # more than one piece
    (tmp_path / "f").write_bytes(data)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(data).hexdigest()
    for bad in (tmp_path, tmp_path / "none", "a\0b"):
        with pytest.raises(InputError, match="cannot read"):
            sha256_of(bad)


def test_digest_of_a_folder_tells_what_is_in_it(tmp_path) -> None:
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    before = digest_of(tmp_path)
    assert digest_of(tmp_path / "a") == sha256_of(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "c")
    assert digest_of(tmp_path) != before
    (tmp_path / "c").rename(tmp_path / "a")
    assert digest_of(tmp_path) == before


def test_requests_and_recipes_load_without_numpy_or_torch() -> None:
    code = "import sys, sora.plan.recipe, sora.plan.verbs, sora.plan.prompts; "
    code += "sys.exit(bool({'numpy', 'torch', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
