"""Clips that a film is made of: read, cut, made even where the file needs it, and their sound put in its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sora import media
from sora.errors import InputError, UsageError
from sora.media import Sound
from sora.plan import prompts
from sora.plan.clip import Clip
from sora.plan.geometry import parse_region, wxh
from sora.plan.recipe import prompt_in

SOUND_SUFFIXES = (".mp4", ".mkv")


@dataclass(frozen=True)
class Source:
    """A clip that was read. start: the second of the file at which it begins. place: the second of the film at which
    it stands. notes: for a person."""

    path: Path
    clip: Clip
    start: float
    offset: float = 0.0
    notes: tuple[str, ...] = ()

    def placed_at(self, frame: int, fps: float | None = None) -> Source:
        """The same, standing at a frame of the film."""
        return replace(self, offset=frame / (fps or self.clip.fps))


def read(path: str | None, start: float | None, end: float | None, kind: str) -> Source:
    """The part of a clip that is asked for. kind: of the file that will be written. Raises UsageError and
    InputError."""
    assert path is not None
    clip = media.read_clip(path, start=start, end=end)
    height, width = clip.size
    notes: tuple[str, ...] = ()
    if kind == ".mp4" and (height % 2 or width % 2) and min(clip.size) > 1:
        even = height - height % 2, width - width % 2
        clip = replace(clip, frames_FYXC=clip.frames_FYXC[:, : even[0], : even[1]])
        notes = (f"{path} is {wxh((height, width))}; an .mp4 holds {wxh(even)} of it, -o in .mkv keeps all",)
    begin = math.ceil((start or 0) * clip.fps - 1e-6) / clip.fps  # of the first frame that is read
    return Source(Path(path), clip, begin, notes=notes)


def sounds(verb: str, sources: Sequence[Source], kind: str) -> tuple[tuple[Sound, ...], tuple[str, ...]]:
    """(the sound of every clip that has one, at its place in the film, what to tell a person about it)."""
    with_sound = [source for source in sources if media.sound_of(source.path)]
    if not with_sound:
        return (), ()
    names = " and ".join(dict.fromkeys(str(source.path) for source in with_sound))
    if kind not in SOUND_SUFFIXES:
        return (), (f"the sound of {names} is left out; -o in .mp4 or .mkv keeps it",)
    found = tuple(media.Sound(s.path, s.start, s.clip.seconds, s.offset) for s in with_sound)
    return found, () if verb == "edit" else (f"the sound of {names} stays with its frames; the rest is silent",)


def edit_mask(region: str | None, mask: str | None, clip: Clip) -> np.ndarray | None:
    """bool (F, Y, X) of the pixels to paint, one frame standing for all, or None for all of them. region, mask: as a
    person wrote them."""
    if mask is not None:
        return media.read_mask(mask, len(clip), clip.size)
    if region is None:
        return None
    where_FYX = np.zeros((1, *clip.size), bool)
    where_FYX[0][parse_region(region, clip.size)] = True
    return where_FYX


def recorded_prompt(path: str) -> str | None:
    """The words a file of sora's own was painted from; None for any other file, and where they are none that a person
    could have given. Raises InputError for a file that cannot be read."""
    text = media.read_recipe(path)
    if not text:
        return None
    try:
        return prompts.clean(prompt_in(text))
    except (InputError, UsageError):  # other programs write JSON too
        return None
