"""Train the embedded model: ``python -m minitrain all --size h100 --budget 8m --device cuda``.

Each stage can also be trained alone (``python -m minitrain dit --budget 10m``); ``ablate``, ``checkpoint`` and
``publish`` are subcommands too. A later call resumes what is in ``--runs``, also on another machine (see
``checkpoint``). ``all --from`` starts from published weights: a folder of them, or ``shipped`` for the package's own.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

PROGRAM_COMMANDS = ("ablate", "checkpoint", "publish")
STAGE_COMMANDS = ("vae", "text", "judge", "dit", "distil", "score")
SHIPPED_WEIGHTS = "shipped"
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave the cores to the rendering workers
    "TOKENIZERS_PARALLELISM": "false",  # or forked processes warn of deadlocks
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # asking for a card must not touch it before workers are forked
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",  # batches of many shapes
}
"""What must be set before torch is imported, unless somebody has."""


def parser() -> argparse.ArgumentParser:
    """The argument parser of all subcommands; it needs no heavy import."""
    from minitrain.presets import PRESETS

    top = argparse.ArgumentParser(prog="python -m minitrain", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)
    worlds = ("small", "medium", "rich", "rich-v2", "wide", "large")
    for name in ("all", *STAGE_COMMANDS):
        verb = verbs.add_parser(name, help="every stage" if name == "all" else f"the stage {name} alone")
        verb.add_argument("--budget", default="30m", help="time of this call, such as 90s, 30m, 2h")
        verb.add_argument("--size", choices=PRESETS, default="cpu", help="networks, batches and frames")
        verb.add_argument("--world", choices=worlds, help="what clips are drawn from (default: the size's)")
        verb.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
        verb.add_argument("--runs", type=Path, default=Path("runs"), help="where everything is kept")
        verb.add_argument("--workers", type=int, default=0, help="processes that render (default: as many as fit)")
        verb.add_argument("--set", nargs="+", default=(), metavar="NAME=VALUE", help="of presets.DiTTrainingConfig")
        if name == "all":
            verb.add_argument(
                "--from", dest="start", metavar="DIR", help=f"weights to start from, or {SHIPPED_WEIGHTS}"
            )
    for name in PROGRAM_COMMANDS:
        verbs.add_parser(name, help=f"see python -m minitrain {name} --help", add_help=False)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in PROGRAM_COMMANDS:
        import_module(f"minitrain.{arguments[0]}").main(arguments[1:])
        return
    args = parser().parse_args(arguments)

    import torch

    from minitrain.full_training import parse_budget, train_all
    from minitrain.stages import STAGES as ROWS

    budget = parse_budget(args.budget)
    if args.device == "cuda":
        torch.set_float32_matmul_precision("high")
    job = _training_job(args, arguments)
    seconds = max(1.0, budget - (time.monotonic() - started))  # what imports took is spent
    if args.verb == "all":
        train_all(job, seconds)
    else:
        ROWS[args.verb](job, seconds / 60)


def _training_job(args: argparse.Namespace, arguments: Sequence[str]):
    """The job that the arguments ask for; its folder exists and, with ``--from``, holds the initial weights. Raises
    InputError."""
    from minitrain.presets import PRESETS
    from minitrain.publish import prepare_start
    from minitrain.stages import TrainingJob
    from minitrain.worlds import WORLDS
    from sora import weights

    world = args.world or PRESETS[args.size].world
    args.runs.mkdir(parents=True, exist_ok=True)
    if getattr(args, "start", None):
        prepare_start(args.runs, weights.ASSETS if args.start == SHIPPED_WEIGHTS else Path(args.start), WORLDS[world])
    return TrainingJob(
        runs=args.runs,
        size=args.size,
        world=world,
        device=args.device,
        settings=tuple(args.set),
        workers=args.workers,
        command=shlex.join(["python", "-m", "minitrain", *arguments]) if args.verb == "all" else "",
    )


if __name__ == "__main__":
    from sora.errors import SoraError

    try:
        main()
    except SoraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
