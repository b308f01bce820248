"""The flags that several commands share, each with its name, type and help."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sora import catalog
from sora.runtime.speed import EXACT


class Device(str, Enum):
    """Where to compute; the names of ``placement.DEVICES``."""

    cuda = "cuda"
    mps = "mps"
    cpu = "cpu"


class Dtype(str, Enum):
    """Number formats; the names of ``placement.DTYPES``."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Sampler(str, Enum):
    """Step rules; the names of ``sampler.STEPS``, said again here because that module needs torch."""

    euler = "euler"
    heun = "heun"
    unipc = "unipc"


class Camera(str, Enum):
    """How the camera moves; the keys of ``ModelSpec.camera``, of which a model may know only some."""

    pan_left = "pan-left"
    pan_right = "pan-right"
    tilt_up = "tilt-up"
    tilt_down = "tilt-down"
    zoom_in = "zoom-in"
    zoom_out = "zoom-out"
    orbit = "orbit"
    static = "static"


class Motion(str, Enum):
    """How the subject moves; the keys of ``ModelSpec.motion``."""

    left = "left"
    right = "right"
    up = "up"
    down = "down"
    bounce = "bounce"
    spin = "spin"
    grow = "grow"
    shrink = "shrink"
    still = "still"


class Transition(str, Enum):
    """How one shot becomes the next."""

    cut = "cut"
    flow = "flow"


class Method(str, Enum):
    """How an edit starts from the clip; see ``canvas.Start``."""

    noise = "noise"
    flow = "flow"


Prompt = Annotated[
    str,
    typer.Argument(
        metavar="PROMPT",
        help=f"What to paint, in words (`sora ideas` lists what {catalog.DEFAULT} knows); - reads them from standard"
        " input. {a|b} makes a file for each.",
        show_default=False,
    ),
]
OptionalPrompt = Annotated[
    str | None,
    typer.Argument(
        metavar="[PROMPT]",
        help="What happens, in words; - reads standard input. Absent: the words in the file's own recipe, if any.",
        show_default=False,
    ),
]
LoopPrompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        help="What to paint, in words; - reads standard input. Without CLIP the whole loop is painted from them.",
        show_default=False,
    ),
]
OtherPrompt = Annotated[
    str | None, typer.Option("--prompt", help="Other words for what is painted.", show_default=False)
]
Picture = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="The picture that becomes the first frame.", show_default=False)
]
Last = Annotated[
    Path | None,
    typer.Option(metavar="IMAGE", help="A second picture, which becomes the last frame.", show_default=False),
]
Clip = Annotated[
    Path,
    typer.Argument(
        metavar="CLIP",
        help="A video, a moving GIF or WebP, or a folder of numbered pictures.",
        show_default=False,
    ),
]
OptionalClip = Annotated[
    Path | None, typer.Argument(metavar="[CLIP]", help="The clip whose end is led back.", show_default=False)
]
OtherClip = Annotated[
    Path,
    typer.Argument(
        metavar="B", help="The clip to arrive at; it is fitted to the size and rate of A.", show_default=False
    ),
]
FirstClip = Annotated[Path, typer.Argument(metavar="A", help="The clip to go on from.", show_default=False)]
Painted = Annotated[
    Path, typer.Argument(metavar="FILE", help="A film or a picture that sora painted.", show_default=False)
]
DraftFile = Annotated[Path, typer.Argument(metavar="DRAFT", help="A file painted with --draft.", show_default=False)]
Start = Annotated[
    float | None, typer.Option(metavar="S", help="Read the clip from this second on.", show_default=False)
]
End = Annotated[float | None, typer.Option(metavar="S", help="Read the clip up to this second.", show_default=False)]
OtherStart = Annotated[
    float | None, typer.Option("--start-b", metavar="S", help="Read B from this second on.", show_default=False)
]
OtherEnd = Annotated[
    float | None, typer.Option("--end-b", metavar="S", help="Read B up to this second.", show_default=False)
]
Then = Annotated[
    list[str] | None,
    typer.Option("--then", metavar="TEXT", help="The next shot of the film; may be said again.", show_default=False),
]
Cut = Annotated[
    Transition | None,
    typer.Option("--transition", help="How a shot becomes the next one.", show_default="cut"),
]
Subject = Annotated[
    str | None,
    typer.Option(
        metavar="WORDS", help="Who or what all shots are about: put before the words of each.", show_default=False
    ),
]
CameraMove = Annotated[Camera | None, typer.Option("--camera", help="How the camera moves.", show_default=False)]
SubjectMove = Annotated[Motion | None, typer.Option("--motion", help="How the subject moves.", show_default=False)]
Refine = Annotated[
    float | None,
    typer.Option(
        help="Paint the detail of a larger --size too, in tiles, up to 2048x2048: how much of the picture may change,"
        " 0 to 1.",
        show_default="0, enlarge only",
    ),
]
Backward = Annotated[bool, typer.Option("--backward", help="Paint what came before, instead of what follows.")]
Variants = Annotated[
    int,
    typer.Option("--variants", "--count", help="How many files, with seeds counting up; names get -1, -2, ..."),
]
Strength = Annotated[
    float | None,
    typer.Option(
        help="How much may change, 0 to 1: 0 returns the clip, 1 keeps nothing of what is painted over.",
        show_default="the model's, or 1 for a part",
    ),
]
FinishStrength = Annotated[
    float | None,
    typer.Option(
        "--strength", help="How far it may leave the draft, up to 1, which keeps nothing of it.", show_default="0.6"
    ),
]
Region = Annotated[
    str | None,
    typer.Option(metavar="X,Y,W,H", help="Paint only this rectangle, in pixels of the clip.", show_default=False),
]
Mask = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Paint only what is light in this picture or film.", show_default=False),
]
Stretch = Annotated[
    str | None,
    typer.Option(
        "--frames",
        metavar="A:B",
        help="Paint only the frames from A to before B, counted from 0; either end may be left open.",
        show_default=False,
    ),
]
How = Annotated[
    Method | None,
    typer.Option(
        "--method",
        help="noise: blur the clip with noise and paint on from there. flow: lead it from the old words to the new.",
        show_default="flow for a whole clip whose old words are known, else noise",
    ),
]
Was = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="What the clip shows, for --method flow.", show_default="the words in its recipe"
    ),
]
Draft = Annotated[bool, typer.Option("--draft", help="A quick sketch, for `sora finish`: smaller, in few steps.")]
Output = Annotated[
    str | None,  # not a Path, which would drop the slash that says "folder"
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Where to write, the format by its ending: .mp4, .mkv (lossless), .gif, .webp, .png and .jpg for one"
        " frame, or / for a folder of PNGs. Absent: a name made of the prompt, in this folder.",
        show_default=False,
    ),
]
Aspect = Annotated[
    str | None,
    typer.Option(metavar="W:H", help="Shape, as in 16:9 or 9:16, at the model's own area.", show_default=False),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        help="Exact size in pixels, as in 640x360. Painted at the model's nearest size, then resized.",
        show_default=False,
    ),
]
Seconds = Annotated[float | None, typer.Option(help="How long the film plays.", show_default=False)]
PaintedSeconds = Annotated[
    float | None, typer.Option("--seconds", help="How much is painted, beside what stands.", show_default=False)
]
Frames = Annotated[int | None, typer.Option(help="How many frames, instead of --seconds.", show_default=False)]
Fps = Annotated[
    float | None,
    typer.Option(
        help="Frames a second to play. Another rate than the model's plays its motion faster or slower;"
        " --seconds keeps its meaning, --frames its count.",
        show_default="the model's",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Same seed, same machine, same film.", show_default="random, and printed"),
]
IdeasCount = Annotated[int, typer.Option("--count", help="How many prompts to try.")]
IdeasSeed = Annotated[int | None, typer.Option("--seed", help="Same seed, same prompts.", show_default="random")]
Steps = Annotated[
    int | None, typer.Option(help="Sampling steps: more is slower and finer.", show_default="the model's")
]
Guidance = Annotated[
    float | None,
    typer.Option(help="How strictly to follow the prompt; 1 is not pushed at all.", show_default="the model's"),
]
GuidanceLow = Annotated[
    float | None,
    typer.Option(
        "--guidance-low",
        help="The same for the second of two experts, which paints where little noise is left.",
        show_default="the model's",
    ),
]
Negative = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What to steer away from, in words.", show_default=False)
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Which weights paint; see `sora models`.", show_default=catalog.DEFAULT)
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="FILE[:STRENGTH]",
        help="Weights of your own to add, as `sora train` makes them; may be said again.",
        show_default=False,
    ),
]
DeviceName = Annotated[Device | None, typer.Option("--device", help="Where to compute.", show_default="the best here")]
DtypeName = Annotated[
    Dtype | None, typer.Option("--dtype", help="Number format.", show_default="what suits the device")
]
Shift = Annotated[
    float | None,
    typer.Option(help="For the curious: above 1 spends more steps on the noisy end.", show_default="the model's"),
]
SamplerName = Annotated[
    Sampler | None, typer.Option("--sampler", help="For the curious: the step rule.", show_default="the model's")
]
Count = Annotated[int, typer.Option(help="How many files, with seeds counting up; names get -1, -2, ...")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Paint a prompt even if it names nothing that the model knows.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Facts as JSON on stdout, one object a line.")]
MemoryPlan = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="PLAN",
        help="What of open weights is in memory when; see `sora models show`.",
        show_default="what fits",
    ),
]
SpeedMode = Annotated[
    str | None,
    typer.Option(
        "--speed",
        metavar="exact|fast|turbo",
        help="exact: every step in full. fast: steps that change little are skipped. turbo: few-step weights.",
        show_default="exact",
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="WAY",
        help=f"Leave out a way of being quick that changes no number, to compare: {', '.join(EXACT)}.",
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="Threads to paint with on a CPU.", show_default="the cores that other programs leave free", metavar="N"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be painted and what it takes; paint nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Model = Annotated[
    str, typer.Argument(metavar="NAME", help="A model's name, or the path of a folder or file.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
