"""Seeds, standard output, names of outputs, and command lines as people type them: the second half of ``words``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sora
from real_files_parts.case import Case, Outcome, run
from real_files_parts.commands import compared, here, judged, on_terminal, says_so
from sora import media
from sora.engine import sampler
from sora.media import decoder

SMALL = ("--size", "64x64", "--steps", "1", "--seed", "1")
SHORT: dict[str, Any] = {"size": (64, 64), "steps": 2, "anyway": True}


def cases() -> Iterator[Case]:
    yield from _seeds()
    yield from _outputs()
    yield from _command_lines()


# Seeds and outputs --------------------------------------------------------------------------------------------------


def _seeds() -> Iterator[Case]:
    kind, most = "seed", 2**64 - 1
    yield Case(kind, "2^64-1, painted, recorded and remade", f"{most} twice, the same frames", _largest_seed)
    yield Case(kind, "-1", "drawn, recorded, and paints the same again", _drawn_seed)
    yield Case(kind, "2^63-1", "torch's own noise", _noise)
    yield Case(kind, "2^64", "exit 2, says so", says_so(["image", "a ball", "--seed", str(2**64)], 2, str(most)))
    yield Case(kind, "-2", "exit 2, says so", says_so(["image", "a ball", "--seed", "-2"], 2, "-1 to"))


def _largest_seed(folder: Path) -> Outcome:
    most = 2**64 - 1
    here(folder, "image", "a red ball", "--size", "64x64", "--steps", "1", "--seed", str(most), "-o", "a.png")
    here(folder, "remake", "a.png", "-o", "b.png")
    seeds = [json.loads(media.read_recipe(folder / f"{n}.png") or "{}")["request"]["seed"] for n in "ab"]
    first, second = (media.read_image(folder / f"{name}.png") for name in "ab")
    same = np.array_equal(first, second)
    got = f"{seeds[0]} twice, {'the same' if same else 'other'} frames" if seeds[0] == seeds[1] else f"{seeds}"
    return compared(f"{most} twice, the same frames", got)


def _drawn_seed(folder: Path) -> Outcome:  # noqa: ARG001
    first = sora.image("a red ball", seed=-1, **SHORT)
    again = sora.image("a red ball", seed=first.seed, **SHORT)
    same = first.seed >= 0 and np.array_equal(first.frames, again.frames)
    return Outcome("drawn, recorded, and paints the same again" if same else f"{first.seed}, others", same)


def _noise(folder: Path) -> Outcome:  # noqa: ARG001
    generator = torch.Generator().manual_seed(2**63 - 1)
    same = torch.equal(sampler.initial_noise((4, 2, 3, 3), 2**63 - 1), torch.randn(1, 4, 2, 3, 3, generator=generator))
    return compared("torch's own noise", "torch's own noise" if same else "other noise")


def _outputs() -> Iterator[Case]:
    kind, film = "standard output", ["generate", "a red ball", "--frames", "3", *SMALL, "-o", "-"]
    yield Case(kind, "-o - of a film", "the file's own bytes, 3 frames from a pipe", partial(_piped, film))
    yield Case(kind, "-o - of a picture", "PNG alone", _piped_picture)
    yield Case(kind, "-o - on a terminal", "exit 2, refused", _refused_terminal)
    yield Case(kind, "-o - whose reader is gone", "exit 3, its reader is gone", partial(_gone, film))
    yield Case(kind, "-o - of two films", "exit 2, says so", says_so([*film, "--count", "2"], 2, "takes one film"))
    kind = "output without an ending"
    for verb, output, made in (
        ("generate", "film", "film.mp4"),
        ("image", "film", "film.png"),
        ("generate", "film/", "film/00000.png"),
    ):
        yield Case(kind, f"{verb} -o {output}", made, partial(_named_output, verb, output, made))


def _piped(argv: list[str], folder: Path) -> Outcome:
    out = run(folder, *argv).out
    run(folder, *argv[:-1], "a.mp4")
    command = decoder.command("-v", "error", "-i", "pipe:0", "-f", "framemd5", "-")
    decoded = subprocess.run([c for c in command if c != "-nostdin"], input=out, capture_output=True, check=True).stdout
    frames = sum(not line.startswith(b"#") for line in decoded.splitlines())
    same = "the file's own bytes" if out == (folder / "a.mp4").read_bytes() else "other bytes"
    return compared("the file's own bytes, 3 frames from a pipe", f"{same}, {frames} frames from a pipe")


def _piped_picture(folder: Path) -> Outcome:
    result = here(folder, "image", "a red ball", *SMALL, "-o", "-", "--json")
    is_png = result.stdout_bytes.startswith(b"\x89PNG") and result.stdout_bytes.endswith(b"IEND\xaeB`\x82")
    return compared("PNG alone", "PNG alone" if is_png and '"path": "-"' in result.stderr else result.stderr)


def _refused_terminal(folder: Path) -> Outcome:
    status, out = on_terminal(folder, "image", "a red ball", "-o", "-")
    return compared("exit 2, refused", f"exit {status}, {'refused' if b'which is a terminal; pipe it' in out else out}")


def _gone(argv: list[str], folder: Path) -> Outcome:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sora", *argv]
    environment = os.environ | {"SORA_STATE": str(folder / ".state")}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    last = done.stderr.decode().splitlines()[-1]
    shown = "its reader is gone" if "its reader is gone" in last and b"Traceback" not in done.stderr else last
    return compared("exit 3, its reader is gone", f"exit {done.returncode}, {shown}")


def _named_output(verb: str, output: str, made: str, folder: Path) -> Outcome:
    length = () if verb == "image" else ("--frames", "2")
    here(folder, verb, "a red ball", *length, *SMALL, "-o", output, "-q")
    files = sorted(
        f.relative_to(folder).as_posix() for f in folder.rglob("[!.]*") if f.is_file() and ".s" not in str(f)
    )
    return compared(made, made if made in files else files)


# Command lines ------------------------------------------------------------------------------------------------------


def _command_lines() -> Iterator[Case]:
    kind = "prompt without quotes"
    dry = ("--dry-run", *SMALL)
    joined = says_so(["generate", *dry, "a", "red", "ball", "bounces"], 0, 'read as "a red ball bounces"')
    yield Case(kind, "sora generate a red ball bounces", "exit 0, says so", joined)
    yield Case(kind, "sora extend CLIP a red ball rolls", "exit 0, says so", _extends)
    for words, hint in (
        (["clip.mp4", "x"], "looks like a file"),
        (["a", "ball", "seed", "5"], "did you mean --seed?"),
        (["a red ball", "blue"], "stands in quotes"),
        (["a", "ball", "\u2014seed", "5"], "did you mean --seed?"),
        (["a", "ball", "--sampler", "hun"], "did you mean heun?"),
    ):
        refused = says_so(["generate", *words], 2, hint)
        yield Case(f"{kind}, and something else", " ".join(words), "exit 2, says so", refused)
    kind = "begins with a dash"
    for argv, hint in (
        (["generate", "-1 cat"], "sora generate -- '-1 cat'"),
        (["info", "-clip.mp4"], "sora info -- -clip.mp4"),
        (["generate", "-seed", "5", "a"], "did you mean --seed?"),
    ):
        yield Case(kind, " ".join(argv), "exit 2, says so", says_so(argv, 2, hint))
    yield Case(kind, "-- '-1 red ball'", "exit 0, says so", says_so(["generate", *dry, "--", "-1 red ball"], 0))


def _extends(folder: Path) -> Outcome:
    here(folder, "generate", "a red ball", "--frames", "5", *SMALL, "-o", "clip.mkv")
    argv = ("extend", "--dry-run", "clip.mkv", "a", "red", "ball", "rolls")
    return judged(here(folder, *argv), 0, 'read as "a red ball rolls"')
