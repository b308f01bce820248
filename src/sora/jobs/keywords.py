"""The keyword arguments of every verb in Python, for editors and type checkers: the verbs' rows of ``plan.verbs`` once
more, as types. What each means and its range is in ``plan.options``, and ``help(sora.generate)`` shows it.

``None``, an empty sequence and, but for ``deinterlace``, False mean that nothing is asked for: the model's default
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict

from sora.plan.options import (
    CameraMove,
    ControlKindName,
    DeviceName,
    DtypeName,
    EditMethod,
    ReferenceBackgroundName,
    SamplerName,
    SubjectMove,
    TransitionName,
)

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    from PIL import Image

    from sora.engine.progress import ProgressEvent
    from sora.jobs.video import Video
    from sora.plan.clip import Clip
    from sora.plan.shot import Shot

    FilePath: TypeAlias = str | PathLike[str]

    ClipSource: TypeAlias = FilePath | Video | Clip | np.ndarray | Sequence[Image.Image]
    """A clip to read: a file or a folder of pictures; a video that was painted before; ``Clip(frames, fps)``; an array
    of uint8 RGB frames (F, Y, X, 3), or pictures of equal size, at 24 frames a second."""

    PictureSource: TypeAlias = FilePath | Video | np.ndarray | Image.Image
    """A picture to read: a file; a picture that was painted before; uint8 RGB (Y, X, 3); a Pillow image."""

    MaskSource: TypeAlias = PictureSource | Clip
    """What is light in it is painted: a picture for all frames, or a clip frame by frame. An array may be bool (Y, X)
    or (F, Y, X), too."""

    ShotsSource: TypeAlias = FilePath | Sequence[str | Shot | Mapping[str, Any]]
    """The shots of a film: a file with one a line, or a list of them, as words, ``Shot(prompt=..., seconds=...)`` or a
    dict of the same."""

    LoRASource: TypeAlias = FilePath | tuple[FilePath, float]
    """A LoRA's file, with a strength (1 where none is given) as FILE:STRENGTH or as a pair."""


class CallOptions(TypedDict, total=False):
    """on_progress: called as work goes on, in the thread that paints; what it raises stops the painting and is raised
    by the call. anyway: paint words that name nothing which a model of a closed vocabulary knows."""

    on_progress: Callable[[ProgressEvent], None] | None
    anyway: bool


class ModelOptions(TypedDict, total=False):
    """Which model paints, and how it is run."""

    model: FilePath | None
    loras: LoRASource | Sequence[LoRASource]
    strict: bool
    device: DeviceName | None
    dtype: DtypeName | None
    memory: str | None
    gpus: int | None
    speed: str | None
    disable: str | Sequence[str]
    threads: int | None


class SamplingOptions(CallOptions, ModelOptions, total=False):
    """Options of every verb."""

    seed: int | None
    steps: int | None
    guidance: float | None
    guidance_low: float | None
    negative_prompt: str | None
    shift: float | None
    sampler: SamplerName | None


class ShapeOptions(TypedDict, total=False):
    """Of a film whose shape no clip gives. size: (width, height) or "WIDTHxHEIGHT", in pixels. aspect: as in "16:9"."""

    aspect: str | None
    size: str | tuple[int, int] | None


class LengthOptions(TypedDict, total=False):
    """How long a film is, or the part of it that is painted: seconds or frames, not both."""

    seconds: float | None
    frames: int | None


class PartOptions(TypedDict, total=False):
    """The part of a clip that is read, in seconds of it. deinterlace: whether whole frames are made of two fields; None
    where the clip says that it has some."""

    start: float | None
    end: float | None
    deinterlace: bool | None


class MoveOptions(TypedDict, total=False):
    """How things move."""

    camera: CameraMove | None
    motion: SubjectMove | None


class BackgroundOption(TypedDict, total=False):
    """background: the colour that transparent parts of clips and pictures lie over, as "black" or "#rrggbb"."""

    background: str | None


class ReferenceOptions(TypedDict, total=False):
    """references: pictures of what the film shows, for models that take them. reference_background: "white" cuts the
    subject of each out; "keep" leaves it as it is."""

    references: PictureSource | Sequence[PictureSource]
    reference_background: ReferenceBackgroundName | None


class ControlOptions(TypedDict, total=False):
    """control: a clip or a picture that the film follows, for models that take one. control_strength: its weight, or
    one for each layer. control_frames: (first, one behind the last) of the film, or "A:B"; None for an open end."""

    control: ClipSource | PictureSource | None
    control_kind: ControlKindName | None
    control_strength: str | float | Sequence[float] | None
    control_frames: str | tuple[int | None, int | None] | None


class DraftOption(TypedDict, total=False):
    """draft: a quick sketch, for ``finish``."""

    draft: bool


class FilmOptions(SamplingOptions, ReferenceOptions, BackgroundOption, ControlOptions, DraftOption, total=False):
    """Options of every verb that paints a film."""


class GenerateOptions(FilmOptions, ShapeOptions, LengthOptions, MoveOptions, total=False):
    """Options of ``generate``. then: the words of further shots. shots: all shots, in place of a prompt."""

    then: str | Sequence[str]
    transition: TransitionName | None
    subject: str | None
    shots: ShotsSource
    subject_reference: bool | None
    fps: float | None


class ImageOptions(SamplingOptions, ReferenceOptions, ShapeOptions, DraftOption, total=False):
    """Options of ``image``."""

    control_strength: str | float | Sequence[float] | None
    refine: float | None
    camera: CameraMove | None


class Img2vidOptions(FilmOptions, ShapeOptions, LengthOptions, MoveOptions, total=False):
    """Options of ``img2vid``."""

    last_image: PictureSource | None
    fps: float | None


class ExtendOptions(FilmOptions, LengthOptions, MoveOptions, PartOptions, total=False):
    """Options of ``extend``."""

    backward: bool


class LoopOptions(FilmOptions, ShapeOptions, LengthOptions, PartOptions, total=False):
    """Options of ``loop``."""

    fps: float | None


class BridgeOptions(FilmOptions, LengthOptions, PartOptions, total=False):
    """Options of ``bridge``."""

    start_b: float | None
    end_b: float | None


class EditOptions(FilmOptions, PartOptions, total=False):
    """Options of ``edit``. region: (x, y, width, height) or "X,Y,W,H", in pixels. frame_range: (first, one behind the
    last) or "A:B"; None for an open end."""

    strength: float | None
    region: str | tuple[int, int, int, int] | None
    mask: MaskSource | None
    frame_range: str | tuple[int | None, int | None] | None
    method: EditMethod | None
    source_prompt: str | None


class FinishOptions(SamplingOptions, ShapeOptions, total=False):
    """Options of ``finish``."""

    draft_strength: float | None


class RemakeOptions(FilmOptions, ShapeOptions, LengthOptions, MoveOptions, PartOptions, total=False):
    """Options of ``remake``: those of the verb that the recipe is of."""

    prompt: str | None
    image: PictureSource
    last_image: PictureSource | None
    clip: ClipSource
    clip_b: ClipSource
    mask: MaskSource | None
    then: str | Sequence[str]
    transition: TransitionName | None
    subject: str | None
    shots: ShotsSource
    subject_reference: bool | None
    fps: float | None
    refine: float | None
    backward: bool
    start_b: float | None
    end_b: float | None
    strength: float | None
    region: str | tuple[int, int, int, int] | None
    frame_range: str | tuple[int | None, int | None] | None
    method: EditMethod | None
    source_prompt: str | None
    draft_strength: float | None
