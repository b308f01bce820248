"""A shot of a film of several, as data: its words, how long it is, and how it follows the one before."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from sora.plan import options as o


class Shot(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """seconds, frames: its length, in one of both; None for a share of what the others leave. transition: from the shot
    before, whose frames belong to the length of this one. camera, motion: its own moves. None is what the request says
    of all shots."""

    prompt: o.Prompt
    seconds: o.Seconds | None = None
    frames: o.Frames | None = None
    transition: o.Transition | None = None
    camera: o.Camera | None = None
    motion: o.Motion | None = None


OPTIONS = ("seconds", "frames", "transition", "camera", "motion")
"""Fields of a shot besides its words, which have the name and the range of a request's."""

Shots = Annotated[
    tuple[Shot, ...],
    o.option("Make one film of the shots in a text file, one a line; - is stdin.", metavar="FILE", longest=o.MAX_ITEMS),
]
"""Shots of a request. A command line names a file of them, as ``shot_lines`` reads it."""
