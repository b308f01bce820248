"""What each verb needs: the files it reads, checked, the film's size, rate and length, and its Plan. Nothing here needs
torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sora import media
from sora.catalog.spec import ModelSpec
from sora.errors import UsageError
from sora.jobs import sources
from sora.jobs.sources import Source
from sora.plan import geometry, operations
from sora.plan.clip import fit, resampled
from sora.plan.crop import crop_around
from sora.plan.geometry import Size, wxh
from sora.plan.operations import TRANSITION_FRAMES
from sora.plan.plan import Format, Plan
from sora.plan.request import Request

LEAST_RETURN = 8  # frames in which a loop finds back, however small the model's window
LONGEST_CYCLE = 4  # times the model's own cycle, which is painted in one piece
LARGEST_REFINED = 2048  # pixels a side


@dataclass(frozen=True)
class Asked:
    """A request for one model. prompts: of each shot, as they are painted. kind: of the file that will be written."""

    request: Request
    spec: ModelSpec
    prompts: Sequence[str]
    kind: str

    def form(self, size: Size, fps: float) -> Format:
        """The format of a film of (height, width)."""
        return self.spec.form(size, fps, draft=self.request.draft)

    def fps(self) -> float:
        """Frames a second of a film that no clip gives its rate."""
        return self.spec.defaults.fps if self.request.fps is None else self.request.fps

    def frames(self, fps: float, default: int) -> int:
        """How many are asked for. Raises UsageError."""
        return geometry.length(self.request.seconds, self.request.frames, fps, default)

    def size(self, usual: float | None = None) -> Size:
        """(height, width) of a film that no clip gives its size. usual: width / height when none is said."""
        return self.spec.film_size(self.request.size, self.request.aspect, usual)

    def clip(self) -> Source:
        """The first clip. Raises UsageError and InputError."""
        return sources.read(self.request.clip, self.request.start, self.request.end, self.kind)


@dataclass(frozen=True)
class Built:
    """A verb's plan. sources: clips that are in the film, with their places. inputs: everything that was read. notes:
    for a person. completed: the request's fields as they were understood."""

    plan: Plan
    sources: tuple[Source, ...] = ()
    inputs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    completed: dict[str, Any] = field(default_factory=dict)


def generate(asked: Asked) -> Built:
    """Raises UsageError, as all of these do."""
    request, spec = asked.request, asked.spec
    shots, transition = len(asked.prompts), request.transition or "cut"
    if request.transition is not None and shots == 1:
        raise UsageError("--transition joins two shots, and there is one; add --then with the next one")
    between = TRANSITION_FRAMES * (shots - 1) if transition == "flow" else 0
    fps = asked.fps()
    frames = asked.frames(fps, shots * spec.defaults.frames + between)
    if frames < shots + between:
        told = f"{frames} frames are too few for {shots} shots"
        raise UsageError(f"{told}; ask for {shots + between} or more with --frames or --seconds")
    size = asked.size()
    plan = operations.generate(asked.prompts, frames=frames, form=asked.form(size, fps), transition=transition)
    return Built(plan, completed=_sized(size) | _long(frames) | {"fps": fps})


def image(asked: Asked) -> Built:
    size = asked.size()
    if asked.request.refine and max(size) > LARGEST_REFINED:
        most = f"{LARGEST_REFINED}x{LARGEST_REFINED}"
        raise UsageError(f"--refine paints up to {most}, not {wxh(size)}; make --size smaller or leave --refine out")
    plan = operations.image(asked.prompts[0], form=asked.form(size, asked.spec.defaults.fps))
    return Built(plan, completed=_sized(size))


def img2vid(asked: Asked) -> Built:
    files = [file for file in (asked.request.image, asked.request.last) if file is not None]
    fps = asked.fps()
    frames = asked.frames(fps, asked.spec.defaults.frames)
    if frames < len(files):
        raise UsageError("a film from one picture to another has 2 frames at least; ask for --frames 2 or more")
    asked.size()  # refuses before a large picture is read
    pictures = [media.read_image(file) for file in files]
    size = asked.size(pictures[0].shape[1] / pictures[0].shape[0])
    first, *last = [fit(picture_YXC, *size) for picture_YXC in pictures]
    how: dict[str, Any] = {"frames": frames, "form": asked.form(size, fps), "last_YXC": last[0] if last else None}
    plan = operations.img2vid(first, asked.prompts[0], **how)
    completed = _sized(size) | _long(frames) | {"fps": fps}
    return Built(plan, inputs=tuple(map(Path, files)), completed=completed)


def extend(asked: Asked) -> Built:
    source, backward = asked.clip(), asked.request.backward
    clip = source.clip
    frames = asked.frames(clip.fps, asked.spec.defaults.frames - 1)
    form = asked.form(clip.size, clip.fps)
    plan = operations.extend(clip, asked.prompts[0], frames=frames, form=form, backward=backward)
    return _joined(plan, (source.at(frames if backward else 0),), _long(frames))


def loop(asked: Asked) -> Built:
    if asked.request.clip is None:
        return _cycle(asked)
    for flag in ("size", "aspect", "fps"):
        if getattr(asked.request, flag) is not None:
            raise UsageError(f"a clip's loop keeps the clip's own size and rate; leave --{flag} out")
    source, d = asked.clip(), asked.spec.defaults
    clip = source.clip
    frames = asked.frames(clip.fps, max(LEAST_RETURN, d.window - d.context - d.after))
    plan = operations.loop(clip, asked.prompts[0], frames=frames, form=asked.form(clip.size, clip.fps))
    return _joined(plan, (source,), _long(frames))


def _cycle(asked: Asked) -> Built:
    """A loop from words alone, whose length is a multiple of the grid's."""
    request, spec = asked.request, asked.spec
    if request.prompt is None:
        raise UsageError('a loop is made of a clip or of words; give CLIP or --prompt "..."')
    if request.start is not None or request.end is not None:
        raise UsageError("--start and --end choose a part of a clip, and there is none; leave them out")
    time, fps = spec.grid.time, asked.fps()
    wanted = asked.frames(fps, spec.defaults.cycle)
    frames = time * max(1, (2 * wanted + time) // (2 * time))
    longest = LONGEST_CYCLE * spec.defaults.cycle
    if frames > longest:
        told = f"{frames} frames are too long a loop from words"
        raise UsageError(f"{told}; expected at most {longest} ({longest / fps:g} s at {fps:g} fps), or loop a clip")
    notes = (f"a loop from words has a multiple of {time} frames: {frames} instead of {wanted}",)
    size = asked.size()
    plan = operations.cycle(asked.prompts[0], frames=frames, form=asked.form(size, fps))
    completed = _sized(size) | _long(frames) | {"fps": fps}
    return Built(plan, notes=notes if frames != wanted else (), completed=completed)


def bridge(asked: Asked) -> Built:
    request, a = asked.request, asked.clip()
    b = sources.read(request.clip_b, request.start_b, request.end_b, asked.kind)
    first = a.clip
    frames = asked.frames(first.fps, LEAST_RETURN)
    notes: list[str] = []
    if b.clip.fps != first.fps:
        notes.append(f"{b.path} is brought from {b.clip.fps:g} to {first.fps:g} frames a second, the rate of {a.path}")
    if b.clip.size != first.size:
        notes.append(f"{b.path} is fitted from {wxh(b.clip.size)} to {wxh(first.size)}, the size of {a.path}")
    second = resampled(b.clip, first.fps).fitted(*first.size)
    plan = operations.bridge(first, second, asked.prompts[0], frames=frames, form=asked.form(first.size, first.fps))
    return _joined(plan, (a, b.at(len(first) + frames, first.fps)), _long(frames), tuple(notes))


def edit(asked: Asked) -> Built:
    request, d = asked.request, asked.spec.defaults
    if request.region is not None and request.mask is not None:
        raise UsageError("--region and --mask both say where to paint; give one of them")
    method = method_of(request)
    usual = 1.0 if _in_part(request) else d.flow_strength if method == "flow" else d.noise_strength
    strength = usual if request.strength is None else request.strength
    source = asked.clip()
    if request.was is not None and method != "flow":
        raise UsageError("--was tells --method flow what the clip shows; add --method flow or leave --was out")
    clip = source.clip
    stretch = None if request.frame_range is None else geometry.parse_stretch(request.frame_range, len(clip))
    paint_FYX = sources.painted_where(request.region, request.mask, clip)
    crop = None if paint_FYX is None else crop_around(paint_FYX, d.region_share)
    was = request.was or ""
    if request.was is None and method == "flow":
        was = sources.prompt_of(str(source.path)) or ""
    form = asked.form(clip.size, clip.fps)
    form = form if crop is None else replace(form, painted=asked.spec.painted(crop.size))
    where: dict[str, Any] = {"paint_FYX": paint_FYX, "stretch": stretch, "crop": crop}
    how: dict[str, Any] = {"strength": strength, "method": method, "was": was}
    plan = operations.edit(clip, asked.prompts[0], form=form, **where, **how)
    notes = () if crop is None else (f"the region is painted with {wxh(crop.size)} pixels of the frame around it",)
    built = _joined(plan, (source,), {"strength": strength, "method": method, "was": was or None}, notes)
    return built if request.mask is None else replace(built, inputs=(*built.inputs, Path(request.mask)))


def method_of(request: Request) -> str:
    """To change a whole clip, flow keeps things in their places better, but it has to know what the clip shows."""
    if request.method is not None:
        return request.method
    if _in_part(request) or request.strength == 1:
        return "noise"
    told = request.was is not None or (request.clip is not None and sources.prompt_of(request.clip) is not None)
    return "flow" if told else "noise"


def _in_part(request: Request) -> bool:
    """Whether an edit paints a region or a stretch, and not the whole clip."""
    return not (request.region is request.mask is request.frame_range is None)


def _joined(plan: Plan, clips: tuple[Source, ...], completed: dict[str, Any], notes: tuple[str, ...] = ()) -> Built:
    """A film that keeps the size and rate of the first of its clips."""
    told = tuple(note for source in clips for note in source.notes) + notes
    return Built(plan, clips, tuple(source.path for source in clips), told, completed)


def _sized(size: Size) -> dict[str, Any]:
    return {"size": wxh(size), "aspect": None}


def _long(frames: int) -> dict[str, Any]:
    return {"frames": frames, "seconds": None}


VERBS: dict[str, Callable[[Asked], Built]] = {
    "generate": generate,
    "image": image,
    "img2vid": img2vid,
    "extend": extend,
    "loop": loop,
    "bridge": bridge,
    "edit": edit,
}
