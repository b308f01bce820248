"""What each verb needs: the files it reads, checked, the film's size, rate and length, and its Plan. Nothing here needs
torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sora import media
from sora.catalog.spec import ModelSpec
from sora.errors import UsageError
from sora.jobs import control, sources
from sora.jobs.inputs import Inputs
from sora.jobs.sources import Source
from sora.plan import geometry, operations, prompts, retiming, shot_spans
from sora.plan.clip import fit, resampled
from sora.plan.crop import crop_around
from sora.plan.geometry import Size, wxh
from sora.plan.plan import Format, Plan
from sora.plan.recipe_names import is_in_memory
from sora.plan.request import Request
from sora.plan.shot import Shot
from sora.plan.shot_spans import TRANSITION_FRAMES, Spans

MIN_SECONDS = 2.0  # that are painted of a clip's continuation, return or bridge where no length is asked for
NEARLY_WHOLE = 0.9  # of a picture's longer side: what a grid's sizes cut off is less
MAX_TEXT_LOOP_CYCLES = 4  # times the model's own cycle, which is painted in one piece
MAX_REFINED_SIDE = 2048  # pixels a side


@dataclass(frozen=True)
class VerbContext:
    """A request for one model. prompts: of each shot, as they are painted. kind: of the file that will be written.
    files: read what the request names."""

    request: Request
    spec: ModelSpec
    prompts: Sequence[str]
    kind: str
    files: Inputs

    def format(self, size: Size, fps: float | None = None) -> Format:
        """The format of a film of (height, width), at the model's rate where none is given."""
        return self.spec.format(size, self.spec.defaults.fps if fps is None else fps, draft=self.request.draft)

    @property
    def least_frames(self) -> int:
        """Frames of the model's in MIN_SECONDS."""
        return math.ceil(MIN_SECONDS * self.spec.defaults.fps)

    def is_retimed(self, fps: float) -> bool:
        """Whether a film of that rate is painted at the model's."""
        return not retiming.is_near(fps, self.spec.defaults.fps)

    def fps(self) -> float:
        """Frames a second of a film that no clip gives its rate."""
        return self.spec.defaults.fps if self.request.fps is None else self.request.fps

    def frames(self, fps: float, default: int, *, first: int = 0) -> int:
        """How many are asked for, at that rate. default: at the model's rate. first: frames of it that no
        interval precedes: 1 for a film that begins with them, -1 where known frames lie on both sides. Raises
        UsageError."""
        if self.is_retimed(fps):
            default = first + math.ceil((default - first) * fps / self.spec.defaults.fps - 1e-6)
        return geometry.length(self.request.seconds, self.request.frames, fps, default)

    def size(self, default_aspect: float | None = None) -> Size:
        """(height, width) of a film that no clip gives its size. default_aspect: width / height where none is asked
        for."""
        return self.spec.film_size(self.request.size, self.request.aspect, default_aspect)

    def control_shape(self) -> float | None:
        """Width / height of the control clip, None where there is none. Raises InputError."""
        if self.request.control is None:
            return None
        info = self.files.info(self.request.control)
        return info.width / info.height

    def length(self, fps: float, default: int, *, first: int) -> tuple[int, tuple[str, ...]]:
        """(frames of a film that no clip gives its length, notes): as ``frames``, but as long as its control clip, if
        it has one. Raises UsageError and InputError."""
        request = self.request
        if request.control is None or request.seconds is not None or request.frames is not None:
            return self.frames(fps, default, first=first), ()
        usual = self.frames(fps, default, first=first)
        return control.length(self.files.info(request.control), request, fps, usual)

    def clip(self) -> Source:
        """The first clip. Raises UsageError and InputError."""
        request = self.request
        return sources.read(self.files, request.clip, request.start, request.end, self.kind, request.deinterlace)


@dataclass(frozen=True)
class VerbPlan:
    """A verb's plan. sources: clips that are in the film, with their places. inputs: everything that was read. notes:
    for a person. completed: the request's fields as they were understood."""

    plan: Plan
    sources: tuple[Source, ...] = ()
    inputs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    completed: dict[str, Any] = field(default_factory=dict)


def generate(context: VerbContext) -> VerbPlan:
    """Raises UsageError, as all of these do."""
    request, spec, fps = context.request, context.spec, context.fps()
    count, transition = len(context.prompts), request.transition or "cut"
    if request.transition is not None and count == 1:
        raise UsageError("--transition joins two shots, and there is one; add --then with the next one")
    if request.subject_reference is not None and count == 1:
        raise UsageError("--subject-reference is about films of several shots; add --then with the next one")
    if request.background is not None and request.control is None:
        raise UsageError("--background lies under a control clip, and there is none; leave it out")
    if request.shots:
        spans, notes = _spans_of_shots(context, fps)
        lengths: dict[str, Any] = {"shots": _completed_shots(request, spans), "frames": None, "seconds": None}
    else:
        frames, notes = _frames_of_film(context, fps, count, transition)
        spans, lengths = shot_spans.even(frames, count, transition), _length_fields(frames)
    size = context.size(context.control_shape())
    plan = _film(context, spans, size, fps)
    completed = _size_fields(size) | lengths | {"fps": fps}
    if count > 1:
        shows_subject = request.subject_reference is not False
        completed |= {"subject_reference": shows_subject}
        plan = replace(plan, subject_from_first_shot=shows_subject and spec.takes_references)
    if plan.shows_first_shot and not request.references:
        note = "later shots are shown a frame of the first one as a reference; --no-subject-reference shows them none"
        notes = (*notes, note)
    return VerbPlan(plan, notes=notes, completed=completed)


def _frames_of_film(context: VerbContext, fps: float, shots: int, transition: str) -> tuple[int, tuple[str, ...]]:
    """(frames of a film of shots that are equally long, notes)."""
    between = TRANSITION_FRAMES * (shots - 1) if transition == "flow" else 0
    frames, notes = context.length(fps, shots * context.spec.defaults.frames + between, first=shots)
    if frames < shots + between:
        message = f"{frames} frames are too few for {shots} shots"
        raise UsageError(f"{message}; ask for {shots + between} or more with --frames or --seconds")
    return frames, notes


def _spans_of_shots(context: VerbContext, fps: float) -> tuple[Spans, tuple[str, ...]]:
    """(which frames are of which shot, notes)."""
    request, usual = context.request, context.spec.defaults.frames
    is_open = any(shot.seconds is None and shot.frames is None for shot in request.shots)
    asks_length = request.seconds is not None or request.frames is not None
    total, notes = None, ()
    if asks_length or (request.control is not None and is_open):
        total, notes = context.length(fps, usual, first=1)
    alone = replace(context, request=msgspec.structs.replace(request, seconds=None, frames=None))
    options: dict[str, Any] = {"default": alone.frames(fps, usual, first=1), "total": total}
    return shot_spans.of(request.shots, fps=fps, transition=request.transition or "cut", **options), notes


def _completed_shots(request: Request, spans: Spans) -> tuple[Shot, ...]:
    """The shots with their lengths in frames."""
    ends = [0, *(span.stop for span in spans)]
    return tuple(
        msgspec.structs.replace(shot, seconds=None, frames=span.stop - end)
        for shot, span, end in zip(request.shots, spans, ends, strict=False)
    )


def _film(context: VerbContext, spans: Spans, size: Size, fps: float) -> Plan:
    if not context.is_retimed(fps):
        return operations.film(context.prompts, spans, format=context.format(size, fps))
    if context.request.shots:
        return retiming.film(context.prompts, spans, fps=fps, format=context.format(size))
    options: dict[str, Any] = {"frames": spans[-1].stop, "transition": context.request.transition or "cut"}
    return retiming.generate(context.prompts, fps=fps, format=context.format(size), **options)


def image(context: VerbContext) -> VerbPlan:
    size = context.size()
    if context.request.refine and max(size) > MAX_REFINED_SIDE:
        most = f"{MAX_REFINED_SIDE}x{MAX_REFINED_SIDE}"
        raise UsageError(f"--refine paints up to {most}, not {wxh(size)}; make --size smaller or leave --refine out")
    plan = operations.image(context.prompts[0], format=context.format(size, context.spec.defaults.fps))
    return VerbPlan(plan, completed=_size_fields(size))


def img2vid(context: VerbContext) -> VerbPlan:
    files = [file for file in (context.request.image, context.request.last_image) if file is not None]
    fps = context.fps()
    frames, length_notes = context.length(fps, context.spec.defaults.frames, first=1)
    if frames < len(files):
        raise UsageError("a film from one picture to another has 2 frames at least; ask for --frames 2 or more")
    context.size()  # refuses before a large picture is read
    notes = list(length_notes)
    pictures = [context.files.read_image(file, notes.append) for file in files]
    size = context.size(pictures[0].shape[1] / pictures[0].shape[0])
    first, *last = [fit(picture_YXC, *size) for picture_YXC in pictures]
    options: dict[str, Any] = {
        "frames": frames,
        "format": context.format(size, fps),
        "last_image_YXC": last[0] if last else None,
    }
    plan = operations.img2vid(first, context.prompts[0], **options)
    completed = _size_fields(size) | _length_fields(frames) | {"fps": fps}
    notes += filter(None, (_picture_note(*each, size) for each in zip(files, pictures, strict=True)))
    return VerbPlan(plan, inputs=tuple(map(Path, files)), notes=tuple(notes), completed=completed)


def _picture_note(path: str, picture_YXC: np.ndarray, size: Size) -> str:
    """What becomes of a picture in a film of (height, width); empty where it is as large."""
    height, width = picture_YXC.shape[:2]
    if (height, width) == size:
        return ""
    shape, film_shape = width / height, size[1] / size[0]
    shown = min(shape, film_shape) / max(shape, film_shape)
    cut = "" if shown > NEARLY_WHOLE else f", which shows the middle {shown:.0%} of it; --size and --aspect choose"
    name = "the picture" if is_in_memory(path) else path
    return f"{name} is {wxh((height, width))}, the film {wxh(size)}{cut}"


def extend(context: VerbContext) -> VerbPlan:
    source, backward = context.clip(), context.request.backward
    clip = source.clip
    frames = context.frames(clip.fps, max(context.spec.defaults.frames - 1, context.least_frames))
    format = context.format(clip.size, clip.fps)
    plan = operations.extend(clip, context.prompts[0], frames=frames, format=format, backward=backward)
    return _clip_plan(plan, (source.placed_at(frames if backward else 0),), _length_fields(frames))


def loop(context: VerbContext) -> VerbPlan:
    if context.request.clip is None:
        return _text_loop(context)
    for flag in ("size", "aspect", "fps"):
        if getattr(context.request, flag) is not None:
            raise UsageError(f"a clip's loop keeps the clip's own size and rate; leave --{flag} out")
    source, d = context.clip(), context.spec.defaults
    clip = source.clip
    usual = max(context.least_frames, d.window - d.context - d.context_after)
    frames = context.frames(clip.fps, usual, first=-1)
    plan = operations.loop(clip, context.prompts[0], frames=frames, format=context.format(clip.size, clip.fps))
    return _clip_plan(plan, (source,), _length_fields(frames))


def _text_loop(context: VerbContext) -> VerbPlan:
    """A loop from words alone, whose length is a multiple of the grid's."""
    request, spec = context.request, context.spec
    if request.prompt is None:
        raise UsageError('a loop is made of a clip or of words; give CLIP or --prompt "..."')
    if request.start is not None or request.end is not None:
        raise UsageError("--start and --end choose a part of a clip, and there is none; leave them out")
    if request.background is not None:
        raise UsageError("--background lies under a clip, and there is none; leave it out")
    time, fps = spec.grid.time, context.fps()
    is_retimed = context.is_retimed(fps)
    requested = context.frames(fps, spec.defaults.loop_frames)
    frames = requested if is_retimed else time * max(1, (2 * requested + time) // (2 * time))
    longest = MAX_TEXT_LOOP_CYCLES * spec.defaults.loop_frames
    longest = int(longest * fps / spec.defaults.fps) if is_retimed else longest
    if frames > longest:
        message = f"{frames} frames are too long a loop from words"
        raise UsageError(f"{message}; expected at most {longest} ({longest / fps:g} s at {fps:g} fps), or loop a clip")
    notes = (f"a loop from words has a multiple of {time} frames: {frames} instead of {requested}",)
    size = context.size()
    if is_retimed:
        plan = retiming.text_loop(context.prompts[0], frames=frames, fps=fps, format=context.format(size))
    else:
        plan = operations.text_loop(context.prompts[0], frames=frames, format=context.format(size, fps))
    completed = _size_fields(size) | _length_fields(frames) | {"fps": fps}
    return VerbPlan(plan, notes=notes if frames != requested else (), completed=completed)


def bridge(context: VerbContext) -> VerbPlan:
    request, a = context.request, context.clip()
    part_b = request.start_b, request.end_b
    b = sources.read(context.files, request.clip_b, *part_b, context.kind, request.deinterlace)
    first = a.clip
    frames = context.frames(first.fps, context.least_frames, first=-1)
    notes: list[str] = []
    if b.clip.fps != first.fps:
        notes.append(f"{b.path} is brought from {b.clip.fps:g} to {first.fps:g} frames a second, the rate of {a.path}")
    if b.clip.size != first.size:
        notes.append(f"{b.path} is fitted from {wxh(b.clip.size)} to {wxh(first.size)}, the size of {a.path}")
    second = resampled(b.clip, first.fps).fitted(*first.size)
    plan = operations.bridge(
        first, second, context.prompts[0], frames=frames, format=context.format(first.size, first.fps)
    )
    return _clip_plan(plan, (a, b.placed_at(len(first) + frames, first.fps)), _length_fields(frames), tuple(notes))


def edit(context: VerbContext) -> VerbPlan:
    request, d = context.request, context.spec.defaults
    if request.region is not None and request.mask is not None:
        raise UsageError("--region and --mask both say where to paint; give one of them")
    method = method_of(request, context.files)
    default_strength = (
        1.0
        if _is_partial(request) or request.control is not None
        else d.flow_strength
        if method == "flow"
        else d.noise_strength
    )
    strength = default_strength if request.strength is None else request.strength
    source = context.clip()
    if request.source_prompt is not None and method != "flow":
        raise UsageError("--source-prompt goes with --method flow alone; add --method flow, or leave it out")
    clip = source.clip
    frame_range = None if request.frame_range is None else geometry.parse_stretch(request.frame_range, len(clip))
    paint_FYX = sources.edit_mask(context.files, request.region, request.mask, clip)
    crop = None if paint_FYX is None else crop_around(paint_FYX, d.region_share)
    source_prompt = prompts.clean(request.source_prompt) if request.source_prompt else ""
    if request.source_prompt is None and method == "flow":
        source_prompt = context.files.recorded_prompt(str(source.path)) or ""
    format = context.format(clip.size, clip.fps)
    format = format if crop is None else replace(format, model_size=context.spec.model_size(crop.size))
    area: dict[str, Any] = {"paint_FYX": paint_FYX, "frame_range": frame_range, "crop": crop}
    options: dict[str, Any] = {"strength": strength, "method": method, "source_prompt": source_prompt}
    plan = operations.edit(clip, context.prompts[0], format=format, **area, **options)
    notes = () if crop is None else (f"the region is painted with {wxh(crop.size)} pixels of the frame around it",)
    verb_plan = _clip_plan(
        plan, (source,), {"strength": strength, "method": method, "source_prompt": source_prompt or None}, notes
    )
    return verb_plan if request.mask is None else replace(verb_plan, inputs=(*verb_plan.inputs, Path(request.mask)))


def method_of(request: Request, files: Inputs) -> str:
    """To change a whole clip, flow keeps things in their places better, but it has to know what the clip shows. What
    follows a control clip is painted afresh."""
    if request.method is not None:
        return request.method
    if _is_partial(request) or request.strength == 1 or (request.control is not None and request.strength is None):
        return "noise"
    is_known = request.source_prompt is not None or (
        request.clip is not None and files.recorded_prompt(request.clip) is not None
    )
    return "flow" if is_known else "noise"


def at_models_rate(context: VerbContext, verb_plan: VerbPlan) -> VerbPlan:
    """The plan of the same film, painted at the model's rate where that is another; not of what starts from a clip's
    own frames, each of which says what becomes of it."""
    plan, d = verb_plan.plan, context.spec.defaults
    fps = plan.film_fps
    if not context.is_retimed(fps) or plan.source is not None or not plan.windows:
        return verb_plan
    if plan.known_clips:
        plan = retiming.at_rate(plan, d.fps, media.sampled if d.fps > fps else retiming.nearest)
    note = f"{context.spec.name} paints {d.fps:g} frames a second; what it paints is brought to {fps:g}"
    return replace(verb_plan, plan=plan, notes=(*verb_plan.notes, note))


def _is_partial(request: Request) -> bool:
    """Whether an edit paints a region or a stretch, and not the whole clip."""
    return not (request.region is request.mask is request.frame_range is None)


def _clip_plan(
    plan: Plan, clips: tuple[Source, ...], completed: dict[str, Any], notes: tuple[str, ...] = ()
) -> VerbPlan:
    """A film that keeps the size and rate of the first of its clips."""
    all_notes = tuple(note for source in clips for note in source.notes) + notes
    return VerbPlan(plan, clips, tuple(source.path for source in clips), all_notes, completed)


def _size_fields(size: Size) -> dict[str, Any]:
    return {"size": wxh(size), "aspect": None}


def _length_fields(frames: int) -> dict[str, Any]:
    return {"frames": frames, "seconds": None}


VERBS: dict[str, Callable[[VerbContext], VerbPlan]] = {
    "generate": generate,
    "image": image,
    "img2vid": img2vid,
    "extend": extend,
    "loop": loop,
    "bridge": bridge,
    "edit": edit,
}
