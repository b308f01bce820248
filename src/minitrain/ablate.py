"""What is worth its time: ``python -m minitrain ablate --runs runs --minutes 5``.

Each arm changes some settings of the transformer's recipe and trains as long as the others, from the same first weights
and on the same frozen networks. What counts is the held-out loss after equal time, by noise level; with ``--clips`` the
judge also looks at what was painted. An arm that has run already under ``--folder`` is not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from minitrain import dit, scores
from minitrain.presets import SIZES
from minitrain.stages import Job
from minitrain.worlds import WORLDS
from sora.errors import InputError

ARMS: dict[str, tuple[str, ...]] = {
    "base": (),
    "shift-1": ("shift=1",),
    "shift-4": ("shift=4",),
    "even-times": ("deviation=0",),
    "middle-times": ("deviation=0.6",),
    "no-cover": ("cover=0",),
    "moving": ("motion=2",),
    "wide": ("width=288", "layers=3"),
    "deep": ("width=144", "layers=10"),
    "half-rate": ("rate=0.004",),
    "pooled": ("pooled=1",),
    "align": ("align=0.5",),
    "compiled": ("compile=1",),
}
"""Settings that each arm changes. To add one: a row."""

LARGER = ("width", "layers")
SEED = 7
FOUND = "found.json"


def run_arm(name: str, job: Job, folder: Path, minutes: float, start: Path | None) -> dit.Painter:
    """One arm's training. Sizes other than the start's begin from nothing."""
    changes = {setting.partition("=")[0] for setting in ARMS[name]}
    varied = dit.changed(job.recipe, ARMS[name])
    begin = dit.Start(start, skip=0.0) if start and not changes & set(LARGER) else None
    with job.rendering() as bank:
        features = scores.features(job.runs, job.device) if varied.align else None
        return dit.fit(
            *(job.runs, folder / name, varied, bank, job.held(), minutes),
            start=begin,
            previews=0,
            every=float("inf"),
            seed=SEED,
            features=features,
        )


def figures(folder: Path) -> dict[str, float]:
    """The last held-out losses of an arm, its steps and its parameters' count."""
    line = json.loads((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return {k: v for k, v in line.items() if k in ("step", "seconds") or k.startswith("held")}


def compare(
    names: Sequence[str], job: Job, folder: Path, minutes: float, *, start: Path | None = None, clips: int = 0
) -> dict[str, dict[str, float]]:
    """Run the arms that have not run, and return what all of them reached; written to ``folder``/found.json."""
    found: dict[str, dict[str, float]] = {}
    for name in names:
        if not (folder / name / "dit.safetensors").exists():
            torch.manual_seed(SEED)
            painter = run_arm(name, job, folder, minutes, start)
            found[name] = figures(folder / name)
            if clips and not painter.pooled:
                judge, world = scores.judge_of(job.runs, job.device), WORLDS[job.world]
                seen = scores.judged(painter, judge, world, max(job.recipe.sides), float("inf"), clips)
                found[name] |= {f"judge {k}": v for k, v in seen.items()}
            (folder / name / FOUND).write_text(json.dumps(found[name]) + "\n", encoding="utf-8")
        found[name] = json.loads((folder / name / FOUND).read_text(encoding="utf-8"))
    (folder / FOUND).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Arms as rows, figures as columns."""
    columns = list(dict.fromkeys(column for row in found.values() for column in row))
    heads = [c.removeprefix("held_") for c in columns]
    widths = [max(8, len(h)) for h in heads]
    lines = [f"{'arm':14}" + " ".join(f"{h:>{w}}" for h, w in zip(heads, widths, strict=True))]
    for name, row in found.items():
        cells = (f"{row[c]:g}" if c in row else "" for c in columns)
        lines.append(f"{name:14}" + " ".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True)))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain ablate", description=__doc__)
    parser.add_argument("--arms", nargs="+", default=("base", "shift-1", "shift-4", "even-times", "no-cover", "moving"))
    parser.add_argument("--minutes", type=float, default=5.0, help="of each arm")
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--set", nargs="+", default=(), metavar="NAME=VALUE", help="settings of all arms")
    parser.add_argument("--world", choices=WORLDS, help="default: the size's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--start", type=Path, help="weights that all arms of their size begin from")
    parser.add_argument("--clips", type=int, default=0, help="clips to paint and judge, of each arm")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where vae/ and text/ are")
    parser.add_argument("--folder", type=Path, help="default: ablate/ there")
    args = parser.parse_args(argv)
    strange = [name for name in args.arms if name not in ARMS]
    if strange:
        raise InputError(f"no arm is called {strange[0]!r}; there is {', '.join(ARMS)}")
    preset, folder = SIZES[args.size], args.folder or args.runs / "ablate"
    job = Job(args.runs, args.size, args.world or preset.world, args.device, tuple(args.set))
    found = compare(args.arms, job, folder, args.minutes, start=args.start, clips=args.clips)
    print(table(found))


if __name__ == "__main__":
    main()
