"""What a person asks for, as one frozen record that flags, lines of a prompt file, Python and recipes share.

None, an empty tuple and False mean that an option was not given; of one that has a flag for no, None alone does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from sora.errors import InputError, UsageError
from sora.plan import options as o
from sora.plan import shot


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A clip or a picture that is asked for. Paths are texts as a person wrote them; sizes are WIDTHxHEIGHT in pixels.

    Words may hold ``{a|b}`` alternatives; a request with any stands for several films. draft_file, draft_strength: of
    ``finish``, which paints a draft's own request anew, starting from the draft.
    """

    verb: o.VerbName
    prompt: o.Prompt | None = None
    image: o.Image | None = None
    clip: o.Clip | None = None
    clip_b: o.ClipB | None = None
    then: o.Then = ()
    transition: o.Transition | None = None
    subject: o.Subject | None = None
    shots: shot.Shots = ()
    subject_reference: o.SubjectReference | None = None
    refine: o.Refine | None = None
    last_image: o.LastImage | None = None
    references: o.References = ()
    reference_background: o.ReferenceBackground | None = None
    backward: o.Backward = False
    camera: o.Camera | None = None
    motion: o.Motion | None = None
    strength: o.Strength | None = None
    region: o.Region | None = None
    mask: o.Mask | None = None
    frame_range: o.FrameRange | None = None
    method: o.Method | None = None
    source_prompt: o.SourcePrompt | None = None
    draft_file: o.DraftFile | None = None
    draft_strength: o.DraftStrength | None = None
    seconds: o.Seconds | None = None
    frames: o.Frames | None = None
    fps: o.Fps | None = None
    aspect: o.Aspect | None = None
    size: o.Size | None = None
    start: o.Start | None = None
    end: o.End | None = None
    start_b: o.StartB | None = None
    end_b: o.EndB | None = None
    deinterlace: o.Deinterlace | None = None
    background: o.Background | None = None
    control: o.Control | None = None
    control_kind: o.ControlKind | None = None
    control_strength: o.ControlStrength | None = None
    control_frames: o.ControlFrames | None = None
    draft: o.Draft = False
    seed: o.Seed | None = None
    steps: o.Steps | None = None
    guidance: o.Guidance | None = None
    guidance_low: o.GuidanceLow | None = None
    negative_prompt: o.NegativePrompt | None = None
    model: o.Model | None = None
    loras: o.Loras = ()
    strict: o.Strict = False
    device: o.Device | None = None
    dtype: o.Dtype | None = None
    memory: o.Memory | None = None
    gpus: o.Gpus | None = None
    speed: o.Speed | None = None
    disable: o.Disable = ()
    shift: o.Shift | None = None
    sampler: o.Sampler | None = None
    threads: o.Threads | None = None

    @property
    def source(self) -> str | None:
        """The file the film is made of, the first where there are two."""
        return self.draft_file or self.clip or self.image

    @property
    def shot_words(self) -> tuple[str | None, ...]:
        """The words of each shot, with their alternatives; None for a first one that has none of its own."""
        return tuple(each.prompt for each in self.shots) or (self.prompt, *self.then)


class RequestField(Struct, frozen=True):
    """A field of a request, for those who read or write it. kind: of one value, a tuple's item where
    ``is_list``. old_flags: of earlier versions, which still work and which no help shows. choices: of a text, empty for
    any. minimum, maximum: of a number, None for no bound."""

    name: str
    kind: type[Any]
    help: str
    flags: tuple[str, ...]
    old_flags: tuple[str, ...]
    metavar: str | None
    default_text: str | bool
    choices: tuple[str, ...]
    is_list: bool
    is_path: bool
    minimum: float | None
    maximum: float | None

    @property
    def flag(self) -> str:
        return self.flags[0]

    @property
    def flag_for_no(self) -> str | None:
        """The flag that says no, where that is another thing than to say nothing."""
        return next((flag for flag in self.flags if flag.startswith("--no-")), None)


OLD_NAMES = {"source_prompt": "was", "disable": "without", "negative_prompt": "negative", "last_image": "last"}
"""Present name of a field -> its name in earlier versions, which recipes and prompt files may still use."""


@cache
def fields() -> Mapping[str, RequestField]:
    """Every field but the verb, by its name, in order."""
    return {f.name: _field(f.name, f.type) for f in msgspec.structs.fields(Request) if f.name != "verb"}


def _field(name: str, kind: Any) -> RequestField:
    if not hasattr(kind, "__metadata__"):  # Annotated[...] | None
        kind = next(each for each in get_args(kind) if each is not type(None))
    inner, meta = get_args(kind)
    choices = get_args(inner) if getattr(inner, "__origin__", None) is Literal else ()
    several = getattr(inner, "__origin__", None) is tuple
    extra: dict[str, Any] = meta.extra
    return RequestField(
        name=name,
        kind=str if choices or several else inner,
        help=meta.description,
        flags=extra["flags"] or ("--" + name.replace("_", "-"),),
        old_flags=(f"--{OLD_NAMES[name]}",) if name in OLD_NAMES else (),
        metavar=extra["metavar"],
        default_text=extra["shown"],
        choices=choices,
        is_list=several,
        is_path=extra["path"],
        minimum=meta.ge,
        maximum=extra["high"],
    )


def within(flag: str, value: float | None, low: float, high: float) -> None:
    """Raises UsageError for a number outside [low, high]; "not a number" is outside."""
    if value is not None and not low <= value <= high:
        raise UsageError(f"{flag} {value} is out of range; expected {low:g} to {high if high > 1e9 else f'{high:g}'}")


def check(request: Request) -> None:
    """Raises UsageError for a number outside its range, or a name that is none of those there are."""
    for field in fields().values():
        _check_value(field, getattr(request, field.name))
    for each in request.shots:
        for name in shot.OPTIONS:
            _check_value(fields()[name], getattr(each, name))


def _check_value(field: RequestField, value: Any) -> None:
    if field.minimum is not None and field.maximum is not None:
        within(field.flag, value, field.minimum, field.maximum)
    if field.choices and value is not None and value not in field.choices:
        raise UsageError(f"{field.flag} {value!r} is not known; expected {', '.join(field.choices)}")


def changed(request: Request, values: Mapping[str, Any]) -> Request:
    """The request with other values, which take the place of what says the same thing otherwise."""
    gone = {rival: _nothing(rival) for name in values for rival in RIVALS.get(name, ()) if rival not in values}
    return msgspec.structs.replace(request, **gone, **values)


RIVALS = {
    "aspect": ("size",),
    "size": ("aspect",),
    "seconds": ("frames",),
    "frames": ("seconds",),
    "region": ("mask",),
    "mask": ("region",),
    "shots": ("prompt", "then", "transition", "seconds", "frames"),
}
"""Fields that take the place of others."""


def files_of(request: Request) -> dict[str, tuple[str, ...]]:
    """The paths of files that a request names, by field; its model and its LoRAs are not among them."""
    paths: dict[str, tuple[str, ...]] = {}
    for name in _file_fields():
        value = getattr(request, name)
        several = value if fields()[name].is_list else () if value is None else (value,)
        paths |= {name: several} if several else {}
    return paths


def with_files(request: Request, change: Callable[[str], str]) -> Request:
    """The request with another path in the place of each of ``files_of``."""
    values = {name: tuple(map(change, paths)) for name, paths in files_of(request).items()}
    single = {name: paths[0] for name, paths in values.items() if not fields()[name].is_list}
    return msgspec.structs.replace(request, **values | single)


@cache
def _file_fields() -> tuple[str, ...]:
    return tuple(name for name, field in fields().items() if field.is_path and name != "model")


def _nothing(name: str) -> Any:
    return () if fields()[name].is_list else None


def to_data(request: Request) -> dict[str, Any]:
    """The request as JSON has it, without what was not given."""
    return {"verb": request.verb, **msgspec.to_builtins(request)}


def from_data(data: Any, what: str) -> Request:
    """The request that JSON holds. what: where it comes from, for a person. Raises InputError for a verb or a field
    that there is not, and for a value of the wrong kind, length or range."""
    try:
        request = msgspec.convert(data, Request)
    except (msgspec.ValidationError, UnicodeError) as error:  # a lone surrogate where a name is expected
        raise InputError(f"{what} is not one that sora can paint ({error}); it was damaged or is not sora's") from None
    if request.seed is not None and not 0 <= request.seed <= o.MAX_SEED:  # one that was drawn is recorded as such
        raise InputError(f"{what} holds a seed outside 0 to {o.MAX_SEED}; it was damaged or is not sora's")
    numbers = [getattr(request, f.name) for f in fields().values() if f.kind is float]
    numbers += [each.seconds for each in request.shots]
    if any(number is not None and not math.isfinite(number) for number in numbers):
        raise InputError(f"{what} holds a number that is not finite; it was damaged or is not sora's")
    return request
