"""What a GPU says of the program, in one run of a few minutes: ``python benchmarks/gpu.py [PART ...] [-o FILE]``.

PART is one of these, all by default, the most telling first:
    agree     tiny Wan models of each kind, painted on the card and on the CPU: grey levels between the frames
    decode    the autoencoders at true size: float16 against float32, seconds, decibels, memory against the estimate
    loading   a checkpoint from the page cache to the card, GB/s
    guides    a pass of VACE with references and a control signal: seconds, memory against the estimate
    passes    a pass of the 1.3B and of the 5B, compiled and not, MFU; against diffusers where it is installed
    text      the text encoder, two texts of 512 words
    batches   windows that are sampled at once: a window's share of a pass, and a film of five shots
    films     the embedded model: one window and a minute, seconds
Weights are random, of true sizes. Nothing is downloaded. Each part has a share of the seconds (``--seconds``, 220) and
is left out where none are left; results are appended to FILE as they come, as lines of JSON, so that a run that is cut
off has shown what it measured. ``--small`` runs everything at sizes for a CPU, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from gpu_parts import agree, batches, decode, films, guides, loading, passes, text
from gpu_parts.result import Machine, Result
from minitrain.eval.verdicts import machine_summary, markdown_table

PARTS: dict[str, Callable[[Machine], Iterator[Result]]] = {
    "agree": agree.measure,
    "decode": decode.measure,
    "loading": loading.measure,
    "guides": guides.measure,
    "passes": passes.measure,
    "text": text.measure,
    "batches": batches.measure,
    "films": films.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("-o", "--output", type=Path, help="append each result here, as a line of JSON")
    parser.add_argument("--seconds", type=float, default=220.0, help="of the whole run")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() and not args.small else "cpu")
    machine = Machine(device, args.small)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{machine_summary()} {name}, torch {torch.__version__}\n", flush=True)
    began, lines = time.monotonic(), list[tuple[str, ...]]()
    for part in args.parts or PARTS:
        if time.monotonic() - began > args.seconds:
            print(f"{part}: left out, no time left", flush=True)
            continue
        lines += run(part, machine, args.output)
    print("\n" + markdown_table(("part", "what", "found", "target", "met"), lines))
    print(f"{time.monotonic() - began:.0f} s in all")


def run(part: str, machine: Machine, output: Path | None) -> Iterator[tuple[str, ...]]:
    """A part's results as lines of a table. What fails ends the part alone."""
    began = time.monotonic()
    try:
        for result in PARTS[part](machine):
            line = (part, result.what, result.shown, result.target, result.verdict)
            print(" | ".join(line), flush=True)
            if output is not None:
                with output.open("a") as file:
                    file.write(json.dumps({"part": part, **result.as_dict(), "after": time.monotonic() - began}) + "\n")
            yield line
            if machine.is_cuda:
                torch.cuda.empty_cache()
    except Exception:
        traceback.print_exc()
        yield part, "failed", "", "", "no"
    print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
