"""Every command at every shape, as cold processes with one step each: does the file have the requested size?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minitrain.eval.report import Report
from minitrain.eval.verbs.eval_model import EvalModel, has_command, run_sora
from minitrain.eval.verdicts import log_progress
from sora import media
from sora.errors import SoraError

PROMPT = "a red balloon floats up over a green meadow"
ASPECTS, SIZES = ("9:16", "16:9", "1:1", "21:9"), ("64x64", "1920x1080", "1080x1920")
FAST_FLAGS = ("--steps", "1", "--seed", "1", "--quiet")


@dataclass(frozen=True)
class PreparedInputs:
    """Input files of one shape. flags: request that shape. clip, picture, draft: names of files that have it."""

    flags: tuple[str, ...]
    clip: str = "clip.mkv"
    picture: str = "picture.png"
    draft: str = "draft.mp4"


# Verb -> its arguments. Those that take a clip take its shape too; the others are asked for it.
VERBS: dict[str, Callable[[PreparedInputs], list[str]]] = {
    "generate": lambda p: ["generate", PROMPT, *p.flags],
    "generate --draft": lambda p: ["generate", PROMPT, *p.flags, "--draft"],
    "generate --then": lambda p: ["generate", PROMPT, "--then", PROMPT, "--frames", "20", *p.flags],
    "image": lambda p: ["image", PROMPT, *p.flags],
    "img2vid": lambda p: ["img2vid", p.picture, PROMPT, *p.flags],
    "img2vid, own shape": lambda p: ["img2vid", p.picture, PROMPT],
    "img2vid --last-image": lambda p: ["img2vid", p.picture, PROMPT, "--last-image", p.picture, *p.flags],
    "extend": lambda p: ["extend", p.clip, PROMPT],
    "extend --backward": lambda p: ["extend", p.clip, PROMPT, "--backward"],
    "loop CLIP": lambda p: ["loop", p.clip],
    "loop --prompt": lambda p: ["loop", "--prompt", PROMPT, *p.flags],
    "bridge": lambda p: ["bridge", p.clip, p.clip, PROMPT],
    "edit": lambda p: ["edit", p.clip, PROMPT],
    "finish": lambda p: ["finish", p.draft],
    "finish --size": lambda p: ["finish", p.draft, *(f for f in p.flags if p.flags[0] == "--size")],
    "remake": lambda p: ["remake", p.draft],
}


def measure_shapes(evaluator: EvalModel, report: Report, count: int) -> None:
    """count: of the shapes, in order."""
    shapes = [("--aspect", a) for a in ASPECTS] + [("--size", s) for s in SIZES]
    known = {verb: has_command(verb.split()[0].rstrip(",")) for verb in VERBS}
    wrong: dict[str, list[str]] = {verb: [] for verb in VERBS}
    tried = dict.fromkeys(VERBS, 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for flag, shape in shapes[:count]:
            log_progress(f"shapes: {shape}")
            expected_size = _expected_size(evaluator, flag, shape)
            inputs = _prepare_inputs(folder, (flag, shape))
            for verb, arguments in VERBS.items():
                if known[verb] and (verb != "finish --size" or flag == "--size"):
                    tried[verb] += 1
                    found = _run_and_probe(folder, [*arguments(inputs), *FAST_FLAGS], still=verb == "image")
                    log_progress(f"shapes: {shape}, {verb}: {found}")
                    if found != f"{expected_size[1]}x{expected_size[0]}":
                        wrong[verb].append(f"{shape}: {found}")
        if known["image"]:
            _measure_largest(report, folder)
    for verb in VERBS:
        if not tried[verb]:
            report.add(f"shapes: {verb}", "as asked", "no case" if known[verb] else "not yet")
            continue
        found = f"{tried[verb] - len(wrong[verb])} of {tried[verb]}" + "".join(f"; {w}" for w in wrong[verb])
        report.add(f"shapes: {verb}", "as asked", found, not wrong[verb])


def _expected_size(evaluator: EvalModel, flag: str, shape: str) -> tuple[int, int]:
    """(height, width) of the file."""
    if flag == "--size":
        width, height = shape.split("x")
        return int(height), int(width)
    across, down = shape.split(":")
    return evaluator.spec.grid.nearest_size(int(across) / int(down), evaluator.spec.defaults.area)


def _prepare_inputs(folder: Path, flags: tuple[str, str]) -> PreparedInputs:
    """A clip, a picture and a draft of the shape."""
    inputs = PreparedInputs(flags)
    _run_and_probe(folder, ["generate", PROMPT, *flags, "--frames", "9", *FAST_FLAGS], out=inputs.clip)
    _run_and_probe(folder, ["image", PROMPT, *flags, *FAST_FLAGS], out=inputs.picture)
    _run_and_probe(folder, ["generate", PROMPT, *flags, "--frames", "9", "--draft", *FAST_FLAGS], out=inputs.draft)
    return inputs


def _run_and_probe(folder: Path, arguments: list[str], *, out: str = "", still: bool = False) -> str:
    """WIDTHxHEIGHT of the file, or why there is none."""
    target = out or ("made.png" if still else "made.mp4")
    done = run_sora(folder, *arguments, "-o", target, "--force")[1]
    if done.returncode:
        return f"status {done.returncode}, {(done.stderr.strip().splitlines() or ['silent'])[-1]}"
    try:
        facts = media.probe(folder / target)
    except SoraError as error:
        return str(error)
    return f"{facts.width}x{facts.height}"


def _measure_largest(report: Report, folder: Path) -> None:
    """The largest picture, upscaled alone and refined in tiles."""
    for flags in ((), ("--refine", "0.3")):
        found = _run_and_probe(folder, ["image", PROMPT, "--size", "2048x2048", *flags, *FAST_FLAGS], still=True)
        what = " ".join(("shapes: image --size 2048x2048", *flags))
        report.add(what, "2048x2048", found, found == "2048x2048")
