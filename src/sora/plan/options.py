"""Every option of a request, once: its type, range, flag and help. ``request`` puts them together.

A name here is a type, so that the command line, JSON and Python check the same thing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from sora.plan.prompts import MAX_CHARACTERS

MAX_SEED = 2**64 - 1  # as in ComfyUI; torch's generators take no larger ones
RANDOM_SEED = -1  # asks for one that is drawn, as in ComfyUI and A1111
MAX_INT64 = 2**63 - 1
MAX_PATH_CHARACTERS = 4096  # characters
MAX_ITEMS = 256  # of a list: shots, LoRAs
MAX_REFERENCES = 8  # each is sampled along with a film, as long as a latent of it

VerbName = Literal["generate", "image", "img2vid", "extend", "loop", "bridge", "edit"]
DeviceName = Literal["cuda", "mps", "cpu"]
DtypeName = Literal["float32", "bfloat16", "float16"]
SamplerName = Literal["euler", "heun", "unipc", "lcm"]
CameraMove = Literal["pan-left", "pan-right", "tilt-up", "tilt-down", "zoom-in", "zoom-out", "orbit", "static"]
SubjectMove = Literal["left", "right", "up", "down", "bounce", "spin", "grow", "shrink", "still"]
TransitionName = Literal["cut", "flow"]
EditMethod = Literal["noise", "flow"]
ReferenceBackgroundName = Literal["keep", "white"]
ControlKindName = Literal["as-is", "edges", "grey", "flow", "pose", "depth"]


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
    """A field's description. flags: on the command line; none is the field's name in dashes. A second one, --no-...,
    says no. shown: what the help says
    of a default. low, high: the range of a number. longest: characters of a text, items of a list. path: whether it
    names a file or a folder."""
    extra = {"flags": flags, "metavar": metavar, "shown": shown, "path": path, "high": high}
    # msgspec compares with signed 64-bit numbers alone; ``request.from_data`` sees to what is larger.
    bounds: dict[str, Any] = {"ge": low, "le": None if high is not None and high > MAX_INT64 else high}
    bounds["max_length"] = longest
    return Meta(description=help, extra=extra, **bounds)


def text(help: str, **more: Any) -> Meta:
    """Of words."""
    return option(help, longest=4 * MAX_CHARACTERS, **more)


def file(help: str, **more: Any) -> Meta:
    """Of a path."""
    return option(help, longest=MAX_PATH_CHARACTERS, path=True, **more)


Prompt = Annotated[str, text("What to show; - reads standard input.", metavar="PROMPT")]
Image = Annotated[str, file("The picture that becomes the first frame.", metavar="IMAGE")]
Clip = Annotated[str, file("A video, an animated GIF or WebP, or a folder of numbered pictures.", metavar="CLIP")]
ClipB = Annotated[str, file("The clip to arrive at, fitted to the size and rate of A.", metavar="B")]
Then = Annotated[
    tuple[Annotated[str, Meta(max_length=4 * MAX_CHARACTERS)], ...],
    option("The next shot; may be repeated.", metavar="TEXT", longest=MAX_ITEMS),
]
Transition = Annotated[TransitionName, option("How one shot becomes the next.", shown="cut")]
Subject = Annotated[str, text("Who or what every shot is about; put before each prompt.", metavar="WORDS")]
SubjectReference = Annotated[
    bool,
    option(
        "Show later shots a frame of the first if possible.",
        flags=("--subject-reference", "--no-subject-reference"),
        shown="on",
    ),
]
Refine = Annotated[float, option("Share of detail to repaint at a larger --size, 0 to 1.", shown="0", low=0, high=1)]
LastImage = Annotated[str, file("The picture that becomes the last frame.", metavar="IMAGE")]
References = Annotated[
    tuple[Annotated[str, Meta(max_length=MAX_PATH_CHARACTERS)], ...],
    option(
        "Picture of what the film shows; may be repeated.",
        flags=("--reference",),
        metavar="FILE",
        longest=MAX_REFERENCES,
        path=True,
    ),
]
ReferenceBackground = Annotated[
    ReferenceBackgroundName, option("What lies around the subject of each.", metavar="WAY", shown="keep")
]
Backward = Annotated[bool, option("Paint what came before the clip instead.")]
Camera = Annotated[CameraMove, option("Camera.")]
Motion = Annotated[SubjectMove, option("Motion.")]
Strength = Annotated[float, option("How much may change, 0 to 1.", shown="the model's; 1 for a part", low=0, high=1)]
Region = Annotated[
    str, option("Paint only this rectangle, in pixels of the clip.", metavar="X,Y,W,H", longest=MAX_PATH_CHARACTERS)
]
Mask = Annotated[str, file("Paint only where this picture or film is light.", metavar="FILE")]
FrameRange = Annotated[
    str,
    option(
        "Paint only frames A to B-1, counted from 0; A or B may be left out.",
        flags=("--frames",),
        metavar="A:B",
        longest=MAX_PATH_CHARACTERS,
    ),
]
Method = Annotated[
    EditMethod,
    option(
        "noise: noise the clip and denoise it; flow: lead it from the old prompt to the new.",
        shown="flow if the old prompt is known",
    ),
]
SourcePrompt = Annotated[str, text("What the clip shows now, for --method flow.", metavar="TEXT", shown="its recipe's")]
DraftFile = Annotated[str, file("A film or a picture made with --draft.", metavar="DRAFT")]
DraftStrength = Annotated[
    float,
    option(
        "How far to leave the draft, 0.01 to 1; 1 ignores it.", flags=("--strength",), shown="0.6", low=0.01, high=1
    ),
]
Seconds = Annotated[float, option("Length of the film.")]
Frames = Annotated[int, option("Length in frames, instead of --seconds.")]
Fps = Annotated[float, option("Frames a second; motion keeps its speed.", shown="the model's", low=1, high=240)]
Aspect = Annotated[
    str, option("Shape, as in 16:9, at the model's usual area.", metavar="W:H", longest=MAX_PATH_CHARACTERS)
]
Size = Annotated[
    str,
    option(
        "Size in pixels, as in 640x360; resized from the model's nearest.", metavar="WxH", longest=MAX_PATH_CHARACTERS
    ),
]
Start = Annotated[float, option("Read the clip from this second on.", metavar="S")]
End = Annotated[float, option("Read the clip up to this second.", metavar="S")]
StartB = Annotated[float, option("Read B from this second on.", metavar="S")]
EndB = Annotated[float, option("Read B up to this second.", metavar="S")]
Deinterlace = Annotated[
    bool,
    option(
        "Make whole frames of a clip's two fields.", flags=("--deinterlace", "--no-deinterlace"), shown="if it has some"
    ),
]
Background = Annotated[
    str,
    option(
        "Colour under transparent parts: a name, or #rrggbb.",
        metavar="COLOUR",
        shown="white",
        longest=MAX_PATH_CHARACTERS,
    ),
]
Control = Annotated[str, file("Clip or picture to follow; see `sora models show` for who can.", metavar="FILE")]
ControlKind = Annotated[ControlKindName, option("Kind.", metavar="KIND", shown="as-is")]
ControlStrength = Annotated[
    str, option("Its weight, 0 to 10; N,N,... by layer.", metavar="N", shown="1", longest=MAX_PATH_CHARACTERS)
]
ControlFrames = Annotated[
    str, option("Frames of the film that follow it.", metavar="A:B", shown="all", longest=MAX_PATH_CHARACTERS)
]
Draft = Annotated[bool, option("Make a quick, small draft; `sora finish` makes the film of it.")]
Seed = Annotated[
    int, option("Same seed, same film; -1 draws one.", shown="random, and printed", low=RANDOM_SEED, high=MAX_SEED)
]
Steps = Annotated[int, option("Sampling steps, 1 to 1000.", shown="the model's", low=1, high=1000)]
Guidance = Annotated[float, option("Guidance scale, 0 to 100; 1 disables it.", shown="the model's", low=0, high=100)]
GuidanceLow = Annotated[
    float, option("Guidance of the low-noise expert, if any.", shown="the model's", low=0, high=100)
]
NegativePrompt = Annotated[str, text("What the film should not show.", metavar="TEXT")]
Model = Annotated[str, file("Model name or path; see `sora models`.", metavar="TEXT", shown="the embedded one")]
Loras = Annotated[
    tuple[Annotated[str, Meta(max_length=MAX_PATH_CHARACTERS)], ...],
    option(
        "LoRA file or folder to add; may be repeated.", flags=("--lora",), metavar="FILE[:STRENGTH]", longest=MAX_ITEMS
    ),
]
Strict = Annotated[bool, option("Refuse a LoRA that fits the model only in part.")]
Device = Annotated[DeviceName, option("Device to compute on.", shown="the best available")]
Dtype = Annotated[DtypeName, option("Number format.", shown="by the device")]
Memory = Annotated[
    str, option("Offload plan; see `sora models show`.", metavar="PLAN", shown="what fits", longest=MAX_PATH_CHARACTERS)
]
Speed = Annotated[
    str,
    option(
        "fast skips steps; turbo needs few-step weights.",
        metavar="exact|fast|turbo",
        shown="exact",
        longest=MAX_PATH_CHARACTERS,
    ),
]
Disable = Annotated[
    tuple[Annotated[str, Meta(max_length=MAX_PATH_CHARACTERS)], ...],
    option("Turn off an optimisation, to compare; a wrong name lists them.", metavar="NAME", longest=MAX_ITEMS),
]
Gpus = Annotated[int, option("Graphics cards that paint one film together.", metavar="N", shown="1", low=1, high=64)]
Shift = Annotated[float, option("Timestep shift; above 1 favours high noise.", shown="the model's", low=0.01, high=100)]
Sampler = Annotated[SamplerName, option("Sampler.", shown="the model's")]
Threads = Annotated[
    int, option("CPU threads, 1 to 1024.", metavar="N", shown="the cores that are free", low=1, high=1024)
]
