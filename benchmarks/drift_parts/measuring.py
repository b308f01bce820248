"""A painted film in numbers: its drift as ``sora info --drift`` measures it, and what the judge sees in each window."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from drift_parts.cases import Case
from minitrain import judge
from sora import media
from sora.jobs import drift as windows
from sora.media import drift
from sora.plan.recipe import from_record, record_of

PLACES = 8  # of a frame, across and down, whose colors are compared
SHEET_COLUMNS, SHEET_ROWS, SHEET_SIDE = 12, 8, 96  # pictures in a row, rows, pixels a side


@dataclass(frozen=True)
class Seen:
    """A window to the judge and to plain arithmetic. subject: what the judge calls it in the window's last frames.
    whole: whether it finds it so. cover: the share of the frame that the subject covers. places: the median over 8 x 8
    places of the frame of how many grey levels the mean color there has moved from the first window, where that of the
    whole frame may stand still."""

    subject: str
    whole: bool
    cover: float
    places: float


@dataclass(frozen=True)
class Finding:
    """A film. drift: as JSON has it. seen: for each of its windows. last: the subject in the last two seconds. own,
    window: bytes resident while the film and one window were painted; 0 where that was not measured."""

    name: str
    subject: str
    drift: dict[str, Any]
    seen: list[Seen]
    last: str
    own: int
    window: int


def measure(case: Case, folder: Path) -> Finding:
    """Of a film that is painted; kept in FOLDER/NAME.measured.json, and not measured again."""
    kept = folder / f"{case.name}.measured.json"
    if kept.exists():
        data = json.loads(kept.read_text(encoding="utf-8"))
        return Finding(**data | {"seen": [Seen(**each) for each in data["seen"]]})
    file = folder / f"{case.name}.mkv"
    info, recipe = media.probe(file), from_record(record_of(media.read_recipe(file) or ""))
    cut = windows.windows_in(recipe.request, info.frames, info.fps)
    frames_FYXC, eyes = media.read_clip(file).frames_FYXC, judge.load()
    found = Finding(
        name=case.name,
        subject=case.subject,
        drift=windows.to_data(drift.measure(file, cut), info.fps),
        seen=[seen(eyes, frames_FYXC, each.frames, cut[0].frames) for each in cut],
        last=judge.answer(eyes, frames_FYXC[-judge.FRAMES :])["subject"],
        own=memory_of(folder / f"{case.name}.json"),
        window=memory_of(folder / f"{case.name}-window.json"),
    )
    kept.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


@torch.inference_mode()
def seen(eyes: judge.Judge, frames_FYXC: np.ndarray, window: range, first: range) -> Seen:
    """By the judge from the window's last frames; a window shorter than the judge's clip lends from the one before."""
    clip = judge.to_batch(frames_FYXC[max(0, window.stop - judge.FRAMES) : window.stop])
    (answers,) = judge.answers(eyes, clip)
    cover = eyes.encode_frames(judge.preprocess(clip)[0]).cover.sigmoid().mean()
    moved = np.abs(colours(frames_FYXC, window) - colours(frames_FYXC, first)).max(axis=-1)
    return Seen(answers["subject"], answers["whole"] == judge.WHOLE, float(cover), float(np.median(moved)))


def colours(frames_FYXC: np.ndarray, window: range) -> np.ndarray:
    """(PLACES, PLACES, 3): the mean color of each place of the frame."""
    frames = frames_FYXC[window.start : window.stop]
    _, height, width, _ = frames.shape
    cells = frames.reshape(len(frames), PLACES, height // PLACES, PLACES, width // PLACES, 3)
    return cells.mean(axis=(0, 2, 4), dtype=np.float64)


def memory_of(note: Path) -> int:
    return json.loads(note.read_text(encoding="utf-8"))["own"] if note.exists() else 0


def sheet(case: Case, folder: Path) -> Path:
    """A contact sheet of pictures at equal distances, in the order of reading."""
    frames_FYXC = media.read_clip(folder / f"{case.name}.mkv").frames_FYXC
    picked = np.linspace(0, len(frames_FYXC) - 1, SHEET_COLUMNS * SHEET_ROWS).round().astype(int)
    page = Image.new("RGB", (SHEET_COLUMNS * SHEET_SIDE, SHEET_ROWS * SHEET_SIDE))
    for n, frame in enumerate(picked):
        small = Image.fromarray(frames_FYXC[frame]).resize((SHEET_SIDE, SHEET_SIDE), Image.Resampling.BOX)
        page.paste(small, (n % SHEET_COLUMNS * SHEET_SIDE, n // SHEET_COLUMNS * SHEET_SIDE))
    path = folder / f"{case.name}.png"
    page.save(path)
    return path
