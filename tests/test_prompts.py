"""Prompts: cleaning, files, and the grammar of {a|b} alternatives."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora.errors import UsageError
from sora.plan import prompts
from sora.plan.prompts import escaped

PROMPTS = Path(__file__).parent.parent / "prompts"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
FAMILY = "a \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f"  # emoji that a joiner makes one
parts = st.text("ab 7é🎈{}|\\", max_size=6)


@settings(max_examples=50)
@given(texts)
def test_clean_is_idempotent_and_single_spaced(text: str) -> None:
    try:
        once = prompts.clean(text)
    except UsageError as error:
        assert "empty" in str(error)
        return
    assert prompts.clean(once) == once
    assert once == " ".join(once.split())


def test_clean_composes_and_strips() -> None:
    assert prompts.clean("  a cafe\u0301\t\n at  night\x00 ") == "a café at night"


@pytest.mark.parametrize(
    ("prompt", "same_as"),
    [
        ("\ufeffa red\u200b ball\u2060", "a red ball"),
        ("a bal\u00adloon \u202aover\u202c\u200e it", "a balloon over it"),
        ("a\u00a0red\u3000ball\u2009here\u3164now", "a red ball here now"),
        ("a\u200cb\u200dc a\ufe0f", "abc a"),
        ("e\u200b\u0301", "é"),
        ("a “red” ‘ball’ — here", "a “red” ‘ball’ — here"),
        (FAMILY, FAMILY),
        ("می\u200cخواهم\u200c", "می\u200cخواهم"),
        ("क्\u200dष a\u200d", "क्\u200dष a"),
        ("\udce7\udc90\udc83", "球"),  # UTF-8 in a locale that is not
    ],
)  # fmt: skip
def test_what_shows_nothing_vanishes_and_what_changes_words_stays(prompt: str, same_as: str) -> None:
    assert prompts.clean(prompt) == same_as


@pytest.mark.parametrize(
    ("prompt", "says"),
    [("", "empty"), (" \n\t\x00", "empty"), ("x" * 20_001, "20,001 characters, at most 20,000"), ("a\udc80", "UTF-8")],
)
def test_clean_refuses(prompt: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        prompts.clean(prompt)


def test_the_longest_prompt_fits() -> None:
    assert len(prompts.clean(" " + "x" * 20_000)) == 20_000


def test_text_that_is_not_utf_8_is_refused() -> None:
    assert prompts.decoded("a café".encode(), "here") == "a café"
    with pytest.raises(UsageError, match="on standard input is not valid UTF-8"):
        prompts.decoded(b"a caf\xe9", "on standard input")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_text_is_read(encoding: str) -> None:
    assert prompts.decoded("a café 球".encode(encoding), "here") == "a café 球"


def test_the_line_that_is_not_utf_8_is_named_or_read_in_the_encoding_of_the_stream() -> None:
    data = "a ball\r\na café at night".encode("cp1252")
    with pytest.raises(UsageError, match=r"line 2: 'a caf\\xe9'.*save it as UTF-8"):
        prompts.decoded(data, "file a.txt")
    assert prompts.decoded(data, "on standard input", "cp1252") == "a ball\r\na café at night"
    assert prompts.decoded("红球".encode("gbk"), "on standard input", "gbk") == "红球"


def test_lines_end_as_in_editors_and_blanks_of_other_kinds_are_blanks() -> None:
    found = prompts.parse_file("\ufeffa ball\u00a0--seed\u00a07\u3000--draft\r\n\ufeff# no\ra cat\u2028sits\n")
    assert [(line.number, line.prompt, line.words) for line in found] == [
        (1, "a ball", ("--seed", "7", "--draft")),
        (3, "a cat sits", ()),
    ]


def test_parse_file_passes_over_blanks_and_comments() -> None:
    found = prompts.parse_file("\ufeff# title\r\n\r\n  a car  \r\n # note\r\na # in the middle stays")
    assert [(line.number, line.prompt) for line in found] == [(3, "a car"), (5, "a # in the middle stays")]


def test_options_stand_at_a_lines_end() -> None:
    text = "a car's {red|blue} wheel --seed 7 --aspect 9:16\na -- dash - stays --then 'at night' --camera=static\n"
    found = prompts.parse_file(text + "5 --draft")
    assert [(line.prompt, line.words) for line in found] == [
        ("a car's {red|blue} wheel", ("--seed", "7", "--aspect", "9:16")),
        ("a -- dash - stays", ("--then", "at night", "--camera=static")),
        ("5", ("--draft",)),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n# comments"])
def test_a_file_without_prompts_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no prompt"):
        prompts.parse_file(text)


def test_a_bad_line_tells_so_and_leaves_the_others() -> None:
    found = prompts.parse_file("# first\na car\n" + "x" * 20_001 + "\na ball --then 'at\n--seed 7")
    assert [(line.number, bool(line.error)) for line in found] == [(2, False), (3, True), (4, True), (5, True)]
    assert "20,001" in found[1].error and "close every quote" in found[2].error and "empty" in found[3].error


def test_variants_turn_the_last_group_fastest() -> None:
    assert prompts.variants("a {red|blue} ball {spins|bounces}") == [
        "a red ball spins",
        "a red ball bounces",
        "a blue ball spins",
        "a blue ball bounces",
    ]
    assert prompts.variants("a {big |}ball") == ["a big ball", "a ball"]
    assert prompts.variants(r"a | \{b\|c\} \x \\") == [r"a | {b|c} \x " + "\\"]


@settings(max_examples=50)
@given(st.text("ab é🎈{}|\\ ", max_size=40).filter(str.strip))
def test_escaped_text_is_one_variant_of_itself(text: str) -> None:
    assert prompts.variants(escaped(text)) == [prompts.clean(text)]


@settings(max_examples=50)
@given(st.lists(st.tuples(parts, st.lists(parts, min_size=1, max_size=4)), max_size=4))
def test_variants_are_the_product_of_their_groups(groups: list[tuple[str, list[str]]]) -> None:
    written = "x" + "".join(escaped(before) + "{" + "|".join(map(escaped, group)) + "}" for before, group in groups)
    choices = itertools.product(*(group for _, group in groups))
    expected = ["x" + "".join(b + c for (b, _), c in zip(groups, choice, strict=True)) for choice in choices]
    assert prompts.variants(written) == [prompts.clean(e) for e in expected]


@settings(max_examples=50)
@given(st.text("ab{}|\\", max_size=12))
def test_any_text_gives_prompts_or_one_clear_line(text: str) -> None:
    try:
        found = prompts.variants(text)
    except UsageError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert 1 <= len(found) <= prompts.MAX_VARIANTS


@pytest.mark.parametrize(
    ("prompt", "says"),
    [("a {b", "no }"), ("a b}", "stray } at character 4"), ("{a {b|c}}", "do not nest"), ("{|}", "empty"),
     ("x" + "{a|b}" * 10, "1,024 prompts, at most 1,000"), ("x" + "{a|b|c|d}" * 5000, "at most 1,000")],
)  # fmt: skip
def test_variants_refuses(prompt: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        prompts.variants(prompt)


@pytest.mark.parametrize(("name", "count"), [("first-light.txt", 12), ("portrait.txt", 6)])
def test_our_prompt_files_hold_plain_prompts_each_once(name: str, count: int) -> None:
    found = [line.prompt for line in prompts.parse_file((PROMPTS / name).read_text(encoding="utf-8"))]
    assert len(found) == len(set(found)) == count
    assert all(prompts.variants(prompt) == [prompt] for prompt in found)


def test_the_first_prompt_of_the_readme() -> None:
    first = prompts.parse_file((PROMPTS / "first-light.txt").read_text(encoding="utf-8"))[0]
    assert first.prompt == "a red balloon floats up over a green meadow"
