"""Reference pictures: what a film's subject looks like, for models that can be shown it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from sora import catalog
from sora.catalog.spec import ModelSpec
from sora.errors import InputError, UsageError
from sora.jobs.inputs import Inputs
from sora.jobs.verbs import VerbPlan
from sora.media import cutout
from sora.plan.geometry import wxh
from sora.plan.options import MAX_REFERENCES
from sora.plan.request import Request

MAX_PIXELS = 1 << 21  # of a reference; a larger one is made smaller, since models see it at the film's size
MAX_SHAPE = 16  # times as long as wide, or as wide as long


def check(request: Request, spec: ModelSpec) -> None:
    """Raises UsageError where references are given that the model does not take, or too many, or where there are none
    whose background could be white."""
    if not request.references:
        if request.reference_background is not None:
            raise UsageError("--reference-background is of reference pictures; add --reference, or leave it out")
        return
    if not spec.takes_references:
        able = ", ".join(name for name, row in catalog.MODELS.items() if row.takes_references)
        raise UsageError(f"{spec.name} takes no --reference; --model can be {able}")
    if len(request.references) > MAX_REFERENCES:
        raise UsageError(f"{len(request.references)} references are too many; expected at most {MAX_REFERENCES}")


def added(verb_plan: VerbPlan, request: Request, files: Inputs) -> VerbPlan:
    """The plan with a request's references. Raises InputError, and UsageError where one cannot be cut out."""
    if not request.references:
        return verb_plan
    cuts = request.reference_background == "white"
    found = [_reference(path, files, cuts=cuts) for path in request.references]
    plan = replace(verb_plan.plan, references=tuple(picture_YXC for picture_YXC, _ in found))
    notes = dict.fromkeys(note for _, notes in found for note in notes)
    inputs = (*verb_plan.inputs, *map(Path, request.references))
    return replace(verb_plan, plan=plan, inputs=inputs, notes=(*verb_plan.notes, *notes))


Reference = tuple[np.ndarray, tuple[str, ...]]
"""(the picture as a model is shown it, notes for a person)."""


def _reference(path: str, files: Inputs, *, cuts: bool) -> Reference:
    """Raises as ``added``."""
    if path in files:
        return _read(path, files, cuts=cuts)
    try:
        facts = Path(path).stat()
    except (OSError, ValueError):
        return _read(path, files, cuts=cuts)  # says what is wrong
    return _read_file(path, (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size), cuts=cuts)


@lru_cache(maxsize=MAX_REFERENCES)
def _read_file(path: str, stamp: tuple[int, ...], *, cuts: bool) -> Reference:  # noqa: ARG001
    """All lines of a prompt file share the pictures that they name. stamp: of this state of the file."""
    return _read(path, Inputs(), cuts=cuts)


def _read(path: str, files: Inputs, *, cuts: bool) -> Reference:
    notes: list[str] = []
    picture_YXC, is_transparent = files.read_reference(path, notes.append)
    height, width = picture_YXC.shape[:2]
    if max(height, width) > MAX_SHAPE * min(height, width):
        raise InputError(f"{path} is {wxh((height, width))}, too long for a reference; cut its subject out of it")
    if height * width > MAX_PIXELS:
        picture_YXC = _within(picture_YXC, MAX_PIXELS)
    if cuts and not is_transparent:  # what is transparent lies on white already
        picture_YXC = cutout.on_white(picture_YXC, path)
    return picture_YXC, tuple(notes)


def _within(picture_YXC: np.ndarray, pixels: int) -> np.ndarray:
    """The picture with so many pixels at most."""
    height, width = picture_YXC.shape[:2]
    scale = (pixels / (height * width)) ** 0.5
    size = max(1, int(width * scale)), max(1, int(height * scale))
    return np.asarray(Image.fromarray(picture_YXC).resize(size, Image.Resampling.LANCZOS))
