"""Judges clips that ``minitrain.eval.paint`` saved, and compares the judge with human labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minitrain import judge as judges
from minitrain.eval.report import Report
from minitrain.eval.score.generated import describe_errors, judge_clip
from minitrain.eval.score.records import Record
from minitrain.eval.verdicts import log_progress
from minitrain.judge import WHOLE, Judge

LABELS = Path(__file__).with_name("labels.json")


def saved_clips(folder: Path) -> Iterator[tuple[np.ndarray, dict[str, Any], float]]:
    """(frames_FYXC, its caption and facts, seconds to generate) of each saved clip, by its number. Raises
    SystemExit."""
    paths = sorted((p for p in folder.glob("*.npz") if p.stem.isdigit()), key=lambda p: int(p.stem))
    if not paths:
        raise SystemExit(
            f"{folder} holds no clips; keep some first: python -m minitrain.eval.paint paint CAPTIONS {folder}"
        )
    for path in paths:
        with np.load(path) as archive:
            yield archive["frames"], json.loads(str(archive["row"])), float(archive["seconds"])


def judge_folder(judge: Judge, folder: Path, report: Report) -> list[Record]:
    """Records of the clips of a folder, whose name stands for the sampling."""
    found = []
    for clip, row, seconds in saved_clips(folder):
        seen, leans = judge_clip(judge, clip, row["facts"]["motion"])
        texts = (row["world"], folder.name, row["number"], row["kind"], row["text"])
        found.append(Record(*texts, row["facts"], seen, leans, seconds))
        report.add_strip(folder.name, clip, (), f"{row['number']} {row['text'][:60]}: {describe_errors(found[-1])}")
    return found


@dataclass(frozen=True)
class Label:
    """A human label of a saved clip: whether its subject is whole, and a word of explanation."""

    folder: str
    number: int
    whole: bool
    why: str


def read_labels(part: str, path: Path = LABELS) -> list[Label]:
    """part: "train", "validation" or "test"."""
    return [Label(**row) for row in json.loads(path.read_text(encoding="utf-8"))[part]]


def measure_agreement(judge: Judge, root: Path, report: Report) -> None:
    """How often judge and labels agree on whether a clip's subject is whole, for clips in the root's folders. The judge
    was trained neither on validation clips, which served to choose its bias towards broken, nor on test clips, which
    served no choice."""
    for part, least in (("test", 0.9), ("validation", None)):
        judged = []
        for label in read_labels(part):
            with np.load(root / label.folder / f"{label.number}.npz") as archive:
                seen = judges.answer(judge, archive["frames"])
            judged.append((label, seen["whole"] == WHOLE))
        for label, whole in judged:
            if whole != label.whole:
                log_progress(
                    f"{part} {label.folder} {label.number}, {label.why}: called {'whole' if whole else 'broken'}"
                )
        report.add_share(f"judge and eye, {part}: whole or broken", (w == v.whole for v, w in judged), least)
        for kind, expected in (("whole", True), ("broken", False)):
            own = (w == v.whole for v, w in judged if v.whole == expected)
            report.add_share(f"judge and eye, {part}: of those that are {kind}", own)
