"""Compare training settings after equal time: ``python -m minitrain ablate --runs runs --minutes 5``.

Each arm changes some settings of the transformer's training and trains as long as the others, from the same initial
weights and on the same frozen networks. Arms are compared by their held-out loss, overall and by noise level; with
``--clips`` the judge also scores sampled clips. An arm whose results are already under ``--folder`` is not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from minitrain import dit, scores
from minitrain.presets import PRESETS
from minitrain.stages import TrainingJob
from minitrain.worlds import WORLDS
from sora.errors import InputError

ARMS: dict[str, tuple[str, ...]] = {
    "base": (),
    "shift-1": ("timestep_shift=1",),
    "shift-4": ("timestep_shift=4",),
    "even-times": ("timestep_std=0",),
    "middle-times": ("timestep_std=0.6",),
    "no-cover": ("subject_weight=0",),
    "moving": ("motion_weight=2",),
    "wide": ("width=288", "layers=3"),
    "deep": ("width=144", "layers=10"),
    "half-rate": ("learning_rate=0.004",),
    "pooled": ("pool_text=1",),
    "align": ("alignment_weight=0.5",),
    "compiled": ("compile=1",),
}
"""Settings that each arm changes. To add one: a row."""

NETWORK_SIZE_SETTINGS = ("width", "layers")
SEED = 7
RESULTS_FILE = "found.json"


def run_arm(name: str, job: TrainingJob, folder: Path, minutes: float, start: Path | None) -> dit.Pipeline:
    """Train one arm. An arm that changes the network's size starts from random weights."""
    changes = {setting.partition("=")[0] for setting in ARMS[name]}
    config = dit.with_settings(job.dit_training, ARMS[name])
    begin = dit.StartWeights(start, curriculum_done=0.0) if start and not changes & set(NETWORK_SIZE_SETTINGS) else None
    with job.clip_bank() as bank:
        features = scores.judge_features(job.runs, job.device) if config.alignment_weight else None
        return dit.train_dit(
            *(job.runs, folder / name, config, bank, job.held_out(), minutes),
            start=begin,
            previews=0,
            report_every=float("inf"),
            seed=SEED,
            features=features,
        )


def last_losses(folder: Path) -> dict[str, float]:
    """The last held-out losses of an arm, its number of steps and its seconds."""
    line = json.loads((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return {k: v for k, v in line.items() if k in ("step", "seconds") or k.startswith("held")}


def compare(
    names: Sequence[str], job: TrainingJob, folder: Path, minutes: float, *, start: Path | None = None, clips: int = 0
) -> dict[str, dict[str, float]]:
    """Run the arms that have not run yet and return the results of all arms; they are also written to
    ``folder``/found.json."""
    results: dict[str, dict[str, float]] = {}
    for name in names:
        if not (folder / name / "dit.safetensors").exists():
            torch.manual_seed(SEED)
            pipeline = run_arm(name, job, folder, minutes, start)
            results[name] = last_losses(folder / name)
            if clips and not pipeline.pooled:
                judge, world = scores.load_judge(job.runs, job.device), WORLDS[job.world]
                judged = scores.measure_accuracy(
                    pipeline, judge, world, max(job.dit_training.sides), float("inf"), clips
                )
                results[name] |= {f"judge {k}": v for k, v in judged.items()}
            (folder / name / RESULTS_FILE).write_text(json.dumps(results[name]) + "\n", encoding="utf-8")
        results[name] = json.loads((folder / name / RESULTS_FILE).read_text(encoding="utf-8"))
    (folder / RESULTS_FILE).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """A text table with arms as rows and results as columns."""
    columns = list(dict.fromkeys(column for row in results.values() for column in row))
    heads = [c.removeprefix("held_") for c in columns]
    widths = [max(8, len(h)) for h in heads]
    lines = [f"{'arm':14}" + " ".join(f"{h:>{w}}" for h, w in zip(heads, widths, strict=True))]
    for name, row in results.items():
        cells = (f"{row[c]:g}" if c in row else "" for c in columns)
        lines.append(f"{name:14}" + " ".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True)))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain ablate", description=__doc__)
    parser.add_argument("--arms", nargs="+", default=("base", "shift-1", "shift-4", "even-times", "no-cover", "moving"))
    parser.add_argument("--minutes", type=float, default=5.0, help="of each arm")
    parser.add_argument("--size", choices=PRESETS, default="cpu")
    parser.add_argument("--set", nargs="+", default=(), metavar="NAME=VALUE", help="settings of all arms")
    parser.add_argument("--world", choices=WORLDS, help="default: the size's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--start", type=Path, help="initial weights of all arms of that size")
    parser.add_argument("--clips", type=int, default=0, help="clips of each arm to sample and judge")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where vae/ and text/ are")
    parser.add_argument("--folder", type=Path, help="default: ablate/ there")
    args = parser.parse_args(argv)
    unknown = [name for name in args.arms if name not in ARMS]
    if unknown:
        raise InputError(f"no arm is called {unknown[0]!r}; arms: {', '.join(ARMS)}")
    preset, folder = PRESETS[args.size], args.folder or args.runs / "ablate"
    job = TrainingJob(args.runs, args.size, args.world or preset.world, args.device, tuple(args.set))
    results = compare(args.arms, job, folder, args.minutes, start=args.start, clips=args.clips)
    print(table(results))


if __name__ == "__main__":
    main()
