"""The control clip of a request: what a model that can follow one is shown, at the moments that it paints.

The clip begins with the film's first frame, or where a clip is extended, looped or bridged, with the first painted one.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from sora import catalog, media
from sora.catalog.spec import ModelSpec
from sora.errors import UsageError
from sora.jobs.inputs import Inputs
from sora.media import Info
from sora.plan import geometry, retiming
from sora.plan.clip import Clip, fit
from sora.plan.geometry import Size, wxh
from sora.plan.plan import Control, Plan
from sora.plan.request import Request

COMPUTED = ("edges", "grey", "flow")  # kinds that are made of the clip; the others it must show already
DRAWN = ("pose", "depth")
MAX_STRENGTH = 10.0
MAX_SECONDS = 60.0  # of a film that is as long as its control clip because no length is asked for
FROM_FIRST_PAINTED = ("extend", "loop", "bridge")  # verbs whose control clip begins with what is painted
SLACK = 1.5  # frames of the film by which a control clip may be shorter or longer than it, and nothing is noted
NEARLY_WHOLE = 0.9  # of a frame's longer side: what is cut off to make sizes alike is less


def check(request: Request, spec: ModelSpec) -> None:
    """Raises UsageError for what a request says of control and its model, or this installation, cannot do."""
    if request.control is None:
        for flag, value in (("--control-kind", request.control_kind), ("--control-frames", request.control_frames)):
            if value is not None:
                raise UsageError(f"{flag} is about a control clip, and there is none; add --control FILE")
        if request.control_strength is not None and not _shows_references(request, spec):
            problem = "--control-strength weighs a control clip and references, and there is neither"
            raise UsageError(f"{problem}; add --control FILE or --reference FILE")
        scales_of(request.control_strength, spec)
        return
    if not spec.takes_control:
        rows = ", ".join(name for name, row in catalog.MODELS.items() if row.takes_control)
        raise UsageError(
            f"{spec.name} cannot follow a control clip; leave --control out, or choose a --model of {rows}"
        )
    if request.verb == "loop" and request.clip is None:
        hint = "leave --control out, or loop a clip"
        raise UsageError(f"a loop from words has no beginning, where a control clip could begin; {hint}")
    if (kind := request.control_kind or "") in COMPUTED:
        media.check_control_installed(kind)
    scales_of(request.control_strength, spec)


def _shows_references(request: Request, spec: ModelSpec) -> bool:
    """Whether the model is shown a picture in any window: a person's own, or a frame of the first shot."""
    later_shots = (request.then or request.shots) and request.subject_reference is not False
    return bool(request.references or (spec.takes_references and later_shots))


def scales_of(text: str | None, spec: ModelSpec) -> tuple[float, ...]:
    """``Plan.guide_scales`` of '0.8' or '1,0.5,...', one number for each of the model's layers that take it; (1,) for
    None. Raises UsageError."""
    if text is None:
        return (1.0,)
    numbers = text.replace(" ", "").split(",")
    if not all(re.fullmatch(r"\d{1,3}(\.\d{0,9})?|\.\d{1,9}", each, re.ASCII) for each in numbers):
        message = f"--control-strength {text[:60]!r} is no weight"
        raise UsageError(f"{message}; expected a number, or one for each layer with commas, as in 0.8")
    scales = tuple(map(float, numbers))
    if max(scales) > MAX_STRENGTH:
        raise UsageError(f"--control-strength {max(scales):g} is out of range; expected 0 to {MAX_STRENGTH:g}")
    if len(scales) not in (1, spec.control_layers):
        expected = f"expected one, or {spec.control_layers}, one for each layer of {spec.name} that takes it"
        raise UsageError(f"--control-strength has {len(scales)} numbers; {expected}")
    return scales


def length(info: Info, request: Request, fps: float, default: int) -> tuple[int, tuple[str, ...]]:
    """(frames of a film that nothing else gives its length, notes). info: of the control clip. default: of a film whose
    control is a picture, which has no length."""
    if info.kind == "image":
        return default, ()
    notes: tuple[str, ...] = ()
    if info.seconds > MAX_SECONDS:
        asked = "--seconds asks for more"
        notes = (
            f"{request.control} is {info.seconds:g} s long; the film follows its first {MAX_SECONDS:g} s, {asked}",
        )
    return max(1, round(min(info.seconds, MAX_SECONDS) * fps)), notes


def controlled(plan: Plan, request: Request, spec: ModelSpec, files: Inputs) -> tuple[Plan, tuple[str, ...]]:
    """(the plan with its control clip and weights, notes). Raises UsageError and InputError."""
    plan = replace(plan, guide_scales=scales_of(request.control_strength, spec))
    if request.control is None or not plan.windows:
        return plan, ()
    info, kind, notes = files.info(request.control), request.control_kind or "as-is", list[str]()
    if kind == "flow" and info.frames < 2:
        raise UsageError(f"{request.control} is one picture, in which nothing moves; --control-kind flow needs a clip")
    shown = _Moments(plan, request)
    frames_FYXC = _frames(request.control, info, kind, shown.numbers(info), plan.format.size, files, notes)
    control = Control(Clip(frames_FYXC, plan.format.fps), shown.followed)
    notes += _notes(request.control, info, kind, plan, shown)
    return replace(plan, control=control), tuple(notes)


class _Moments:
    """When a plan's frames are, seen from the control clip. seconds: of each, from the control clip's begin on.
    followed: the plan's frames that follow it. last: the second of the last of them that is painted. is_part: whether
    others do not."""

    def __init__(self, plan: Plan, request: Request) -> None:
        moments = retiming.film_moments(plan)
        begin = _first_painted(plan) if request.verb in FROM_FIRST_PAINTED else 0
        self.seconds = (moments - begin) / plan.film_fps
        self.is_part = request.control_frames is not None
        self.followed = range(plan.frames)
        if request.control_frames is not None:
            film = geometry.parse_stretch(request.control_frames, plan.film_frames, "--control-frames")
            after, before = moments >= film.start - 0.5, moments < film.stop - 0.5
            first = min(int(np.argmax(after)), plan.frames - 1) if after.any() else plan.frames - 1
            self.followed = range(first, max(first + 1, int(before.sum())))
        painted = [n for window in plan.windows for n in window.kept if n in self.followed]
        self.last = max(0.0, float(self.seconds[painted].max())) if painted else 0.0
        self.seconds = self.seconds.clip(0, self.last)  # what is known follows nothing

    def numbers(self, info: Info) -> np.ndarray:
        """Which frame of the control clip each of the plan's frames follows: int (F,)."""
        return np.floor(self.seconds * info.fps + 0.5).astype(int).clip(0, info.frames - 1)


def _first_painted(plan: Plan) -> int:
    """The film's first frame that no clip gives."""
    if plan.retiming is not None:
        return plan.retiming.stretches[0].film.start
    return min(window.kept.start for window in plan.windows)


def _frames(
    path: str, info: Info, kind: str, numbers: np.ndarray, size: Size, files: Inputs, notes: list[str]
) -> np.ndarray:
    """The signal (F, Y, X, 3), of ``size`` = (height, width). numbers: of the frames of the control clip, some of them
    several times. Flow is that from each of these frames to the next one. One frame takes no more memory for standing
    for many."""
    if info.kind == "image":
        signal_FYXC, places = fit(files.read_image(path, notes.append), *size)[None], np.zeros_like(numbers)
    else:
        needed, places = np.unique(numbers, return_inverse=True)
        needed = np.array([0, 1]) if kind == "flow" and len(needed) == 1 else needed
        signal_FYXC = files.read_frames(path, needed.tolist(), size, notes.append)
    if kind in COMPUTED:
        signal_FYXC = media.control_signal(signal_FYXC, kind)
    if len(np.unique(places)) == 1:
        return np.broadcast_to(signal_FYXC[places[:1]], (len(places), *size, 3))
    return signal_FYXC if len(signal_FYXC) == len(places) else signal_FYXC[places]


def _notes(path: str, info: Info, kind: str, plan: Plan, shown: _Moments) -> list[str]:
    """What becomes of the control clip, for a person."""
    notes: list[str] = []
    if kind in DRAWN:
        made = "no model here makes one of a film"
        notes.append(f"{path} is taken for a {kind} signal as it is, since {made}; it must show one already")
    size = info.height, info.width
    if size != plan.format.size:
        shapes = info.width / info.height, plan.format.size[1] / plan.format.size[0]
        seen = min(shapes) / max(shapes)
        cut = "" if seen > NEARLY_WHOLE else f"; the middle {seen:.0%} of it is used"
        notes.append(f"{path} is fitted from {wxh(size)} to {wxh(plan.format.size)}, the size of the film{cut}")
    if info.kind == "image":
        return notes
    if abs(info.fps - plan.format.fps) > 1e-3:
        rate = f"from {info.fps:g} to {plan.format.fps:g} frames a second"
        notes.append(f"{path} is brought {rate}, at which the film is painted")
    end, slack = shown.last + 1 / plan.film_fps, SLACK / plan.film_fps
    if info.seconds + slack < end:
        notes.append(
            f"{path} ends after {info.seconds:.3g} s, {end - info.seconds:.3g} s too early; its last frame holds"
        )
    elif info.seconds > end + slack and not shown.is_part:
        notes.append(f"{path} is {info.seconds:.3g} s long; its first {end:.3g} s are used")
    return notes
