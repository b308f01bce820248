"""What a film is made of: files, or clips and pictures in memory, which a request names by their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from sora import media
from sora.errors import InputError, UsageError
from sora.jobs.video import Picture, Video
from sora.media import WHITE, Background, Info, Sound, ignore
from sora.media.tracks import SoundTrack
from sora.plan import prompts
from sora.plan.clip import Clip, fit
from sora.plan.recipe import prompt_in

REFERENCES = "references"
"""The keyword argument of reference pictures, what is transparent of which always lies over white."""


@dataclass(frozen=True)
class MemoryInput:
    """A clip, or a picture, which is a clip of one frame. is_still: whether it is a picture. is_transparent: whether
    any of it was, before it was laid over white. marked_FYX: what a mask of
    it selects, bool; None for the light pixels. prompt: it was painted from, None where that is not known. sounds: in
    it, at their places. source_type: as ``media.Info`` has it. notes: on how it was read, to stand behind its name."""

    clip: Clip
    is_still: bool = False
    is_transparent: bool = False
    marked_FYX: np.ndarray | None = None
    prompt: str | None = None
    sounds: tuple[Sound, ...] = ()
    source_type: str | None = None
    notes: tuple[str, ...] = ()


class Inputs:
    """Reads what a request names: from memory what ``add`` put there, and everything else from files. Each method
    raises InputError for what cannot be read."""

    def __init__(self, others: Inputs | None = None, background: Background = WHITE) -> None:
        """others: what they hold in memory is here, too. background: what transparency lies over."""
        self._background = background
        self._in_memory: dict[str, MemoryInput] = dict(others._in_memory) if others is not None else {}

    def __contains__(self, name: str) -> bool:
        """Whether it is in memory."""
        return name in self._in_memory

    def add(self, name: str, source: Any) -> str:
        """Take a clip, a picture or a mask from memory, and return what a request calls it; paths stay as they are.
        name: of the keyword argument that it came in. Raises UsageError for what is none of them."""
        if isinstance(source, str) or hasattr(source, "__fspath__"):
            return source
        found = _from_memory(name, source, WHITE if name == REFERENCES else self._background)
        digest = hashlib.sha256(f"{found.clip.frames_FYXC.shape} {found.clip.fps}".encode())
        digest.update(np.ascontiguousarray(found.clip.frames_FYXC).data)
        called = f"memory:{digest.hexdigest()}"
        self._in_memory[called] = found
        return called

    def read_clip(
        self,
        path: str,
        start: float | None,
        end: float | None,
        *,
        deinterlace: bool | None = None,
        on_note: Callable[[str], None] = ignore,
    ) -> Clip:
        """As ``media.read_clip``."""
        if path not in self._in_memory:
            options: dict[str, Any] = {"deinterlace": deinterlace, "background": self._background, "on_note": on_note}
            return media.read_clip(path, start=start, end=end, **options)
        self._note(path, on_note)
        return self._clip(path, start, end)

    def read_frames(
        self, path: str, numbers: Sequence[int], size: tuple[int, int], on_note: Callable[[str], None] = ignore
    ) -> np.ndarray:
        """As ``media.read_frames``."""
        if path not in self._in_memory:
            return media.read_frames(path, numbers, size, background=self._background, on_note=on_note)
        self._note(path, on_note)
        frames_FYXC = self._in_memory[path].clip.frames_FYXC
        return np.stack([fit(frames_FYXC[n], *size) for n in numbers])

    def _note(self, path: str, on_note: Callable[[str], None]) -> None:
        for note in self._in_memory[path].notes:
            on_note(f"{path} {note}")

    def _clip(self, path: str, start: float | None, end: float | None) -> Clip:
        found = self._in_memory[path]
        if found.is_still:
            raise InputError(f"{path} is a still picture; expected a clip (img2vid animates a still)")
        return media.cut(found.clip, path, start, end)

    def read_image(self, path: str, on_note: Callable[[str], None] = ignore) -> np.ndarray:
        """As ``media.read_image``."""
        if path not in self._in_memory:
            return media.read_image(path, background=self._background, on_note=on_note)
        self._note(path, on_note)
        return self._in_memory[path].clip.frames_FYXC[0]

    def read_reference(self, path: str, on_note: Callable[[str], None] = ignore) -> tuple[np.ndarray, bool]:
        """As ``media.read_reference``."""
        if path not in self._in_memory:
            return media.read_reference(path, on_note=on_note)
        found = self._in_memory[path]
        if len(found.clip) > 1:
            raise InputError(f"{path} is a clip of {len(found.clip)} frames; expected a picture as a reference")
        for note in found.notes:
            if note != WHITE.note:
                on_note(f"{path} {note}")
        return found.clip.frames_FYXC[0], found.is_transparent

    def read_mask(self, path: str, frames: int, size: tuple[int, int]) -> np.ndarray:
        """As ``media.read_mask``."""
        if path not in self._in_memory:
            return media.read_mask(path, frames, size)
        found = self._in_memory[path]
        marks = found.marked_FYX
        if marks is None:
            marks = [media.marked(Image.fromarray(frame)) for frame in found.clip.frames_FYXC[:frames]]
        return media.mask_of(marks[:frames], path, frames, size)

    def info(self, path: str) -> Info:
        """As ``media.probe``, but for codecs and pixel formats in memory, where there are none."""
        if path not in self._in_memory:
            return media.probe(path)
        found = self._in_memory[path]
        (height, width), clip = found.clip.size, found.clip
        if found.is_still:
            return Info("image", width, height, 1, 0.0, 0.0, "", "")
        return Info("video", width, height, len(clip), clip.fps, clip.seconds, "", "")

    def is_picture(self, path: str) -> bool:
        """Whether it is one picture, and no clip."""
        return self._in_memory[path].is_still if path in self._in_memory else media.probe(path).kind == "image"

    def recorded_prompt(self, path: str) -> str | None:
        """The words that it was painted from; None for what sora did not paint, and where they are none that a person
        could have given."""
        if path in self._in_memory:
            return self._in_memory[path].prompt
        text = media.read_recipe(path)
        if not text:
            return None
        try:
            return prompts.clean(prompt_in(text))
        except (InputError, UsageError):  # other programs write JSON too
            return None

    def source_type(self, path: str) -> str | None:
        """What it says of where it came from, as ``media.Info`` has it."""
        return self._in_memory[path].source_type if path in self._in_memory else media.read_notes(path).source_type

    def sound_tracks(self, path: str) -> tuple[SoundTrack, ...]:
        """As ``media.sound_tracks``; of a clip in memory none, whose sounds are stretches of files."""
        return () if path in self._in_memory else media.sound_tracks(path)

    def sounds(self, path: str, start: float, length: float, offset: float) -> tuple[Sound, ...]:
        """The sound of a part of a clip, placed in a film. All times in seconds. start, length: of the part. offset:
        where it begins in the film."""
        if path not in self._in_memory:
            return (Sound(Path(path), start, length, offset),) if media.sound_tracks(path) else ()
        moved = (_part_of(sound, start, length, offset) for sound in self._in_memory[path].sounds)
        return tuple(sound for sound in moved if sound is not None)


def _from_memory(name: str, source: Any, background: Background) -> MemoryInput:
    """Raises UsageError."""
    notes: dict[str, None] = {}  # each once
    if isinstance(source, Video):
        clip, prompt = Clip(source.frames, source.fps), source.prompt or None
        origin = {"prompt": prompt, "sounds": source.sounds, "source_type": source.source_type}
        return MemoryInput(clip, isinstance(source, Picture), **origin)
    if isinstance(source, Clip):
        return MemoryInput(source)
    if isinstance(source, Image.Image):
        upright = ImageOps.exif_transpose(source)
        frame_YXC = media.rgb(upright, background, notes.setdefault)
        clip, marked_FYX = Clip(frame_YXC[None], media.FOLDER_FPS), media.marked(upright)[None]
        more = {"is_transparent": media.is_transparent(upright), "notes": tuple(notes)}
        return MemoryInput(clip, True, marked_FYX=marked_FYX, **more)
    if isinstance(source, Sequence) and source and all(isinstance(each, Image.Image) for each in source):
        if len({each.size for each in source}) > 1:
            raise UsageError(f"{name}: the pictures differ in size; make them equal")
        frames_FYXC = np.stack([media.rgb(each, background, notes.setdefault) for each in source])
        return MemoryInput(Clip(frames_FYXC, media.FOLDER_FPS), notes=tuple(notes))
    return _from_array(name, np.asarray(source))


def _from_array(name: str, array: np.ndarray) -> MemoryInput:
    """Raises UsageError."""
    if array.dtype == bool and array.ndim in (2, 3) and array.size:
        marked_FYX = array[None] if array.ndim == 2 else array
        grey_FYXC = np.repeat(marked_FYX[..., None], 3, axis=-1).astype(np.uint8) * 255
        return MemoryInput(Clip(grey_FYXC, media.FOLDER_FPS), array.ndim == 2, marked_FYX=marked_FYX)
    frames_FYXC = array[None] if array.ndim == 3 else array
    try:
        return MemoryInput(Clip(frames_FYXC, media.FOLDER_FPS), array.ndim == 3)
    except ValueError:
        found = f"{array.dtype} {array.shape}" if array.dtype != object else "another kind of object"
        expected = "a path, a video, a Pillow image, or a uint8 RGB array (F, Y, X, 3) or (Y, X, 3)"
        raise UsageError(f"{name} is {found}; expected {expected}") from None


def _part_of(sound: Sound, start: float, length: float, offset: float) -> Sound | None:
    """What of a sound in a clip lies in a part of the clip, placed in a film; None for nothing. As ``sounds``."""
    begin, end = max(sound.at, start), min(sound.at + sound.length, start + length)
    if end - begin < 1e-6:
        return None
    return Sound(sound.path, sound.start + begin - sound.at, end - begin, offset + begin - start)
