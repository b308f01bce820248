"""Clips that a film is made of: read, cut, made even where the file needs it, and their sound put in its place; and
what a film says of its origin by what it was made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sora import media
from sora.jobs.inputs import Inputs
from sora.media import Sound
from sora.media.tracks import kept, layout_in
from sora.plan.clip import Clip
from sora.plan.geometry import parse_region, wxh
from sora.plan.plan import Plan
from sora.plan.request import Request

SOUND_SUFFIXES = (".mp4", ".mkv")


@dataclass(frozen=True)
class Source:
    """A clip that was read. start: the second of the file at which it begins. offset: the second of the film at
    which it begins. notes: for a person."""

    path: Path
    clip: Clip
    start: float
    offset: float = 0.0
    notes: tuple[str, ...] = ()

    def placed_at(self, frame: int, fps: float | None = None) -> Source:
        """The same, standing at a frame of the film."""
        return replace(self, offset=frame / (fps or self.clip.fps))


def read(
    files: Inputs,
    path: str | None,
    start: float | None,
    end: float | None,
    kind: str,
    deinterlace: bool | None = None,
) -> Source:
    """The part of a clip that is asked for. kind: of the file that will be written. deinterlace: as ``media.read_clip``
    takes it. Raises UsageError and InputError."""
    assert path is not None
    notes: list[str] = []
    clip = files.read_clip(path, start, end, deinterlace=deinterlace, on_note=notes.append)
    height, width = clip.size
    if kind == ".mp4" and (height % 2 or width % 2) and min(clip.size) > 1:
        even = height - height % 2, width - width % 2
        clip = replace(clip, frames_FYXC=clip.frames_FYXC[:, : even[0], : even[1]])
        notes.append(f"{path} is {wxh((height, width))}; an .mp4 holds {wxh(even)} of it, -o in .mkv keeps all")
    begin = math.ceil((start or 0) * clip.fps - 1e-6) / clip.fps  # of the first frame that is read
    return Source(Path(path), clip, begin, notes=tuple(notes))


def sounds(files: Inputs, verb: str, sources: Sequence[Source], kind: str) -> tuple[tuple[Sound, ...], tuple[str, ...]]:
    """(the sound of every clip that has one, at its place in the film, what to tell a person about it)."""
    found = [(s, files.sounds(str(s.path), s.start, s.clip.seconds, s.offset)) for s in sources]
    names = " and ".join(dict.fromkeys(str(source.path) for source, sounds in found if sounds))
    if not names:
        return (), ()
    if kind not in SOUND_SUFFIXES:
        return (), (f"the sound of {names} is left out; -o in .mp4 or .mkv keeps it",)
    notes = [] if verb == "edit" else [f"the sound of {names} stays with its frames; the rest is silent"]
    notes += [note for path in dict.fromkeys(str(s.path) for s in sources) for note in _track_notes(files, path, kind)]
    return tuple(sound for _, sounds in found for sound in sounds), tuple(notes)


def _track_notes(files: Inputs, path: str, kind: str) -> Iterator[str]:
    """What of a clip's sound a film of this kind lacks."""
    tracks = files.sound_tracks(path)
    if not tracks:
        return
    track = kept(tracks)
    if len(tracks) > 1:
        which = f"number {track.number + 1}{f' ({track.language})' if track.language else ''}"
        reason = "its default" if track.default else "its first, since it names no default"
        yield f"{path} has {len(tracks)} sound tracks; {which}, {reason}, is kept"
    if track.layout not in ("mono", "stereo") and layout_in(kind, track.layout) == "stereo":
        yield f"the sound of {path}, {track.layout}, is mixed down to stereo, since {kind} cannot hold it"


def edit_mask(files: Inputs, region: str | None, mask: str | None, clip: Clip) -> np.ndarray | None:
    """bool (F, Y, X) of the pixels to paint, one frame standing for all, or None for all of them. region, mask: as a
    person wrote them."""
    if mask is not None:
        return files.read_mask(mask, len(clip), clip.size)
    if region is None:
        return None
    where_FYX = np.zeros((1, *clip.size), bool)
    where_FYX[0][parse_region(region, clip.size)] = True
    return where_FYX


def source_type(request: Request, plan: Plan, sounds: tuple[Sound, ...], files: Inputs) -> str:
    """Which digital source type a film has, by what is known in its plan: a name of IPTC's vocabulary (NewsCodes,
    "Digital Source Type", http://cv.iptc.org/newscodes/digitalsourcetype/). Raises InputError for a source that cannot
    be read.

    trainedAlgorithmicMedia: made by a model that was trained on sampled content. Every pixel was painted: ``generate``,
    ``image``, a ``loop`` of words, and an ``edit`` that paints the whole clip anew.
    compositeWithTrainedAlgorithmicMedia: painted media together with other media, as by inpainting and outpainting.
    Pixels or sound of a person's own are in the film as they were: ``img2vid``, ``extend``, ``loop``, ``bridge``, and
    an ``edit`` of a region or of some frames. Where all of these were painted themselves, which their files say, the
    film is of the first type. Reference pictures count as words do: they say what to paint, and none of their pixels is
    in the film.
    """
    keeps_pixels = bool(plan.known_clips) or (plan.source is not None and plan.source.known_FYX is not None)
    if not keeps_pixels and not sounds:
        return media.GENERATED
    origins = [path for path in (request.image, request.last_image, request.clip, request.clip_b) if path is not None]
    painted = all(files.source_type(path) == media.GENERATED for path in origins)
    return media.GENERATED if painted else media.COMPOSITE
