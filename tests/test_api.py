"""The Python API: what a program or a notebook calls, in this process, with a stand-in for the model."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import sora
from conftest import Blotches
from sora import media, models
from sora.cli import app

SMALL = {"size": (64, 48), "steps": 2}
FEW = {"frames": 5, **SMALL}


@pytest.fixture(autouse=True)
def stand_in(workplace: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the models that were loaded, each time that one was."""
    loaded: list[str] = []

    def load(spec, device, dtype, speed=None):
        loaded.append(spec.name)
        return Blotches(spec, device)

    monkeypatch.setattr(models, "load", load)
    sora.unload()
    yield loaded
    sora.unload()


def command(*argv: object) -> None:
    """The command line, in this process."""
    done = CliRunner().invoke(app, [str(word) for word in argv])
    assert done.exit_code == 0, done.output


def test_importing_sora_brings_neither_torch_nor_numpy():
    code = (
        "import sora, sys; sora.SoraError; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'typer')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_listed_and_known_to_type_checkers():
    tree = ast.parse(Path(sora.__file__).read_text("utf-8"))
    typed = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert set(sora.__all__) == set(sora.HOMES) == typed
    assert set(sora.__all__) <= set(dir(sora))
    assert all(inspect.getdoc(getattr(sora, name)) for name in sora.__all__)
    with pytest.raises(AttributeError, match="no attribute 'genrate'"):
        _ = sora.genrate  # type: ignore[attr-defined]


def test_generated_frames_are_the_command_lines():
    command("generate", "a red ball", "--seed", "3", "--size", "64x48", "--steps", "2", "--frames", "5", "-o", "a.mkv")
    video = sora.generate("a red ball", seed=3, **FEW)
    assert np.array_equal(video.frames, media.read_clip("a.mkv").frames_FYXC)
    assert video.frames.shape == (5, 48, 64, 3) and video.frames.dtype == np.uint8
    assert (video.size, len(video), video.seed, video.prompt) == ((64, 48), 5, 3, "a red ball")
    assert video.seconds == 5 / video.fps
