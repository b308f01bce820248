"""What each verb needs: the files it reads, checked, the film's size, rate and length, and how words become a Plan.

Nothing here needs torch but the plans themselves, which are made when all else is known to be possible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sora.catalog.spec import ModelSpec
from sora.cli import shape, sources
from sora.cli.request import Take, Wish, within
from sora.cli.shape import Size, wxh
from sora.cli.sources import Source
from sora.errors import UsageError

if TYPE_CHECKING:
    from sora.plan.plan import Format, Plan

MELT = 8  # as operations.MELT, said again here because that module needs torch
LEAST_RETURN = 8  # frames in which a loop finds back, however small the model's window
LONGEST_CYCLE = 4  # times the model's own cycle, which is painted in one piece
LARGEST_REFINED = 2048  # pixels a side


@dataclass(frozen=True)
class Scene:
    """size: (height, width) of the film. frames: of the whole film. plan: from a take's words. sources: clips that
    are in the film, with their places. files: everything that was read. notes: for a person. said: the verb's flags
    as they were understood, by name, for the recipe."""

    size: Size
    fps: float
    frames: int
    plan: Callable[[Format, Take], Plan]
    sources: tuple[Source, ...] = ()
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    said: dict[str, Any] = field(default_factory=dict)


def generate(wish: Wish, spec: ModelSpec) -> Scene:
    shots, transition = 1 + len(wish.then or ()), wish.transition.value if wish.transition else "cut"
    if wish.transition is not None and shots == 1:
        raise UsageError("--transition joins two shots, and there is one; add --then with the next one")
    melting = MELT * (shots - 1) if transition == "flow" else 0
    fps = shape.rate(wish, spec)
    frames = shape.length(wish, fps, shots * spec.defaults.frames + melting)
    if frames < shots + melting:
        told = f"{frames} frames are too few for {shots} shots"
        raise UsageError(f"{told}; ask for {shots + melting} or more with --frames or --seconds")

    def plan(form: Format, take: Take) -> Plan:
        from sora.plan import operations

        return operations.generate(take.texts, frames=frames, form=form, transition=transition)

    size = shape.film_size(wish, spec)
    return Scene(size, fps, frames, plan, said=_shape(size) | _length(frames) | {"fps": fps})


def image(wish: Wish, spec: ModelSpec) -> Scene:
    within("--refine", wish.refine, 0, 1)
    size = shape.film_size(wish, spec)
    if wish.refine and max(size) > LARGEST_REFINED:
        most = f"{LARGEST_REFINED}x{LARGEST_REFINED}"
        raise UsageError(f"--refine paints up to {most}, not {wxh(size)}; make --size smaller or leave --refine out")

    def plan(form: Format, take: Take) -> Plan:
        from sora.plan import operations

        return operations.image(take.prompt, form=form)

    return Scene(size, spec.defaults.fps, 1, plan, said=_shape(size))


def img2vid(wish: Wish, spec: ModelSpec) -> Scene:
    from sora import media
    from sora.plan.clip import fit

    files = [file for file in (wish.picture, wish.last) if file is not None]
    fps = shape.rate(wish, spec)
    frames = shape.length(wish, fps, spec.defaults.frames)
    if frames < len(files):
        raise UsageError("a film from one picture to another has 2 frames at least; ask for --frames 2 or more")
    shape.film_size(wish, spec)  # refuses before a large picture is read
    pictures = [media.read_image(file) for file in files]
    size = shape.film_size(wish, spec, pictures[0].shape[1] / pictures[0].shape[0])
    first, *last = [fit(picture_YXC, *size) for picture_YXC in pictures]

    def plan(form: Format, take: Take) -> Plan:
        from sora.plan import operations

        ending = last[0] if last else None
        return operations.img2vid(first, take.prompt, frames=frames, form=form, last_YXC=ending)

    said = _shape(size) | _length(frames) | {"fps": fps}
    return Scene(size, fps, frames, plan, files=tuple(files), said=said)


def extend(wish: Wish, spec: ModelSpec) -> Scene:
    source = sources.read(wish, wish.clip, wish.start, wish.end)
    clip = source.clip
    frames = shape.length(wish, clip.fps, spec.defaults.frames - 1)

    def plan(form: Format, take: Take) -> Plan:
        from sora.plan import operations

        return operations.extend(clip, take.prompt, frames=frames, form=form, backward=wish.backward)

    source = source.at(frames if wish.backward else 0)
    return _joined(len(clip) + frames, plan, (source,), _length(frames))


def loop(wish: Wish, spec: ModelSpec) -> Scene:
    if wish.clip is None:
        return _cycle(wish, spec)
    for flag in ("size", "aspect", "fps"):
        if getattr(wish, flag) is not None:
            raise UsageError(f"a clip's loop keeps the clip's own size and rate; leave --{flag} out")
    source = sources.read(wish, wish.clip, wish.start, wish.end)
    clip, d = source.clip, spec.defaults
    frames = shape.length(wish, clip.fps, max(LEAST_RETURN, d.window - d.context - d.after))

    def plan(form: Format, take: Take) -> Plan:
        from sora.plan import operations

        return operations.loop(clip, take.prompt, frames=frames, form=form)

    return _joined(len(clip) + frames, plan, (source,), _length(frames))


def _cycle(wish: Wish, spec: ModelSpec) -> Scene:
    """A loop from words alone, whose length is a multiple of the grid's."""
    if wish.prompt is None:
        raise UsageError('a loop is made of a clip or of words; give CLIP or --prompt "..."')
    if wish.start is not None or wish.end is not None:
        raise UsageError("--start and --end choose a part of a clip, and there is none; leave them out")
    time, fps = spec.grid.time, shape.rate(wish, spec)
    asked = shape.length(wish, fps, spec.defaults.cycle)
    frames = time * max(1, (2 * asked + time) // (2 * time))
    longest = LONGEST_CYCLE * spec.defaults.cycle
    if frames > longest:
        told = f"{frames} frames are too long a loop from words"
        raise UsageError(f"{told}; expected at most {longest} ({longest / fps:g} s at {fps:g} fps), or loop a clip")
    notes = (f"a loop from words has a multiple of {time} frames: {frames} instead of {asked}",)

    def plan(form: Format, take: Take) -> Plan:
        from sora.plan import operations

        return operations.cycle(take.prompt, frames=frames, form=form)

    size, said = shape.film_size(wish, spec), _length(frames) | {"fps": fps}
    return Scene(size, fps, frames, plan, notes=notes if frames != asked else (), said=_shape(size) | said)


def bridge(wish: Wish, _: ModelSpec) -> Scene:
    from sora.plan.clip import resampled

    a = sources.read(wish, wish.clip, wish.start, wish.end)
    b = sources.read(wish, wish.other, wish.other_start, wish.other_end)
    first = a.clip
    frames = shape.length(wish, first.fps, LEAST_RETURN)
    notes: list[str] = []
    if b.clip.fps != first.fps:
        notes.append(f"{b.path} is brought from {b.clip.fps:g} to {first.fps:g} frames a second, the rate of {a.path}")
    if b.clip.size != first.size:
        notes.append(f"{b.path} is fitted from {wxh(b.clip.size)} to {wxh(first.size)}, the size of {a.path}")
    second = resampled(b.clip, first.fps).fitted(*first.size)

    def plan(form: Format, take: Take) -> Plan:
        from sora.plan import operations

        return operations.bridge(first, second, take.prompt, frames=frames, form=form)

    total = len(first) + frames + len(second)
    both = (a, b.at(len(first) + frames, first.fps))
    return _joined(total, plan, both, _length(frames), tuple(notes))


def edit(wish: Wish, spec: ModelSpec) -> Scene:
    from sora.plan.crop import crop_around

    if wish.region is not None and wish.mask is not None:
        raise UsageError("--region and --mask both say where to paint; give one of them")
    method, d = method_of(wish), spec.defaults
    usual = 1.0 if _in_part(wish) else d.flow_strength if method == "flow" else d.noise_strength
    strength = usual if wish.strength is None else wish.strength
    within("--strength", strength, 0, 1)
    source = sources.read(wish, wish.clip, wish.start, wish.end)
    if wish.was is not None and method != "flow":
        raise UsageError("--was tells --method flow what the clip shows; add --method flow or leave --was out")
    clip = source.clip
    stretch = None if wish.stretch is None else shape.parse_stretch(wish.stretch, len(clip))
    paint_FYX = sources.painted_where(wish, clip)
    crop = None if paint_FYX is None else crop_around(paint_FYX, spec.defaults.region_share)
    was = (sources.prompt_of(source.path) or "") if wish.was is None and method == "flow" else wish.was or ""

    def plan(form: Format, take: Take) -> Plan:
        from sora.plan import operations

        where: dict[str, Any] = {"paint_FYX": paint_FYX, "stretch": stretch}
        how: dict[str, Any] = {"strength": strength, "method": method, "was": was, "crop": crop}
        form = form if crop is None else replace(form, painted=spec.painted(crop.size))
        return operations.edit(clip, take.prompt, form=form, **where, **how)

    said = {"strength": strength, "method": method, "was": was or None}
    notes = () if crop is None else (f"the region is painted with {wxh(crop.size)} pixels of the frame around it",)
    scene = _joined(len(clip), plan, (source,), said, notes)
    return scene if wish.mask is None else _reading(scene, wish.mask)


def method_of(wish: Wish) -> str:
    """To change a whole clip, flow keeps things in their places better, but it has to know what the clip shows."""
    if wish.method is not None:
        return wish.method.value
    if _in_part(wish) or wish.strength == 1:
        return "noise"
    told = wish.was is not None or (wish.clip is not None and sources.prompt_of(wish.clip) is not None)
    return "flow" if told else "noise"


def _in_part(wish: Wish) -> bool:
    """Whether an edit paints a region or a stretch, and not the whole clip."""
    return not (wish.region is wish.mask is wish.stretch is None)


def _joined(
    frames: int,
    plan: Callable[[Format, Take], Plan],
    clips: tuple[Source, ...],
    said: dict[str, Any],
    notes: tuple[str, ...] = (),
) -> Scene:
    """A film that keeps the size and rate of the first of its clips."""
    first = clips[0].clip
    told = tuple(note for source in clips for note in source.notes) + notes
    return Scene(first.size, first.fps, frames, plan, clips, tuple(source.path for source in clips), told, said)


def _reading(scene: Scene, file: Path) -> Scene:
    return replace(scene, files=(*scene.files, file))


def _shape(size: Size) -> dict[str, Any]:
    return {"size": wxh(size), "aspect": None}


def _length(frames: int) -> dict[str, Any]:
    return {"frames": frames, "seconds": None}


SCENES: dict[str, Callable[[Wish, ModelSpec], Scene]] = {
    "generate": generate,
    "image": image,
    "img2vid": img2vid,
    "extend": extend,
    "loop": loop,
    "bridge": bridge,
    "edit": edit,
}
