"""Text of files on a terminal: one line that does nothing to it."""

from __future__ import annotations

import io
import os
import sys
import unicodedata

import pytest
from rich.console import Console

from sora.cli import bar
from sora.cli.progress import print_path
from sora.errors import printable

ASKED_OF_TERMINALS = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;owned\x07": r"\x1b]0;owned\x07",
    "a\r\nb\tc": r"a\r\nb\tc",
    "\x9b31m\x7f": r"\x9b31m\x7f",
    "gpj\u202eexe": r"gpj\u202eexe",
    "\u2066a\u2069": r"\u2066a\u2069",
    "pay\u200dpal\u200b": r"pay\u200dpal\u200b",
    "\u2028\u2029": r"\u2028\u2029",
    "\ufeff\u00ad\U000e0041": r"\ufeff\xad\U000e0041",
    "\udcff\ud800": r"\udcff\ud800",
    "a\u3164\u2800": r"a\u3164\u2800",
    "\ue000\U000f0000": r"\ue000\U000f0000",
    "a\ufe01b\U000e0100": r"a\ufe01b\U000e0100",
}
WORDS = ("a plain word", "naïve café", "снег", "雪 スノー", "مرحبا", "[red]x[/red]", "e\u0301", "\\")
JOINED = ("می\u200cخواهم", "क्\u200dष", "👩\u200d❤\ufe0f\u200d👨")


def test_what_a_terminal_would_act_on_or_not_show_is_written_out():
    for text, shown in ASKED_OF_TERMINALS.items():
        assert printable(text) == shown


@pytest.mark.parametrize("text", WORDS + JOINED)
def test_words_of_any_script_stay_as_they_are(text: str):
    assert printable(text) == text


def test_every_character_is_shown_or_written_out():
    rare = {"Cn", "Co"}  # a million that no script uses
    for code in (n for n in range(0x110000) if n % 97 == 0 or unicodedata.category(chr(n)) not in rare):
        shown = printable(chr(code))
        assert shown == chr(code) or (shown.isascii() and shown.isprintable() and shown[0] == "\\")
        assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}


def test_marks_do_not_pile_up():
    piled = printable("e" + "\u0301" * 50)
    assert piled.startswith("e" + "\u0301" * 4 + "\\u0301") and piled.count("\u0301") == 4


def test_a_long_text_loses_its_middle():
    assert printable("a" * 10_000, 100) == "a" * 66 + " ... " + "a" * 25
    assert printable("short", 100) == "short"


def test_a_script_gets_the_very_bytes_of_a_path_and_a_terminal_what_can_be_shown(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
):
    odd = os.fsdecode(b"a\x1b[2J\xff.mp4")
    print_path(odd)
    assert capfdbinary.readouterr().out == b"a\x1b[2J\xff.mp4\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_path(odd)
    assert capfdbinary.readouterr().out == rb"a\x1b[2J\udcff.mp4" + b"\n"


def test_a_bar_shows_square_brackets_as_they_are(monkeypatch: pytest.MonkeyPatch):
    shown = io.StringIO()
    monkeypatch.setattr(bar, "Console", lambda **_: Console(file=shown, force_terminal=True, width=100))
    with bar.steps(lambda _: None, "[red]film[/nothing]\x1b[2J: "):
        pass
    assert "[red]film[/nothing]\\x1b[2J: " in shown.getvalue()
