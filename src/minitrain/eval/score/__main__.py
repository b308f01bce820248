"""Measure the quality of the embedded model: ``python -m minitrain.eval.score [--only painted,times] [--count N]``.

Prints one row a line: what, its target, what was found with its standard error, met or missed. ``--json FILE`` saves
rows and the record of every generated clip, ``--sheets FOLDER`` draws contact sheets. The work can be shared by
processes: ``--first K`` starts at the K-th caption, and ``--records A.json B.json`` summarises what they saved.
``--sampling`` and ``--guided`` set sampling options, such as "steps=8 shift=3" or "model=guided", the weights that take
guidance.

``--clips A [B]`` judges clips that ``minitrain.eval.paint`` saved instead of generating them, and compares those of two
folders on the captions they share; ``--only agreement --clips ROOT`` compares the judge with human labels.
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
from minitrain.eval.score.generated import generate_and_judge
from minitrain.eval.score.generator import CAPTION_KINDS, ClipGenerator, SamplingOptions
from minitrain.eval.score.records import Record, add_breakdown, add_difference, add_scores, confusion, read_record
from minitrain.eval.verdicts import log_progress
from minitrain.worlds.world import WORLDS

SAVED_CLIP_SECTIONS = ("agreement", "kept")  # sections about clips that are there
SECTIONS = ("rendered", "painted", "small", "steps", "vae", "lasting", "times")
DEFAULT_COUNTS = {"rendered": 500, "painted": 200, "small": 200, "steps": 100, "vae": 60, "lasting": 20, "times": 5}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        metavar="NAMES",
        help=f"of {', '.join((*SECTIONS, *SAVED_CLIP_SECTIONS))}; default: all but the last two",
    )
    parser.add_argument("--count", type=int, help=f"clips a section, instead of {DEFAULT_COUNTS}")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the first caption's number")
    parser.add_argument("--world", choices=WORLDS, default="medium")
    parser.add_argument(
        "--kinds", default="terse,plain,long,chinese", help=f"of captions, of {', '.join(CAPTION_KINDS)}"
    )
    parser.add_argument("--sampling", "--way", default="", metavar="SETTINGS", help="instead of the model's defaults")
    parser.add_argument("--guided", default="model=guided steps=30", metavar="SETTINGS")
    parser.add_argument("--judge", type=Path, help="the judge's file; default: the published one")
    parser.add_argument("--records", type=Path, nargs="+", default=[], help="JSON files to summarise")
    parser.add_argument("--clips", type=Path, nargs="+", default=[], metavar="FOLDER", help="saved clips to judge")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    args.only = args.only or ("kept" if args.clips else ",".join(SECTIONS))
    for name, known in (("only", (*SECTIONS, *SAVED_CLIP_SECTIONS)), ("kinds", CAPTION_KINDS)):
        if unknown := [w for w in getattr(args, name).split(",") if w not in known]:
            parser.error(f"--{name}: nothing is called {', '.join(unknown)}; there is {', '.join(known)}")
    if not args.clips and any(section in SAVED_CLIP_SECTIONS for section in args.only.split(",")):
        parser.error("--clips: name a folder of saved clips to judge; minitrain.eval.paint saves them")
    return args


def add_rows(report: Report, records: Sequence[Record]) -> None:
    """Rows and the confusion of motions, for each world and sampling."""
    for world, sampling in dict.fromkeys((r.world, r.sampling) for r in records):
        group = [r for r in records if (r.world, r.sampling) == (world, sampling)]
        add_scores(report, group, f"{world}, {sampling}")
        print(
            f"motions of {world}, {sampling}: expected (rows) against judged (columns)\n{confusion(group)}",
            flush=True,
        )


def judge_saved(folders: Sequence[Path], generator: ClipGenerator, report: Report) -> list[Record]:
    """Rows of each folder's clips, in all and by their facts; then the first minus each other."""
    found = [saved_clips.judge_folder(generator.judge, folder, report) for folder in folders]
    for records in found:
        add_rows(report, records)
        for question in ("subject", "motion"):
            add_breakdown(report, records, question, f"{records[0].world}, {records[0].sampling}")
    for records in found[1:]:
        add_difference(report, found[0], records, f"{found[0][0].sampling} less {records[0].sampling}", None)
    return [record for records in found for record in records]


def measure_section(section: str, args: argparse.Namespace, generator: ClipGenerator, report: Report) -> list[Record]:
    """Measure one section: its rows go into the report, the records of its generated clips are returned."""
    if section == "kept":
        return judge_saved(args.clips, generator, report)
    if section == "agreement":
        saved_clips.measure_agreement(generator.judge, args.clips[0], report)
        return []
    sampling, count = SamplingOptions.parse(args.sampling), args.count or DEFAULT_COUNTS[section]
    kinds, numbers = args.kinds.split(","), range(args.first, args.first + count)
    records: list[Record] = []
    if section in ("painted", "small"):
        world = "small" if section == "small" else args.world
        records = list(generate_and_judge(generator, world, numbers, kinds, sampling, report))
        add_rows(report, records)
    if section == "steps":
        own_records, other_records = (
            list(generate_and_judge(generator, args.world, numbers, kinds, w, report))
            for w in (sampling, SamplingOptions.parse(args.guided))
        )
        records = own_records + other_records
        add_rows(report, other_records)
        add_difference(report, own_records, other_records)
    if section == "rendered":
        for world in dict.fromkeys(("small", args.world)):
            components.measure_judge(generator, report, world, count)
    if section == "vae":
        components.measure_vae(generator, report, args.world, count, sampling)
    if section == "lasting":
        components.measure_permanence(generator, report, args.world, count, sampling)
    if section == "times":
        components.measure_times(generator, report, count, sampling)
    return records


def main() -> None:
    args = parse_arguments()
    if args.records:
        saved = [json.loads(path.read_text(encoding="utf-8")).get("records", []) for path in args.records]
        add_rows(Report(), [read_record(record) for part in saved for record in part])
        return
    torch.set_num_threads(args.threads)
    generator = ClipGenerator(judges.load(args.judge), args.device)
    for section in args.only.split(","):
        report, started = Report(folder=args.sheets), time.perf_counter()
        print(f"\n# {section}", flush=True)
        records = measure_section(section, args, generator, report)
        log_progress(f"{section}: {time.perf_counter() - started:.0f} s")
        report.write_sheets()
        if args.json:
            report.write_json(args.json, section)
            _merge_records(args.json, records)


def _merge_records(path: Path, records: Sequence[Record]) -> None:
    """Add the records to the file, replacing those of the same clips."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    fresh = {(r.world, r.sampling, r.number): asdict(r) for r in records}
    read = [read_record(row) for row in stored.get("records", [])]
    old = {(r.world, r.sampling, r.number): asdict(r) for r in read}
    stored["records"] = list((old | fresh).values())
    path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
