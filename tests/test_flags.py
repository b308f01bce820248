"""Flags in text: what a verb takes, what it refuses, and a request as a command line."""

from __future__ import annotations

import pytest

from sora.errors import UsageError
from sora.plan.flags import parse, spelled
from sora.plan.request import Request, changed, fields, from_data, to_data
from sora.plan.verbs import FINISH, VERBS


def test_flags_become_values_and_the_rest_stays():
    words = ["--then", "at night", "--then=b", "a ball", "--seed", "7", "--draft", "--", "--no", "flag"]
    values, rest = parse("generate", VERBS["generate"], words)
    assert values == {"then": ("at night", "b"), "seed": 7, "draft": True}
    assert rest == ["a ball", "--no", "flag"]


def test_a_flag_means_what_its_verb_says():
    assert parse("edit", VERBS["edit"], ["--frames", "2:5"])[0] == {"frame_range": "2:5"}
    assert parse("extend", VERBS["extend"], ["--frames", "5"])[0] == {"frames": 5}
    assert parse("edit", VERBS["edit"], ["--strength", "0.5"])[0] == {"strength": 0.5}
    assert parse("finish", FINISH, ["--strength", "0.5"])[0] == {"draft_strength": 0.5}


RENAMED = (
    ("edit", "--was", "--source-prompt", "grass"),
    ("edit", "--without", "--disable", "winograd"),
    ("generate", "--negative", "--negative-prompt", "snow"),
    ("img2vid", "--last", "--last-image", "b.png"),
)


def test_flags_of_earlier_versions_mean_what_the_present_ones_do():
    for verb, old, new, value in RENAMED:
        for words in ([old, value], [f"{old}={value}"]):
            values, rest = parse(verb, VERBS[verb], words)
            assert (values, rest) == parse(verb, VERBS[verb], [new, value]) and values, old


def test_what_a_verb_does_not_take_is_refused_in_one_line():
    for words in (
        ["--output", "x"],
        ["--seed"],
        ["--seed", "x"],
        ["--draft=1"],
        ["--camera", "dolly"],
        ["--region", "1"],
    ):
        with pytest.raises(UsageError) as caught:
            parse("generate", VERBS["generate"], words)
        assert words[0].split("=")[0] in str(caught.value) and "\n" not in str(caught.value)


def test_every_option_of_every_verb_is_a_field_with_help():
    for name, row in VERBS.items():
        assert set(row.fields) <= fields().keys(), name
        assert len(set(row.fields)) == len(row.fields), name
        assert all(row.field(each).help for each in row.fields), name
        flags = [flag for each in row.fields for flag in (*row.field(each).flags, *row.field(each).old_flags)]
        assert sorted(row.by_flag()) == sorted(flags), f"{name} has a flag twice"


REQUESTS = (
    Request(verb="generate", prompt="a ball", then=("b c", "-d"), seed=3, guidance=2.5, loras=("x:0.5", "y")),
    Request(verb="edit", clip="/a.mkv", prompt="-5 balls", frame_range="2:", strength=0.25, method="flow"),
    Request(verb="loop", prompt="a ball", frames=8, draft=True),
    Request(verb="bridge", clip="/a.mkv", clip_b="/b.mkv", start_b=1.5, deinterlace=True),
    Request(verb="extend", clip="/a.mkv", deinterlace=False),
)


def test_a_spelled_command_line_asks_for_the_same():
    for request in REQUESTS:
        verb, *words = spelled(request)
        row = VERBS[verb]
        values, rest = parse(verb, row, words)
        places = dict(zip((*row.required, *row.optional), rest, strict=False))
        assert Request(verb=request.verb, **places, **values) == request
        assert from_data(to_data(request), "a recipe") == request


def test_a_finished_draft_is_spelled_as_finish():
    request = Request(verb="generate", prompt="a", frames=5, draft_file="/d.mkv", draft_strength=0.5, seed=1)
    assert spelled(request) == ["finish", "--strength", "0.5", "--seed", "1", "/d.mkv"]


def test_a_value_takes_the_place_of_what_says_the_same():
    request = Request(verb="generate", prompt="a", size="64x48", frames=5)
    assert to_data(changed(request, {"aspect": "1:1", "seconds": 2.0})) == {
        "verb": "generate",
        "prompt": "a",
        "aspect": "1:1",
        "seconds": 2.0,
    }
    assert changed(request, {"size": "9x9", "aspect": "1:1"}).size == "9x9"
