"""What several graphics cards gain for one clip: ``python benchmarks/gpus.py [N ...] [--rows NAME ...]``.

N is how many processes share a step, 1, 2 and 4 by default: with a card for each by NCCL, and otherwise by gloo on the
CPU, where N processes share the same cores and the seconds say nothing but that it runs. Weights are random, of true
sizes on cards. For each row and N: the median seconds of a step, how it is divided, and what a process sends to others.

``--model FOLDER`` paints a clip with each number of processes too, from prompt to file, twice: the second time all is
loaded. Results are also appended to a file with ``-o``, as lines of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch

import sora
from gpus_parts.step import ROWS, SMALL, Step
from minitrain.eval.verdicts import machine_summary, markdown_table
from passes_parts import rows
from sora.runtime.parallel.config import choose_config
from sora.runtime.parallel.workers import Begin, Workers

WARM_UPS, RUNS = 2, 5
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[1, 2, 4], metavar="N")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), help="all for the device by default")
    parser.add_argument("--model", help="a model to paint a clip with, too")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cards = torch.cuda.device_count() if device.type == "cuda" else max(args.counts)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    print(f"{machine_summary()} {cards} x {device.type}, torch {torch.__version__}\n", flush=True)
    found: list[dict[str, Any]] = []
    names = args.rows or list(rows.CUDA if device.type == "cuda" else SMALL)
    for count in [n for n in args.counts if n <= cards]:
        for result in chain(of_steps(names, count, device), of_clips(args.model, count, device)):
            print(json.dumps(result), flush=True)
            found.append(result)
            if args.output is not None:
                with args.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
    heads = ("what", "processes", "CFG x Ulysses", "seconds", "MiB sent", "times as fast")
    print("\n" + markdown_table(heads, [row_of(result, found) for result in found]))


def row_of(result: dict[str, Any], found: list[dict[str, Any]]) -> tuple[str, ...]:
    alone = next((r["seconds"] for r in found if r["what"] == result["what"] and r["processes"] == 1), None)
    gain = "" if alone is None else f"{alone / result['seconds']:.2f}"
    sent = "" if result["mib_sent"] is None else f"{result['mib_sent']:.1f}"
    return result["what"], str(result["processes"]), result["divided"], f"{result['seconds']:.3f}", sent, gain


def of_steps(names: list[str], count: int, device: torch.device) -> Iterator[dict[str, Any]]:
    workers = Workers("gpus_parts.step", count, device) if count > 1 else None
    if workers is not None:
        workers.connect(torch.get_num_threads() if device.type == "cpu" else 0)
    for name in names:
        row = ROWS[name]
        config = choose_config(count, row.config.heads, guided=row.guided)
        if config is not None:
            seconds, sent = of_step(name, device, workers)
            divided = f"{config.cfg_degree} x {config.ulysses_degree}"
            shown = {"what": name, "processes": count, "divided": divided}
            yield {**shown, "seconds": seconds, "mib_sent": sent / MIB if workers else None}
    if workers is not None:
        workers.close()


def of_step(name: str, device: torch.device, workers: Workers | None) -> tuple[float, float]:
    """(the median seconds of a step, bytes that this process sends in one)."""
    if workers is not None:
        with workers.guarded():
            workers.send(Begin(name))
    ranks = None if workers is None else workers.ranks
    step, found = Step(name, device, ranks), list[float]()
    x, before = step.latents(), 0 if ranks is None else ranks.sequence.bytes_sent
    for _ in range(WARM_UPS + RUNS):
        began = time.perf_counter()
        if workers is None:
            step(x)
        else:
            with workers.guarded():
                workers.send(x)
                step(x)
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    sent = 0 if ranks is None else ranks.sequence.bytes_sent - before
    return statistics.median(found[WARM_UPS:]), sent / (WARM_UPS + RUNS)


def of_clips(model: str | None, count: int, device: torch.device) -> Iterator[dict[str, Any]]:
    if model is None:
        return
    with_model: dict[str, Any] = {"model": model, "gpus": count, "device": device.type}
    with_model |= {} if device.type == "cuda" else {"size": (96, 80), "frames": 9}
    for name in ("a clip, cold", "a clip, loaded"):
        began = time.perf_counter()
        sora.generate("a red cat walks", seed=7, **with_model)
        seconds = time.perf_counter() - began
        yield {"what": name, "processes": count, "divided": "", "seconds": seconds, "mib_sent": None}
    sora.unload()


if __name__ == "__main__":
    main()
