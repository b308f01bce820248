"""Weights of words, marks of other programs, and LoRAs that a prompt names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sora import catalog, models
from sora.engine.canvas import Canvas
from sora.errors import InputError, UsageError
from sora.jobs import lora_tags
from sora.plan import prompts
from sora.plan.foreign_syntax import not_understood
from sora.plan.request import Request
from sora.plan.weighting import MAX_WEIGHT, Span, plain, spans

PIECES = ["(", ")", ":1.3)", ":2)", "a b", " ", "\\(", "\\)", "<lora:", "x", ":0.5>", "__", "[", "]", "BREAK", "(("]
MARKS = st.text("ab1 ():.0[]<>{}|\\+-_é球,", max_size=40) | st.lists(st.sampled_from(PIECES)).map("".join)


@settings(max_examples=60)
@given(MARKS)
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        cleaned = prompts.clean(text)
        found = spans(cleaned)
        lora_tags.followed(Request(verb="generate", prompt=text))
    except (UsageError, InputError) as error:
        assert str(error) and "\n" not in str(error)
        return
    shown = "".join(span.text for span in found)
    assert shown == plain(cleaned) == " ".join(shown.split(" ")) and shown == shown.strip(" ")
    assert all(0 <= span.weight <= MAX_WEIGHT and span.text for span in found)
    assert all("\n" not in line for line in not_understood(cleaned))


@settings(max_examples=30)
@given(st.text("ab c,é", min_size=1).filter(str.strip), st.floats(0, MAX_WEIGHT).map(lambda w: round(w, 3)))
def test_a_weight_around_words_is_theirs(words: str, weight: float) -> None:
    words = prompts.clean(words)
    assert spans(f"x ({words}:{weight})") == (Span("x "), Span(words, weight)) or weight == 1
    assert plain(f"x ({words}:{weight})") == f"x {words}"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat (black)", [("a cat (black)", 1)]),
        ("a ((small:0.5) red:2) ball", [("a small", 1), (" red", 2), (" ball", 1)]),
        (r"a \(red:1.5\) ball", [("a (red:1.5) ball", 1)]),
        (r"a (red \(dark\):1.5) ball", [("a ", 1), ("red (dark)", 1.5), (" ball", 1)]),
        ("a clock (at 10:30), (16:9)", [("a clock (at 10:30), (16:9)", 1)]),
        ("a (ball", [("a (ball", 1)]),
        ("(:1.3)", [("(:1.3)", 1)]),
        ("( red : .5 ) ball", [("red ", 0.5), ("ball", 1)]),
    ],
)
def test_only_words_with_a_number_in_parentheses_are_weighted(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert [(span.text, span.weight) for span in spans(prompt)] == expected


@pytest.mark.parametrize("prompt", ["(a:10.5)", "(a:-1)", "((a:5):5)", "(a:1e)(b:99)"])
def test_weights_have_a_range(prompt: str) -> None:
    with pytest.raises(UsageError, match=r"out of range; expected 0 to 10 .* parentheses of prose"):
        spans(prompt)


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a ((big)) cat", "((big))"),
        ("a [big] cat", "[big]"),
        ("a __colour__ cat", "__colour__"),
        ("a (big)+ cat", "(big)+"),
        ("a big++ cat", "big++"),
        ("a cat BREAK a dog", "BREAK"),
        ("a cat AND a dog", "AND"),
        ("embedding:bad cat", "embedding:bad"),
        ("<lora:x:1> cat", "<lora:x:1>"),
        ("<hypernet:x:1> cat", "<hypernet:x:1>"),
    ],
)
def test_marks_of_other_programs_are_named(prompt: str, named: str) -> None:
    assert [line.partition(" is read ")[0].partition(" adds ")[0] for line in not_understood(prompt)] == [named]


@pytest.mark.parametrize(
    "prompt", ["a cat (black) - or grey -- sits", "A CAT AND A DOG", "a (red:1.2) ball", "salt_and_pepper"]
)
def test_prose_gets_no_notes(prompt: str) -> None:
    assert not list(not_understood(prompt))


# --- mini -------------------------------------------------------------------------------------------------------------


def test_mini_weighs_words_against_the_prompt_without_them() -> None:
    mini = models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)
    canvas = Canvas(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.zeros(1, 1, 64, 64, dtype=torch.bool), 8)
    latents = mini.encode(canvas)
    noise = torch.randn(latents.clean_BCTHW.shape, generator=torch.Generator().manual_seed(0))

    def flow(prompt: str) -> Tensor:
        return mini.bind(canvas, latents, prompt, "", 1)(noise, torch.tensor(0.9))

    plain, without = flow("a red ball in the snow"), flow("a red ball in the")
    assert torch.equal(flow("a red (ball:1) in the (snow:1.0)"), plain)
    assert torch.allclose(flow("a red ball in the (snow:0)"), without, atol=1e-3)
    half = (flow("a red ball in the (snow:0.5)") - plain).abs().mean()
    assert 0.1 < half / (without - plain).abs().mean() < 0.9


# --- LoRAs ------------------------------------------------------------------------------------------------------------


def asked(prompt: str, *folders: Path, **more: object) -> Request:
    return lora_tags.followed(Request(verb="generate", prompt=prompt, **more), folders)  # type: ignore[arg-type]


def test_loras_are_taken_out_of_the_words_and_found_by_name(tmp_path: Path) -> None:
    here, beside = tmp_path / "here", tmp_path / "beside"
    for folder in (here, beside):
        folder.mkdir()
    for file in (here / "a.safetensors", beside / "a.safetensors", beside / "b.v2"):
        file.touch()
    request = asked("a ball, <lora:a:0.8>, at night <LORA:b.v2>", here, beside, loras=("z:1",))
    assert request.prompt is not None and prompts.clean(request.prompt) == "a ball, at night"
    assert request.loras == ("z:1", f"{here / 'a.safetensors'}:0.8", f"{beside / 'b.v2'}:1")
    assert asked(f"<lora:{here / 'a'}:-0.5> x", Path("/none")).loras == (f"{here / 'a'}.safetensors:-0.5",)
    assert asked("a <ball>", here) == Request(verb="generate", prompt="a <ball>")
    shots = asked("a", here, then=("b <lora:a:1>", "c"))
    assert [prompts.clean(text) for text in shots.then] == ["b", "c"] and len(shots.loras) == 1


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        ("<lora:none:1> x", InputError, "neither none nor none.safetensors is in .*--lora FILE"),
        ("<lora:> x", InputError, "holds no name"),
        ("<lora:a:x> x", InputError, "neither a:x"),
        ("{a|<lora:a:1>} x", UsageError, "stands in alternatives"),
        ("<lora:a:1:0.5> x", UsageError, "two strengths"),
    ],
)
def test_loras_that_cannot_be_followed_say_so(tmp_path: Path, prompt: str, error: type[Exception], says: str) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(error, match=says):
        asked(prompt, tmp_path)


def test_words_of_a_recipe_open_nothing() -> None:
    request = Request(verb="generate", prompt="<lora:none:1> x")
    assert lora_tags.followed(request, names=("seed",)) is request
