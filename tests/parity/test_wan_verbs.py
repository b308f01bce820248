"""Every verb on every kind of Wan checkpoint, through the command line."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from wan_folders import PIPELINES, pipeline

from sora import media
from sora.cli import app

SIDE, SHOWN, PAINTED = 64, 6, 5  # pixels; frames of the clips that are gone on from, and frames painted
VERBS: dict[str, list[str]] = {
    "generate": ["generate", "a red cat", "--frames", str(PAINTED)],
    "image": ["image", "a red cat"],
    "img2vid": ["img2vid", "a.png", "walks", "--frames", str(1 + PAINTED)],
    "extend": ["extend", "a.mkv", "walks", "--frames", str(PAINTED)],
    "backward": ["extend", "a.mkv", "walks", "--frames", str(PAINTED), "--backward"],
    "loop": ["loop", "a.mkv", "--prompt", "walks", "--frames", str(PAINTED)],
    "circle": ["loop", "--prompt", "the sea", "--frames", "8"],
    "bridge": ["bridge", "a.mkv", "b.mkv", "walks", "--frames", str(PAINTED)],
    "region": ["edit", "a.mkv", "a boat", "--region", "0,0,32,32"],
    "anew": ["edit", "a.mkv", "a boat", "--strength", "0.5"],
}
SIZED = ("generate", "image", "img2vid", "circle")  # the others have the size of their clip
# Which frames of the film are the clips' own, and must come back bit for bit.
KEPT: dict[str, dict[str, slice]] = {
    "img2vid": {"a": slice(0, 1)},
    "extend": {"a": slice(0, SHOWN)},
    "backward": {"a": slice(PAINTED, None)},
    "loop": {"a": slice(0, SHOWN)},
    "bridge": {"a": slice(0, SHOWN), "b": slice(SHOWN + PAINTED, None)},
}
LENGTHS = {"generate": PAINTED, "img2vid": 1 + PAINTED, "bridge": 2 * SHOWN + PAINTED, "circle": 8, "image": 1}
LENGTHS |= dict.fromkeys(("extend", "backward", "loop"), SHOWN + PAINTED) | dict.fromkeys(("region", "anew"), SHOWN)
# A second expert takes what the first one takes: these verbs begin with either, and know a start, an end or nothing.
OF_TWO_EXPERTS = ("generate", "img2vid", "extend", "bridge", "anew")
CASES = [(kind, verb) for kind in PIPELINES for verb in VERBS if not kind.endswith("a14b") or verb in OF_TWO_EXPERTS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def made(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("models") / kind
        pipeline(kind).save_pretrained(folder)
        return folder

    return made


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with two films and a picture, and their frames."""
    folder, frames = tmp_path_factory.mktemp("clips"), {}
    for number, name in enumerate("ab"):
        draw = np.random.default_rng(number).integers(0, 256, (SHOWN, 4, 4, 3), np.uint8)
        frames[name] = draw.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)
        with media.writer(str(folder / f"{name}.mkv"), 16.0, (SIDE, SIDE), "{}", False) as file:
            file.write(frames[name])
    Image.fromarray(frames["a"][0]).save(folder / "a.png")
    return folder, frames


@pytest.mark.parametrize(("kind", "verb"), CASES)
def test_each_verb(
    folders: Any, clips: tuple[Path, dict[str, np.ndarray]], kind: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, shown = clips
    monkeypatch.chdir(folder)
    out = f"{kind}-{verb}.png" if verb == "image" else f"{kind}-{verb}.mkv"
    said = [*VERBS[verb], "--model", str(folders(kind)), "--steps", "2", "--guidance", "1", "--seed", "1", "-o", out]
    result = CliRunner().invoke(app, [*said, *(["--size", f"{SIDE}x{SIDE}"] if verb in SIZED else [])])
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    film = media.read_image(out)[None] if verb == "image" else media.read_clip(out).frames_FYXC
    assert film.shape == (LENGTHS[verb], SIDE, SIDE, 3)
    for name, place in KEPT.get(verb, {}).items():
        assert np.array_equal(film[place], shown[name][: len(film[place])])
    if verb == "region":
        assert np.array_equal(film[:, 48:, 48:], shown["a"][:, 48:, 48:])
    assert film.std() > 5
