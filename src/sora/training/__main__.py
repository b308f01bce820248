"""``python -m sora.training all --budget 30m --device cuda``: the embedded model from nothing, or further.

Each stage can also be trained alone (``python -m sora.training dit --budget 10m``), and ``ablate``, ``checkpoint`` and
``publish`` are here too. What is left in ``--runs`` is gone on from, also on another machine (see ``checkpoint``).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

PROGRAMS = ("ablate", "checkpoint", "publish")
STAGES = ("vae", "text", "judge", "dit", "distil", "score")


def parser() -> argparse.ArgumentParser:
    """Verbs and flags; nothing heavy is imported for them."""
    from sora.training.sizes import SIZES

    top = argparse.ArgumentParser(prog="python -m sora.training", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)
    for name in ("all", *STAGES):
        verb = verbs.add_parser(name, help="every stage" if name == "all" else f"the stage {name} alone")
        verb.add_argument("--budget", default="30m", help="time of this call, such as 90s, 30m, 2h")
        verb.add_argument("--size", choices=SIZES, default="cpu", help="networks, batches and frames")
        verb.add_argument(
            "--world", choices=("small", "medium", "rich", "rich-v2", "wide", "large"), help="default: the size's"
        )
        verb.add_argument("--device", default="cpu", help="cpu or cuda")
        verb.add_argument("--runs", type=Path, default=Path("runs"), help="where everything is kept")
        verb.add_argument("--set", nargs="+", default=(), metavar="NAME=VALUE", help="settings of sizes.Recipe")
    for name in PROGRAMS:
        verbs.add_parser(name, help=f"see python -m sora.training {name} --help", add_help=False)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    began = time.monotonic()
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in PROGRAMS:
        import_module(f"sora.training.{given[0]}").main(given[1:])
        return
    args = parser().parse_args(given)

    import torch

    from sora.training.all import seconds_of, train_all
    from sora.training.sizes import SIZES
    from sora.training.stages import STAGES as ROWS
    from sora.training.stages import Job

    if args.device == "cuda":
        torch.set_float32_matmul_precision("high")
    args.runs.mkdir(parents=True, exist_ok=True)
    job = Job(args.runs, args.size, args.world or SIZES[args.size].world, args.device, tuple(args.set))
    seconds = max(1.0, seconds_of(args.budget) - (time.monotonic() - began))  # what imports took is spent
    if args.verb == "all":
        train_all(job, seconds)
    else:
        ROWS[args.verb](job, seconds / 60)


if __name__ == "__main__":
    from sora.errors import SoraError

    try:
        main()
    except SoraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
