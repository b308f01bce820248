"""Flags that many commands share, said once: a command names the groups it takes, beside flags of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sora.cli import options as o

Flags = Mapping[str, Any]  # the name of a parameter to its annotation
Command = TypeVar("Command", bound=Callable[..., Any])

PAINTING: Flags = {
    "output": o.Output,
    "seed": o.Seed,
    "steps": o.Steps,
    "guidance": o.Guidance,
    "guidance_low": o.GuidanceLow,
    "negative": o.Negative,
    "model": o.ModelName,
    "lora": o.Lora,
    "device": o.DeviceName,
    "dtype": o.DtypeName,
    "memory": o.MemoryPlan,
    "speed": o.SpeedMode,
    "without": o.Without,
    "shift": o.Shift,
    "sampler": o.SamplerName,
    "count": o.Count,
    "anyway": o.Anyway,
    "threads": o.Threads,
    "dry_run": o.DryRun,
    "force": o.Force,
    "as_json": o.AsJson,
    "quiet": o.Quiet,
}
SHAPE: Flags = {"aspect": o.Aspect, "size": o.Size}
LENGTH: Flags = {"seconds": o.Seconds, "frames": o.Frames}
RATE: Flags = {"fps": o.Fps}
PART: Flags = {"start": o.Start, "end": o.End}
DRAFT: Flags = {"draft": o.Draft}

# Every other flag that is not said is None, so that "not said" and "said as the default" stay apart.
DEFAULTS: dict[str, Any] = {
    "count": 1,
    "anyway": False,
    "force": False,
    "dry_run": False,
    "as_json": False,
    "quiet": False,
    "draft": False,
}


def takes(*groups: Flags) -> Callable[[Command], Command]:
    """Gives a command that ends in ``**shared`` the flags of the groups, for typer to read. Its own come first, and
    one of its own stands in for a shared one of the same name."""

    def declared(command: Command) -> Command:
        written = inspect.signature(command, eval_str=True).parameters.values()
        own = [p for p in written if p.kind is not p.VAR_KEYWORD]
        shared = {name: kind for group in groups for name, kind in group.items() if name not in {p.name for p in own}}
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS.get(name), annotation=kind)
            for name, kind in shared.items()
        ]
        setattr(command, "__signature__", inspect.Signature([*own, *added]))  # noqa: B010, a function declares none
        command.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
        return command

    return declared
