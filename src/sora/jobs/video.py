"""What painting returns in Python: a video or a picture in memory, with its recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sora import media
from sora.jobs import input_paths, notebook
from sora.jobs.arguments import in_keywords, row_of
from sora.jobs.delivery import check_frames, provenance_of
from sora.jobs.drift import windows_in
from sora.media import GENERATED, Sound
from sora.media.drift import Drift, DriftMeter
from sora.plan.geometry import wxh
from sora.plan.recipe import Recipe
from sora.plan.request import Request

MAX_SHOWN = 80  # characters of a prompt in a line that describes a video


class Video:
    """A painted video. frames: uint8 RGB, (F, Y, X, 3). notes: what a person may want to know of how it was made."""

    def __init__(
        self,
        frames: np.ndarray,
        recipe: Recipe,
        *,
        sounds: tuple[Sound, ...] = (),
        files: Any = None,
        notes: tuple[str, ...] = (),
        source_type: str = GENERATED,
    ) -> None:
        """sounds: that go into its file. files: an ``Inputs`` with what it was made of, where that was in memory.
        source_type: that its file says, a name of IPTC's vocabulary."""
        self.frames, self.notes, self.sounds, self.files = frames, notes, sounds, files
        self.own_recipe, self.source_type = recipe, source_type

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.own_recipe.fps

    @property
    def seconds(self) -> float:
        """How long the video plays."""
        return len(self) / self.fps

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def request(self) -> Request:
        """The request of this one video, complete: every default is filled in, and the seed is the one it has."""
        return self.own_recipe.request

    @property
    def recipe(self) -> dict[str, Any]:
        """Everything needed to paint it again, as the files hold it: the request, the weights, sizes, versions and the
        digests of what was read."""
        return json.loads(self.own_recipe.to_json())

    @property
    def prompt(self) -> str:
        """The words of the first shot, as they were painted."""
        return self.own_recipe.prompts[0]

    @property
    def seed(self) -> int:
        """The seed it was painted with."""
        assert self.request.seed is not None
        return self.request.seed

    @property
    def drift(self) -> Drift | None:
        """How far colours, contrast and sharpness move from the first window that was painted, and in a video of
        several shots from the first one of each; measured anew each time. None for a video of one window."""
        meter = DriftMeter(windows_in(self.request, len(self), self.fps))
        meter.add(self.frames)
        found = meter.drift()
        return found if found is not None and found.from_first is not None else None

    def save(self, path: str | Path, *, force: bool = False, recipe: bool = True) -> Path:
        """Write the video and return where it stands. The suffix chooses the kind of file: .mp4, .mkv (lossless), .gif,
        .webp, or none for a folder of PNGs; a picture is a .png or .jpg. The recipe goes into the file, and in .mp4 and
        .mkv the sound of clips it was made from. Every file says that a model made it.

        force: replace a file that exists. recipe: False leaves the recipe out, and with it the prompt and all names.
        Raises UsageError for another suffix and for a file that exists, InputError for a folder that cannot be written.
        """
        text = self.own_recipe.to_json() if recipe else ""
        options: dict[str, Any] = {"sounds": self.sounds, "provenance": provenance_of(self.source_type)}
        with in_keywords(row_of(self.request.verb)):
            check_frames(str(path), len(self), "save it as .mp4, .gif, .webp, .mkv, or without a suffix for PNGs")
            with media.writer(path, self.fps, self.frames.shape[1:3], text, force, **options) as file:
                file.write(self.frames)
        if recipe:
            input_paths.remember(self.own_recipe.inputs)
        return file.path

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<sora.Video: {self._described()}>"

    def _repr_html_(self) -> str:
        return notebook.video_html(self.frames, self.fps, self._described())

    def _described(self) -> str:
        """What it is, in a line."""
        size = wxh((self.size[1], self.size[0]))
        return f"{len(self)} frames of {size} at {self.fps:g} fps, seed {self.seed}, {_shortened(self.prompt)!r}"


class Picture(Video):
    """A painted picture: a video of one frame. ``PIL.Image.fromarray(picture.frames[0])`` makes a Pillow image of
    it."""

    def __repr__(self) -> str:
        return f"<sora.Picture: {self._described()}>"

    def _repr_html_(self) -> str:
        return notebook.picture_html(self.frames[0], self._described())

    def _described(self) -> str:
        return f"{wxh((self.size[1], self.size[0]))}, seed {self.seed}, {_shortened(self.prompt)!r}"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
