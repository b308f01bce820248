"""Every option of a request, once: its type, range, flag and help. ``request`` puts them together.

A name here is a type, so that the command line, JSON and Python check the same thing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from sora.plan.prompts import MAX_CHARACTERS

MAX_SEED = 2**63 - 1  # torch's generators take signed 64-bit seeds
MAX_PATH_CHARACTERS = 4096  # characters
MAX_ITEMS = 256  # of a list: shots, LoRAs

VerbName = Literal["generate", "image", "img2vid", "extend", "loop", "bridge", "edit"]
DeviceName = Literal["cuda", "mps", "cpu"]
DtypeName = Literal["float32", "bfloat16", "float16"]
SamplerName = Literal["euler", "heun", "unipc"]
CameraMove = Literal["pan-left", "pan-right", "tilt-up", "tilt-down", "zoom-in", "zoom-out", "orbit", "static"]
SubjectMove = Literal["left", "right", "up", "down", "bounce", "spin", "grow", "shrink", "still"]
TransitionName = Literal["cut", "flow"]
EditMethod = Literal["noise", "flow"]


def option(
    help: str,
    *,
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
    shown: str | bool = False,
    low: float | None = None,
    high: float | None = None,
    longest: int | None = None,
    path: bool = False,
) -> Meta:
    """A field's description. flags: on the command line; none is the field's name in dashes. shown: what the help says
    of a default. low, high: the range of a number. longest: characters of a text, items of a list. path: whether it
    names a file or a folder."""
    extra = {"flags": flags, "metavar": metavar, "shown": shown, "path": path}
    bounds: dict[str, Any] = {"ge": low, "le": high, "max_length": longest}
    return Meta(description=help, extra=extra, **bounds)


def text(help: str, **more: Any) -> Meta:
    """Of words."""
    return option(help, longest=4 * MAX_CHARACTERS, **more)


def file(help: str, **more: Any) -> Meta:
    """Of a path."""
    return option(help, longest=MAX_PATH_CHARACTERS, path=True, **more)


Prompt = Annotated[str, text("What to paint, in words; - reads them from standard input.", metavar="PROMPT")]
Image = Annotated[str, file("The picture that becomes the first frame.", metavar="IMAGE")]
Clip = Annotated[str, file("A video, a moving GIF or WebP, or a folder of numbered pictures.", metavar="CLIP")]
ClipB = Annotated[str, file("The clip to arrive at; it is fitted to the size and rate of A.", metavar="B")]
Then = Annotated[
    tuple[Annotated[str, Meta(max_length=4 * MAX_CHARACTERS)], ...],
    option("The next shot of the film; may be said again.", metavar="TEXT", longest=MAX_ITEMS),
]
Transition = Annotated[TransitionName, option("How a shot becomes the next one.", shown="cut")]
Subject = Annotated[str, text("Who or what all shots are about: put before the words of each.", metavar="WORDS")]
Refine = Annotated[
    float,
    option(
        "Paint the detail of a larger --size too, in tiles, up to 2048x2048: how much of the picture may"
        " change, 0 to 1.",
        shown="0, enlarge only",
        low=0,
        high=1,
    ),
]
LastImage = Annotated[str, file("The picture that becomes the last frame.", metavar="IMAGE")]
Backward = Annotated[bool, option("Paint what came before, instead of what follows.")]
Camera = Annotated[CameraMove, option("How the camera moves.")]
Motion = Annotated[SubjectMove, option("How the subject moves.")]
Strength = Annotated[
    float,
    option(
        "How much may change, 0 to 1: 0 returns the clip, 1 keeps nothing of what is painted over.",
        shown="the model's, or 1 for a part",
        low=0,
        high=1,
    ),
]
Region = Annotated[
    str,
    option("Paint only this rectangle, in pixels of the clip.", metavar="X,Y,W,H", longest=MAX_PATH_CHARACTERS),
]
Mask = Annotated[str, file("Paint only what is light in this picture or film.", metavar="FILE")]
FrameRange = Annotated[
    str,
    option(
        "Paint only the frames from A to before B, counted from 0; either end may be left open.",
        flags=("--frames",),
        metavar="A:B",
        longest=MAX_PATH_CHARACTERS,
    ),
]
Method = Annotated[
    EditMethod,
    option(
        "noise: blur the clip with noise and paint on from there. flow: lead it from the old words to the new.",
        shown="flow for a whole clip whose old words are known, else noise",
    ),
]
SourcePrompt = Annotated[
    str, text("What the clip shows, for --method flow.", metavar="TEXT", shown="the words in its recipe")
]
DraftFile = Annotated[str, file("A file painted with --draft.", metavar="DRAFT")]
DraftStrength = Annotated[
    float,
    option(
        "How far it may leave the draft, up to 1, which keeps nothing of it.",
        flags=("--strength",),
        shown="0.6",
        low=0.01,
        high=1,
    ),
]
Seconds = Annotated[float, option("How long the film plays.")]
Frames = Annotated[int, option("How many frames, instead of --seconds.")]
Fps = Annotated[
    float,
    option(
        "Frames a second to play. Another rate than the model's plays its motion faster or slower;"
        " --seconds keeps its meaning, --frames its count.",
        shown="the model's",
        low=1,
        high=240,
    ),
]
Aspect = Annotated[
    str,
    option("Shape, as in 16:9 or 9:16, at the model's own area.", metavar="W:H", longest=MAX_PATH_CHARACTERS),
]
Size = Annotated[
    str,
    option(
        "Exact size in pixels, as in 640x360. Painted at the model's nearest size, then resized.",
        metavar="WxH",
        longest=MAX_PATH_CHARACTERS,
    ),
]
Start = Annotated[float, option("Read the clip from this second on.", metavar="S")]
End = Annotated[float, option("Read the clip up to this second.", metavar="S")]
StartB = Annotated[float, option("Read B from this second on.", metavar="S")]
EndB = Annotated[float, option("Read B up to this second.", metavar="S")]
Draft = Annotated[bool, option("A quick sketch, for `sora finish`: smaller, in few steps.")]
Seed = Annotated[int, option("Same seed, same machine, same film.", shown="random, and printed", low=0, high=MAX_SEED)]
Steps = Annotated[
    int,
    option("Sampling steps: more is slower and finer.", shown="the model's", low=1, high=1000),
]
Guidance = Annotated[
    float,
    option("How strictly to follow the prompt; 1 is not pushed at all.", shown="the model's", low=0, high=100),
]
GuidanceLow = Annotated[
    float,
    option(
        "The same for the second of two experts, which paints where little noise is left.",
        shown="the model's",
        low=0,
        high=100,
    ),
]
NegativePrompt = Annotated[str, text("What the film should not show, in words.", metavar="TEXT")]
Model = Annotated[str, file("Which weights paint; see `sora models`.", metavar="TEXT", shown="the one inside sora")]
Loras = Annotated[
    tuple[Annotated[str, Meta(max_length=MAX_PATH_CHARACTERS)], ...],
    option(
        "Weights of your own to add, as `sora train` makes them; may be said again.",
        flags=("--lora",),
        metavar="FILE[:STRENGTH]",
        longest=MAX_ITEMS,
    ),
]
Device = Annotated[DeviceName, option("Where to compute.", shown="the best here")]
Dtype = Annotated[DtypeName, option("Number format.", shown="what suits the device")]
Memory = Annotated[
    str,
    option(
        "What of open weights is in memory when; see `sora models show`.",
        metavar="PLAN",
        shown="what fits",
        longest=MAX_PATH_CHARACTERS,
    ),
]
Speed = Annotated[
    str,
    option(
        "exact: every step in full. fast: steps that change little are skipped. turbo: few-step weights.",
        metavar="exact|fast|turbo",
        shown="exact",
        longest=MAX_PATH_CHARACTERS,
    ),
]
Disable = Annotated[
    tuple[Annotated[str, Meta(max_length=MAX_PATH_CHARACTERS)], ...],
    option(
        "Turn off one of the optimisations that change no number, to compare; a wrong name lists them.",
        metavar="NAME",
        longest=MAX_ITEMS,
    ),
]
Shift = Annotated[
    float,
    option("For the curious: above 1 spends more steps on the noisy end.", shown="the model's", low=0.01, high=100),
]
Sampler = Annotated[SamplerName, option("For the curious: the step rule.", shown="the model's")]
Threads = Annotated[
    int,
    option(
        "Threads to paint with on a CPU.",
        metavar="N",
        shown="the cores that other programs leave free",
        low=1,
        high=1024,
    ),
]
