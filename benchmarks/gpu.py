"""What a GPU says of the program, in one run of a few minutes: ``python benchmarks/gpu.py [PART ...] [-o FILE]``.

PART is one of these, all by default, the most telling first:
    agree      tiny Wan models of each kind and memory plan, painted on the card and on the CPU: grey levels apart
    passes     a pass of the 5B and of the 1.3B, compiled and not, in float8, MFU
    decode     the autoencoders at true size: float16 against float32, seconds, decibels, memory against the estimate
    loading    a checkpoint from the page cache to the card, GB/s
    peers      the same passes against diffusers', as it is and tuned, where it is installed
    attention  each attention kernel that is installed, among tokens and to text: TFLOP/s, distance from torch's own
    float8     products in float8 at the 5B's sizes, by who rounds: TFLOP/s
    guides     a pass of VACE with references and a control signal: seconds, memory against the estimate
    text       the text encoder, two texts of 512 words
    compiling  first calls with a cold and a warm cache, graphs by length, streamed blocks
    cold       a film of true size from a command line, cold and warm: seconds by phase
    batches    windows that are sampled at once: a window's share of a pass, and a film of five shots
    films      the embedded model: one window and a minute, seconds
    forecast   seconds that are predicted, against those that are taken
Weights are random, of true sizes. Nothing is downloaded. Each part has seconds of its own, after which it is cut off,
and the whole run has ``--seconds`` (220), after which parts are left out: all of them want up to 600. Results are
appended to FILE as they come, as lines of JSON, so that a run that is cut off has shown what it measured.
``--small`` runs everything at sizes for a CPU, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from gpu_parts import (
    agree,
    attention,
    batches,
    cold,
    compiling,
    decode,
    films,
    float8,
    forecast,
    guides,
    loading,
    passes,
    peers,
    text,
)
from gpu_parts.result import Machine, Result
from minitrain.eval.verdicts import machine_summary, markdown_table


class Part(NamedTuple):
    """seconds: the most that it may take on a card."""

    measure: Callable[[Machine], Iterator[Result]]
    seconds: float


PARTS = {
    "agree": Part(agree.measure, 40),
    "passes": Part(passes.measure, 100),
    "decode": Part(decode.measure, 70),
    "loading": Part(loading.measure, 15),
    "peers": Part(peers.measure, 110),
    "attention": Part(attention.measure, 30),
    "float8": Part(float8.measure, 45),
    "guides": Part(guides.measure, 20),
    "text": Part(text.measure, 10),
    "compiling": Part(compiling.measure, 90),
    "cold": Part(cold.measure, 90),
    "batches": Part(batches.measure, 20),
    "films": Part(films.measure, 20),
    "forecast": Part(forecast.measure, 20),
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
        left = args.seconds - (time.monotonic() - began)
        if left < 1:
            print(f"{part}: left out, no time left", flush=True)
            lines.append((part, "left out", "no time left", "", "no"))
            continue
        lines += run(part, machine, args.output, min(left, PARTS[part].seconds))
    print("\n" + markdown_table(("part", "what", "found", "target", "met"), lines))
    print(f"{time.monotonic() - began:.0f} s in all")


def run(part: str, machine: Machine, output: Path | None, seconds: float) -> Iterator[tuple[str, ...]]:
    """A part's results as lines of a table. What fails, or takes more than ``seconds``, ends the part alone."""
    began = time.monotonic()
    try:
        with time_limit(seconds):
            for result in PARTS[part].measure(machine):
                line = (part, result.what, result.shown, result.target, result.verdict)
                print(" | ".join(line), flush=True)
                if output is not None:
                    with output.open("a") as file:
                        after = time.monotonic() - began
                        file.write(json.dumps({"part": part, **result.as_dict(), "after": after}) + "\n")
                yield line
                machine.empty_cache()
    except OutOfTime:
        yield part, "cut off", f"after {seconds:.0f} s", "", "no"
    except Exception:
        traceback.print_exc()
        yield part, "failed", "", "", "no"
    machine.empty_cache()
    print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)


AGAIN_SECONDS = 5.0


class OutOfTime(BaseException):
    """No error of the program's own, so that nothing takes it for one."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block once it has taken so long: between two calls of the interpreter, so that a call
    that is under way is finished first; and anew every now and then, since what is raised where an object is
    finalized, or in another library's callback, gets lost there."""

    def expired(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    main()
