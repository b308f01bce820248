"""The verbs, as a command line shows them: what each is for and which options it takes.

To add a verb: a row here, its name in ``options.VerbName``, a function in ``operations`` and one in ``jobs.verbs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from sora.plan.request import RequestField, fields

SAMPLING = (
    *("seed", "steps", "guidance", "guidance_low", "negative_prompt", "model", "loras", "device", "dtype", "memory"),
    *("speed", "disable", "shift", "sampler", "threads"),
)
SHAPE = ("aspect", "size")
LENGTH = ("seconds", "frames")
PART = ("start", "end")
MOVES = ("camera", "motion")

PAINTED = "How much is painted, beside what stands."
WHAT_HAPPENS = "What happens, in words; - reads standard input. Absent: the words in the file's own recipe, if any."
ALTERNATIVES = (
    "What to paint, in words (`sora ideas` lists what the model inside knows); - reads them from standard input. {a|b}"
    " makes a file for each."
)


@dataclass(frozen=True)
class Verb:
    """help: of the command. required, optional: fields that stand without a flag, in order. options: fields with one.
    says: a field's help where it is another than usual. metavars: likewise. lines: whether prompt files are painted
    with it."""

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
        "Paint a film from words.",
        required=("prompt",),
        options=("then", "transition", "subject", *MOVES, *LENGTH, "fps", *SHAPE, "draft", *SAMPLING),
        help_for={"prompt": ALTERNATIVES},
        reads_prompt_files=True,
    ),
    "image": Verb(
        "Paint one picture from words.",
        required=("prompt",),
        options=("refine", "camera", *SHAPE, "draft", *SAMPLING),
        help_for={"prompt": ALTERNATIVES},
        reads_prompt_files=True,
    ),
    "img2vid": Verb(
        "Set a picture in motion. It becomes the first frame, and its shape the film's.",
        required=("image",),
        optional=("prompt",),
        options=("last_image", *MOVES, *LENGTH, "fps", *SHAPE, "draft", *SAMPLING),
        help_for={"prompt": WHAT_HAPPENS},
    ),
    "extend": Verb(
        "Go on where a clip ends, or begin before it does. Its own frames stay as they are.",
        required=("clip",),
        optional=("prompt",),
        options=("backward", "seconds", *MOVES, "frames", *PART, "draft", *SAMPLING),
        help_for={"prompt": WHAT_HAPPENS, "seconds": PAINTED},
    ),
    "loop": Verb(
        "Make an endless loop: of a clip, by painting the way back, or of words alone.",
        optional=("clip",),
        options=("prompt", "seconds", "frames", "fps", *SHAPE, *PART, "draft", *SAMPLING),
        help_for={
            "clip": "The clip whose end is led back.",
            "prompt": "What to paint, in words; - reads standard input. Without CLIP the whole loop is painted from"
            " them.",
            "seconds": PAINTED,
        },
        metavar_for={"prompt": "TEXT"},
    ),
    "bridge": Verb(
        "Join two clips by painting what lies between them.",
        required=("clip", "clip_b"),
        optional=("prompt",),
        options=("seconds", "start_b", "end_b", "frames", *PART, "draft", *SAMPLING),
        help_for={"prompt": WHAT_HAPPENS, "clip": "The clip to go on from.", "seconds": PAINTED},
        metavar_for={"clip": "A"},
    ),
    "edit": Verb(
        "Paint a clip anew: all of it, a region, or a stretch of frames.",
        required=("clip", "prompt"),
        options=("strength", "region", "mask", "frame_range", "method", "source_prompt", *PART, "draft", *SAMPLING),
        help_for={"prompt": ALTERNATIVES},
    ),
}

FINISH = Verb(
    "Paint a draft at full size and in all its steps. What its recipe says holds, but for what is said here.",
    required=("draft_file",),
    options=("draft_strength", *SHAPE, *SAMPLING),
)
"""Not a verb of its own: the request of the draft's recipe, changed."""


def with_prompt_files(name: str) -> Verb:
    """The verb whose prompts a file may hold, with a prompt that need not be said."""
    verb = VERBS[name]
    return replace(verb, required=(), optional=verb.required) if verb.reads_prompt_files else verb
