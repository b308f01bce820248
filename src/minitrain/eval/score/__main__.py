"""What the embedded model is worth, measured: ``python -m minitrain.eval.score [--only painted,times] [--count N]``.

Prints one row a line: what, the wish, what was found with its standard error, met or missed. ``--json FILE`` keeps rows
and the record of every painted clip, ``--sheets FOLDER`` draws contact sheets. Painting can be shared by processes:
``--first K`` starts at the K-th caption, and ``--records A.json B.json`` makes the table of what they left. ``--way``
and ``--guided`` say how to paint, such as "steps=8 shift=3" or "model=guided", the weights that take guidance.

``--clips A [B]`` judges clips that ``minitrain.eval.paint`` kept instead of painting, and compares those of two folders
on the captions they share; ``--only agreement --clips ROOT`` holds the judge against a person's labels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from minitrain import judge as judges
from minitrain.eval.report import Report
from minitrain.eval.score import components, saved_clips
from minitrain.eval.score.generated import paint
from minitrain.eval.score.generator import KINDS, Easel, Way
from minitrain.eval.score.records import Record, against, by, confusion, scores
from minitrain.eval.verdicts import note
from minitrain.worlds.world import WORLDS

KEPT = ("agreement", "kept")  # sections about clips that are there
SECTIONS = ("rendered", "painted", "small", "steps", "vae", "lasting", "times")
COUNTS = {"rendered": 500, "painted": 200, "small": 200, "steps": 100, "vae": 60, "lasting": 20, "times": 5}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", metavar="NAMES", help=f"of {', '.join((*SECTIONS, *KEPT))}; by default all that paint"
    )
    parser.add_argument("--count", type=int, help=f"clips a section, instead of {COUNTS}")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the first caption's number")
    parser.add_argument("--world", choices=WORLDS, default="medium")
    parser.add_argument("--kinds", default="terse,plain,long,chinese", help=f"of captions, of {', '.join(KINDS)}")
    parser.add_argument("--way", default="", metavar="SETTINGS", help="instead of the model's defaults")
    parser.add_argument("--guided", default="model=guided steps=30", metavar="SETTINGS")
    parser.add_argument("--judge", type=Path, help="the judge's file, by default the one that ships")
    parser.add_argument("--records", type=Path, nargs="+", default=[], help="JSON files to make the table of")
    parser.add_argument("--clips", type=Path, nargs="+", default=[], metavar="FOLDER", help="kept clips to judge")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    args.only = args.only or ("kept" if args.clips else ",".join(SECTIONS))
    for name, known in (("only", (*SECTIONS, *KEPT)), ("kinds", KINDS)):
        if strange := [w for w in getattr(args, name).split(",") if w not in known]:
            parser.error(f"--{name}: nothing is called {', '.join(strange)}; there is {', '.join(known)}")
    if not args.clips and any(section in KEPT for section in args.only.split(",")):
        parser.error("--clips: say which folder of kept clips to judge; minitrain.eval.paint keeps them")
    return args


def tell(report: Report, records: Sequence[Record]) -> None:
    """Rows and the confusion of motions, for each world and way that was painted."""
    for world, way in dict.fromkeys((r.world, r.way) for r in records):
        group = [r for r in records if (r.world, r.way) == (world, way)]
        scores(report, group, f"{world}, {way}")
        print(f"motions of {world}, {way}: asked (rows) against seen (columns)\n{confusion(group)}", flush=True)


def judge_kept(folders: Sequence[Path], easel: Easel, report: Report) -> list[Record]:
    """Rows of each folder's clips, in all and by what they were asked to show; then the first less the second."""
    found = [saved_clips.records(easel.judge, folder, report) for folder in folders]
    for records in found:
        tell(report, records)
        for question in ("subject", "motion"):
            by(report, records, question, f"{records[0].world}, {records[0].way}")
    for records in found[1:]:
        against(report, found[0], records, f"{found[0][0].way} less {records[0].way}", None)
    return [record for records in found for record in records]


def measure(section: str, args: argparse.Namespace, easel: Easel, report: Report) -> list[Record]:
    """One section: its rows into the report, its painted clips returned."""
    if section == "kept":
        return judge_kept(args.clips, easel, report)
    if section == "agreement":
        saved_clips.agreement(easel.judge, args.clips[0], report)
        return []
    way, count = Way.of(args.way), args.count or COUNTS[section]
    kinds, numbers = args.kinds.split(","), range(args.first, args.first + count)
    records: list[Record] = []
    if section in ("painted", "small"):
        world = "small" if section == "small" else args.world
        records = list(paint(easel, world, numbers, kinds, way, report))
        tell(report, records)
    if section == "steps":
        ours, theirs = (list(paint(easel, args.world, numbers, kinds, w, report)) for w in (way, Way.of(args.guided)))
        records = ours + theirs
        tell(report, theirs)
        against(report, ours, theirs)
    if section == "rendered":
        for world in dict.fromkeys(("small", args.world)):
            components.rendered(easel, report, world, count)
    if section == "vae":
        components.autoencoder(easel, report, args.world, count, way)
    if section == "lasting":
        components.lasting(easel, report, args.world, count, way)
    if section == "times":
        components.times(easel, report, count, way)
    return records


def main() -> None:
    args = arguments()
    if args.records:
        kept = [json.loads(path.read_text(encoding="utf-8")).get("records", []) for path in args.records]
        tell(Report(), [Record(**record) for part in kept for record in part])
        return
    torch.set_num_threads(args.threads)
    easel = Easel(judges.load(args.judge), args.device)
    for section in args.only.split(","):
        report, started = Report(folder=args.sheets), time.perf_counter()
        print(f"\n# {section}", flush=True)
        records = measure(section, args, easel, report)
        note(f"{section}: {time.perf_counter() - started:.0f} s")
        report.write_sheets()
        if args.json:
            report.write_json(args.json, section)
            _keep(args.json, records)


def _keep(path: Path, records: Sequence[Record]) -> None:
    """Add the records to the file, in place of those of the same clips."""
    held = json.loads(path.read_text(encoding="utf-8"))
    fresh = {(r.world, r.way, r.number): asdict(r) for r in records}
    old = {(r["world"], r["way"], r["number"]): r for r in held.get("records", [])}
    held["records"] = list((old | fresh).values())
    path.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
