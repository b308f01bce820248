"""Is a painting that was stopped and gone on with, in processes of their own, the same as one that nobody stopped?

    python benchmarks/resume.py [--device cuda] [--model mini --model FOLDER ...] [--stop-after 7]

Each case is painted once as a whole and once in pieces of so many steps, each by a new process; then all latents that
the two jobs kept, and all frames, are compared bit for bit. A row a case: how many processes it took, and whether the
latents and the frames are equal.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

PROMPT = "a red balloon floats up over a green meadow"
CASES: dict[str, tuple[str, ...]] = {
    "two windows": ("generate", PROMPT, "--frames", "40"),
    "three windows": ("generate", PROMPT, "--frames", "70"),
    "unipc": ("generate", PROMPT, "--frames", "17", "--sampler", "unipc"),
    "heun": ("generate", PROMPT, "--frames", "17", "--sampler", "heun"),
    "fast": ("generate", PROMPT, "--frames", "17", "--speed", "fast"),
    "loop": ("loop", "--prompt", PROMPT),
    "refined picture": ("image", PROMPT, "--size", "640x640", "--refine", "0.4"),
    "flow edit": ("edit", "KNOWN", "a blue balloon", "--source-prompt", PROMPT, "--method", "flow"),
    "extension": ("extend", "KNOWN", PROMPT, "--frames", "9"),
}
MAX_PROCESSES = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", action="append", help="a name or a folder; may be repeated")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--stop-after", type=int, default=7, help="steps a process")
    parser.add_argument("--seconds", type=float, default=600.0, help="no further case is begun after so long")
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated")
    arguments = parser.parse_args()
    began = time.monotonic()
    print(f"{'model':<24} {'case':<16} processes  latents  frames")
    unequal = 0
    for model in arguments.model or ["mini"]:
        for case in arguments.case or CASES:
            if time.monotonic() - began > arguments.seconds:
                print("the rest was not reached in time")
                sys.exit(unequal > 0)
            with tempfile.TemporaryDirectory() as folder:
                row = _compare(Path(folder), model, case, arguments)
            unequal += "no" in row[1:]
            print(f"{Path(model).name:<24} {case:<16} {row[0]:>9}  {row[1]:>7}  {row[2]:>6}", flush=True)
    sys.exit(unequal > 0)


def _compare(folder: Path, model: str, case: str, arguments: argparse.Namespace) -> tuple[int, str, str]:
    """(processes, whether the latents are equal, whether the frames are)."""
    command = [str(folder / "known") if word == "KNOWN" else word for word in CASES[case]]
    options = ["--model", model, "--device", arguments.device, "--steps", str(arguments.steps), "--seed", "5"]
    if "KNOWN" in CASES[case]:
        _sora(folder, "known", "generate", PROMPT, "--frames", "9", *options, "-o", f"{folder / 'known'}/")
    kind = ".png" if command[0] == "image" else "/"
    _sora(folder, "whole", *command, *options, "-o", f"{folder / 'whole'}{kind}")
    count, parts = 0, folder / f"parts{kind}".rstrip("/")
    while not parts.exists() and count < MAX_PROCESSES:
        pause = ("--stop-after", str(arguments.stop_after))
        _sora(folder, "pieces", *command, *options, *pause, "-o", f"{folder / 'parts'}{kind}")
        count += 1
    latents = _same_latents(folder / "state-whole", folder / "state-pieces")
    frames = _digest(folder / f"whole{kind}".rstrip("/")) == _digest(parts)
    return count, "equal" if latents else "no", "equal" if frames else "no"


def _sora(folder: Path, name: str, *words: str) -> None:
    settings = {"SORA_STATE": str(folder / f"state-{name}"), "SORA_JOURNAL_AFTER": "0"}
    subprocess.run(
        [sys.executable, "-m", "sora", *words, "--quiet"],
        env=os.environ | settings,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _same_latents(first: Path, second: Path) -> bool:
    """Whether two jobs kept the same latents, bit for bit."""
    files = [sorted(state.glob("jobs/*/film-*/*/latents.safetensors")) for state in (first, second)]
    if len(files[0]) != len(files[1]) or not files[0]:
        return False
    pairs = [(load_file(a), load_file(b)) for a, b in zip(*files, strict=True)]
    return all(torch.equal(a["latents"], b["latents"]) for a, b in pairs)


def _digest(path: Path) -> str:
    """Of a picture, or of the pictures in a folder."""
    from PIL import Image

    files = sorted(path.glob("*.png")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with Image.open(file) as image:
            digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
