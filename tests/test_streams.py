"""Standard streams of any encoding: all that is printed arrives, readable where that is possible."""

from __future__ import annotations

import io
import sys

import pytest
import typer

from sora.cli import streams
from sora.cli.bar import steps
from sora.engine.progress import ProgressEvent

ENCODINGS = ["ascii", "cp1252", "latin-1", "cp437", "gbk", "shift_jis", "utf-16", "utf-8"]


def installed(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """The bytes that reach standard error, which has this encoding and is as the program installs it."""
    taken = io.BytesIO()
    stream = io.TextIOWrapper(taken, encoding=encoding, errors="strict", write_through=True)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream)
    streams.install()
    return taken


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_text_arrives_in_the_encoding_of_its_stream(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = installed(monkeypatch, encoding)
    typer.echo("a “red” ball … 球 \N{BALLOON} \udcff → é", err=True)
    text = taken.getvalue().decode(encoding)
    assert "red" in text and text.endswith("\n")
    if encoding == "ascii":
        assert text == 'a "red" ball ... \\u7403 \\U0001f388 \\udcff -> \\xe9\n'


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bar_is_drawn_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = installed(monkeypatch, encoding)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with steps(lambda _: None, "球é… ") as on_event:
        on_event(ProgressEvent("sample", 1, 2))
    assert "painting" in taken.getvalue().decode(encoding)
