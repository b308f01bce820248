"""The flags that several commands share, each with its name, type and help."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


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


Prompt = Annotated[
    str,
    typer.Argument(
        metavar="PROMPT",
        help="What to paint, in words; - reads them from standard input. {a|b} makes a file for each.",
        show_default=False,
    ),
]
OptionalPrompt = Annotated[
    str | None,
    typer.Argument(metavar="[PROMPT]", help="What happens, in words; - reads standard input.", show_default=False),
]
Picture = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="The picture that becomes the first frame.", show_default=False)
]
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
        help="Exact size in pixels, as in 640x360. Painted at the model's nearest size, then cropped and resized.",
        show_default=False,
    ),
]
Seconds = Annotated[float | None, typer.Option(help="How long the film plays.", show_default=False)]
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
Steps = Annotated[
    int | None, typer.Option(help="Sampling steps: more is slower and finer.", show_default="the model's")
]
Guidance = Annotated[
    float | None,
    typer.Option(help="How strictly to follow the prompt; 1 is not pushed at all.", show_default="the model's"),
]
Negative = Annotated[str, typer.Option(help="What to steer away from, in words.", show_default=False)]
ModelName = Annotated[str, typer.Option("--model", help="Which weights paint; see `sora models`.")]
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
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Facts as JSON on stdout, one object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
