"""What a notebook shows of a video and a picture."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sora
from sora import media
from sora.jobs import notebook

FEW = {"seed": 1, "frames": 5, "size": (64, 48), "steps": 2}
TRAP = '"><script>alert(1)</script>'


pytestmark = pytest.mark.usefixtures("stand_in")


class Page(HTMLParser):
    """The elements of a page, by name, with their attributes, and its text. Fails where one is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: dict[str, dict[str, str | None]] = {}
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = dict(attrs)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def data_in(page: Page, tag: str, kind: str) -> bytes:
    source = page.elements[tag]["src"] or ""
    assert source.startswith(f"data:{kind};base64,")
    return base64.b64decode(source.partition(",")[2], validate=True)


def test_a_video_is_shown_as_a_player_that_holds_it():
    video = sora.generate("a red ball", **FEW)
    page = Page(video._repr_html_())
    assert page.elements["video"].keys() >= {"autoplay", "loop", "muted", "controls", "playsinline"}
    assert (page.elements["video"]["width"], page.elements["video"]["height"]) == ("64", "48")
    Path("shown.mp4").write_bytes(data_in(page, "video", "video/mp4"))
    info = media.probe("shown.mp4")
    assert (info.frames, info.width, info.height, info.fps) == (5, 64, 48, video.fps)
    assert "a red ball" in page.text and "5 frames" in page.text


def test_a_picture_is_shown_as_png():
    picture = sora.image("a red ball", seed=1, size=(64, 48), steps=2)
    page = Page(picture._repr_html_())
    shown = np.asarray(Image.open(io.BytesIO(data_in(page, "img", "image/png"))))
    assert np.array_equal(shown, picture.frames[0])


def test_words_from_outside_are_no_html():
    for video in (
        sora.generate(f"a red ball {TRAP}", anyway=True, **FEW),
        sora.image(f"a red ball {TRAP}", anyway=True, seed=1, size=(64, 48), steps=2),
    ):
        html = video._repr_html_()
        page = Page(html)
        assert "script" not in page.elements and "<script" not in html
        assert set(page.elements) <= {"figure", "figcaption", "video", "img"} and TRAP in page.text


def test_what_is_shown_is_bounded(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (9, 101, 1003, 3), dtype=np.uint8)
    monkeypatch.setattr(notebook, "MAX_FRAMES", 4)
    page = Page(notebook.video_html(frames, 8.0, "noise"))
    assert page.elements["video"]["width"] == "768" and "first 4 frames" in page.text
    assert int(page.elements["video"]["height"] or 0) % 2 == 0
    monkeypatch.setattr(notebook, "MAX_BYTES", 1000)
    page = Page(notebook.video_html(frames, 8.0, "noise"))
    assert "video" not in page.elements and "too large to play here" in page.text


def test_a_line_describes_what_was_painted():
    video, picture = sora.generate("a red ball", **FEW), sora.image("a red ball", seed=1, size=(64, 48), steps=2)
    assert repr(video) == "<sora.Video: 5 frames of 64x48 at 8 fps, seed 1, 'a red ball'>"
    assert repr(picture) == "<sora.Picture: 64x48, seed 1, 'a red ball'>"
    long = sora.generate("a red ball " + "that rolls " * 50, **FEW)
    assert len(repr(long)) < 200 and not re.search(r"[\n\r]", repr(long))
