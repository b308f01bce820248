"""How scripts print their results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minitrain.eval.verdicts import Verdicts, markdown_table


def test_a_row_says_whether_its_target_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = Verdicts()
    verdicts.add("speed", ">= 1.3", "1.4", True)
    verdicts.add("size", "<= 1 MB", "2 MB", False)
    verdicts.add("files", "", "149")
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert cells[0] == ["what", "target", "found", ""] and set("".join(cells[1])) == {"-"}
    assert [row[-1] for row in cells[2:]] == ["met", "MISSED", ""]
    assert verdicts.summary() == "1 of 2 targets met"


@pytest.mark.parametrize(
    ("held", "found", "met"),
    [([True] * 3 + [False], "75.0 % +- 21.7 (3 of 4)", True), ([False], "0.0 % +- 0.0 (0 of 1)", False)],
)
def test_a_share_has_a_standard_error_and_a_least(held: list[bool], found: str, met: bool) -> None:
    verdicts = Verdicts()
    verdicts.add_share("seen", held, 0.7)
    (row,) = verdicts.rows
    assert (row.target, row.found.strip(), row.met) == (">= 70%", found, met)


def test_what_has_no_cases_is_neither_met_nor_missed() -> None:
    verdicts = Verdicts()
    verdicts.add_share("seen", [], 0.7)
    verdicts.add_range("seam", [])
    assert [(row.found, row.met) for row in verdicts.rows] == [("no cases", None)] * 2


def test_a_spread_tells_least_median_and_most() -> None:
    verdicts = Verdicts()
    verdicts.add_range("seam", iter([3, 1, 2, 4]), " dB")
    assert verdicts.rows[0].found == "least 1.00, median 2.50, most 4.00 dB"


def test_a_file_holds_several_sections(tmp_path: Path) -> None:
    first, again, other = Verdicts(), Verdicts(), Verdicts()
    for verdicts, found in ((first, "1"), (again, "2"), (other, "3")):
        verdicts.add("x", "", found)
    first.write_json(tmp_path / "a.json", "extend")
    again.write_json(tmp_path / "a.json", "extend")
    other.write_json(tmp_path / "a.json", "loop")
    kept = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert {name: rows[0]["found"] for name, rows in kept.items()} == {"extend": "2", "loop": "3"}


def test_a_table_is_markdown() -> None:
    assert markdown_table(("way", "s"), [("a", "1")]) == "| way | s |\n| --- | --- |\n| a | 1 |"
