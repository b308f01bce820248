"""Recipes: the round trip through JSON, and what is refused."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora.errors import InputError
from sora.plan.recipe import Recipe, digest_of, sha256_of

words = st.text(st.characters(exclude_categories=[]))  # lone surrogates too: that is how odd file names arrive
size = st.tuples(st.integers(1, 9999), st.integers(1, 9999))
number = st.floats(allow_nan=False, allow_infinity=False)
recipes = st.builds(
    Recipe,
    **dict.fromkeys(("sora", "verb", "prompt", "negative", "model", "weights", "step", "device", "dtype"), words),
    torch=words,
    **dict.fromkeys(("seed", "steps", "frames"), st.integers()),
    **dict.fromkeys(("guidance", "shift", "fps"), number),
    painted=size,
    size=size,
    inputs=st.lists(st.tuples(words, words)).map(tuple),
    argv=st.lists(words).map(tuple),
)

EXAMPLE = Recipe(
    sora="0.1", verb="extend", prompt="a 🎈 “rises”\n=;#\\", negative="", model="mini", weights="ab" * 32, seed=1,
    steps=8, guidance=3, shift=3.0, step="euler", frames=17, fps=8, painted=(128, 96), size=(256, 192), device="cpu",
    dtype="float32", torch="2.6", inputs=(("a.mp4", "cd" * 32),),
    argv=("extend", "--seed", "1", "--", "a.mp4"),
)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(recipes)
def test_recipe_survives_json(recipe: Recipe) -> None:
    text = recipe.to_json()
    text.encode()  # can be written to a file
    assert "\n" not in text
    assert Recipe.from_json(text) == recipe


def test_json_is_compact_readable_and_in_order() -> None:
    text = EXAMPLE.to_json()
    assert text.startswith('{"sora":"0.1","verb":"extend","prompt":"a 🎈 “rises”')
    assert text.endswith('"format":1}')


def test_unknown_keys_are_passed_over() -> None:
    record = json.loads(EXAMPLE.to_json()) | {"lens": "50 mm"}
    assert Recipe.from_json(json.dumps(record)) == EXAMPLE


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 1.5), ("seed", True), ("seed", "1"), ("prompt", None), ("fps", "8"), ("fps", float("nan")),
     ("painted", [128]), ("painted", [1, 2, 3]), ("size", [1.0, 2]), ("inputs", [["a"]]), ("inputs", {"a": "b"}),
     ("argv", "generate"), ("argv", [1]), ("guidance", 10**400), ("format", "1"), ("format", 2)],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused(key: str, value: object) -> None:
    record = json.loads(EXAMPLE.to_json()) | {key: value}
    with pytest.raises(InputError, match=key) as caught:
        Recipe.from_json(json.dumps(record))
    assert "\n" not in str(caught.value)


OPTIONAL = {"inputs", "argv", "threads", "format"}  # what earlier versions may not have written


@pytest.mark.parametrize("key", sorted(json.loads(EXAMPLE.to_json()).keys() - OPTIONAL))
def test_missing_keys_are_named(key: str) -> None:
    record = json.loads(EXAMPLE.to_json())
    del record[key]
    with pytest.raises(InputError, match=key):
        Recipe.from_json(json.dumps(record))


def test_a_recipe_of_an_earlier_version_is_read() -> None:
    record = {key: value for key, value in json.loads(EXAMPLE.to_json()).items() if key not in OPTIONAL}
    assert Recipe.from_json(json.dumps(record)) == replace(EXAMPLE, inputs=(), argv=())


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, "made with GIMP"])
def test_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="recipe"):
        Recipe.from_json(text)


def test_infinite_guidance_cannot_be_written() -> None:
    with pytest.raises(ValueError):
        replace(EXAMPLE, guidance=float("inf")).to_json()


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


def test_recipes_and_prompts_load_without_numpy_or_torch() -> None:
    code = (
        "import sys, sora.plan.recipe, sora.plan.prompts; sys.exit(bool({'numpy', 'torch', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
