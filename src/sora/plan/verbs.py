"""The verbs, as a command line shows them: what each is for and which options it takes.

To add a verb: a row here, its name in ``options.VerbName``, a function in ``operations`` and one in ``jobs.verbs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from sora.plan.request import RequestField, fields

SAMPLING = (
    *("seed", "steps", "guidance", "guidance_low", "negative_prompt", "model", "loras", "strict", "device", "dtype"),
    *("memory", "gpus", "speed", "disable", "shift", "sampler", "threads"),
)
SHAPE = ("aspect", "size")
LENGTH = ("seconds", "frames")
PART = ("start", "end", "deinterlace")
MOVES = ("camera", "motion")
SHOTS = ("shots", "subject_reference")
REFERENCES = ("references", "reference_background")
CONTROL = ("control", "control_kind", "control_strength", "control_frames")

PAINTED = "Length to paint."
WHAT_HAPPENS = "What happens (default: the prompt in the file's own recipe)."
ALTERNATIVES = "What to show; {a|b} makes a file of each, - reads standard input."


@dataclass(frozen=True)
class Verb:
    """help: of the command. required, optional: fields that stand without a flag, in order. options: fields with one.
    help_for: a field's help where it is another than usual. metavar_for: likewise. reads_prompt_files: whether it takes
    a file of prompts."""

    help: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    help_for: Mapping[str, str] = field(default_factory=dict)
    metavar_for: Mapping[str, str] = field(default_factory=dict)
    reads_prompt_files: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all its fields, in the order in which they are shown."""
        return *self.required, *self.optional, *self.options

    def field(self, name: str) -> RequestField:
        """A field as this verb shows it."""
        own = fields()[name]
        help, metavar = self.help_for.get(name, own.help), self.metavar_for.get(name, own.metavar)
        return msgspec.structs.replace(own, help=help, metavar=metavar)

    def by_flag(self) -> dict[str, RequestField]:
        """Its fields by every flag that sets them, old flags included; a positional field by its usual flag."""
        every = [self.field(name) for name in self.fields]
        return {flag: field for field in every for flag in (*field.flags, *field.old_flags)}


VERBS: dict[str, Verb] = {
    "generate": Verb(
        "Generate a film from a prompt. `sora ideas` lists what the embedded model can paint.",
        required=("prompt",),
        options=(
            *("then", "transition", "subject", *SHOTS, *REFERENCES, *MOVES, *LENGTH, "fps", *SHAPE),
            *("background", *CONTROL, "draft", *SAMPLING),
        ),
        help_for={"prompt": ALTERNATIVES},
        reads_prompt_files=True,
    ),
    "image": Verb(
        "Generate a picture from a prompt.",
        required=("prompt",),
        options=("refine", *REFERENCES, "control_strength", "camera", *SHAPE, "draft", *SAMPLING),
        help_for={"prompt": ALTERNATIVES, "control_strength": "Weight of references, 0 to 10; N,N,... by layer."},
        reads_prompt_files=True,
    ),
    "img2vid": Verb(
        "Set a picture in motion. It becomes the first frame, and gives the film its shape.",
        required=("image",),
        optional=("prompt",),
        options=("last_image", *REFERENCES, *MOVES, *LENGTH, "fps", *SHAPE, "background", *CONTROL, "draft", *SAMPLING),
        help_for={"prompt": WHAT_HAPPENS},
    ),
    "extend": Verb(
        "Continue a clip, or begin before it. Its own frames stay as they are.",
        required=("clip",),
        optional=("prompt",),
        options=(
            *("backward", *REFERENCES, "seconds", *MOVES, "frames", *PART, "background", *CONTROL, "draft", *SAMPLING),
        ),
        help_for={"prompt": WHAT_HAPPENS, "seconds": PAINTED},
    ),
    "loop": Verb(
        "Make a seamless loop, of a clip or of a prompt alone.",
        optional=("clip",),
        options=(
            *("prompt", *REFERENCES, "seconds", "frames", "fps", *SHAPE, *PART),
            *("background", *CONTROL, "draft", *SAMPLING),
        ),
        help_for={
            "clip": "The clip to lead back to its beginning.",
            "prompt": "What to show; without CLIP the whole loop is made of it.",
            "seconds": PAINTED,
        },
        metavar_for={"prompt": "TEXT"},
    ),
    "bridge": Verb(
        "Join two clips by painting the frames between them.",
        required=("clip", "clip_b"),
        optional=("prompt",),
        options=(
            *(*REFERENCES, "seconds", "start_b", "end_b", "frames", *PART),
            *("background", *CONTROL, "draft", *SAMPLING),
        ),
        help_for={"prompt": WHAT_HAPPENS, "clip": "The clip to start from.", "seconds": PAINTED},
        metavar_for={"clip": "A"},
    ),
    "edit": Verb(
        "Repaint a clip: all of it, a region, or some of its frames.",
        required=("clip", "prompt"),
        options=(
            *("strength", "region", "mask", "frame_range", "method", "source_prompt"),
            *REFERENCES,
            *(*PART, "background", *CONTROL, "draft", *SAMPLING),
        ),
        help_for={"prompt": ALTERNATIVES},
    ),
}

FINISH = Verb(
    "Make the finished film of a draft. Full size and all steps; all that no option changes is as in its recipe.",
    required=("draft_file",),
    options=("draft_strength", *SHAPE, *SAMPLING),
)
"""Not a verb of its own: the request of the draft's recipe, changed."""


def with_prompt_files(name: str) -> Verb:
    """The verb whose prompts a file may hold, with a prompt that need not be given."""
    verb = VERBS[name]
    return replace(verb, required=(), optional=verb.required) if verb.reads_prompt_files else verb
