"""What a training is worth, measured on held-out films in as much time as there is, and the card that says so."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from minitrain import judge as judges
from minitrain.distil import load_student
from minitrain.films import Films
from minitrain.held_out import FIRST, FRAMES, psnr_of, reconstructed
from minitrain.latent_buffer import Features
from minitrain.pipeline import Painter, load_frozen, sheet
from minitrain.presets import dit_sizes
from minitrain.scene import Film
from minitrain.worlds import WORLDS, World
from sora.errors import ModelError
from sora.networks.wan.dit import WanDiT

CARD = "card.json"
SCORED = 4 * 10**9  # seed of the first held-out film that the judge looks at
PSNR_SHARE, RENDERED_SHARE = 0.15, 0.15  # of the time
SEED = 13
AT_ONCE = {"cpu": 4, "cuda": 96}  # clips painted or rendered, and judged, together
WAYS: dict[str, dict[str, Any]] = {"dit": {"steps": 12, "guidance": 4.0}, "distil": {"steps": 4, "guidance": 1.0}}
PAINTED = {"dit": "judge on painted clips", "distil": "judge on painted clips, 4 steps"}
SHEETS = {"sheet.jpg": 17, "sheet-33.jpg": 33}  # frames of the clips on each sheet of the whole
SHOWN = (
    *("a red balloon floats up over a green meadow", "a turtle swims to the right under the sea"),
    *("a red car drives left through the city", "an elephant stands still in the snow"),
    *("a blue ball bounces in the desert", "a rocket flies up at night under the stars"),
    *("a chick gets bigger in the meadow", "a sailboat goes to the left at sunset"),
    *("a penguin moves to the right in the snow", "a cat stands still in the meadow"),
    *("一只猫在草地上跳", "a red balloon spins at sunset"),
)
"""Prompts of the sheets."""

MAIN = ("subject", "setting", "motion", "whole")  # right all at once in "all"


def painter_of(runs: Path, device: str, part: str = "dit") -> Painter:
    """The networks as their trainings left them. part: "dit" or "distil". Raises ModelError."""
    vae, text, tokenizer = load_frozen(runs, device)
    dit = _teacher(runs, device) if part == "dit" else load_student(runs, device)
    if dit is None:
        raise ModelError(f"{runs / part} holds no weights; train them first: python -m minitrain {part}")
    return Painter(dit.eval().requires_grad_(False), text, vae, tokenizer, device)


def _teacher(runs: Path, device: str) -> WanDiT | None:
    path = runs / "dit" / "dit.safetensors"
    if not path.is_file():
        return None
    tensors = load_file(path)
    dit = WanDiT(dit_sizes(tensors)).to(device)
    dit.load_state_dict(tensors)
    return dit


def judge_of(runs: Path, device: str = "cpu") -> judges.Judge:
    """The judge that was trained here. Raises ModelError."""
    return judges.load(runs / "judge" / judges.FILE, device)


def knows(judge: judges.Judge, world: World) -> bool:
    """Whether it can be asked about films of that world."""
    lists = {"subject": world.subjects, "setting": world.settings, "motion": world.motions}
    return all(set(words) <= set(judge.options[question]) for question, words in lists.items())


def features(runs: Path, device: str) -> Features:
    """What the judge makes of every second frame, (B, D, T, 1, 1), before it decides. Raises ModelError."""
    judge = judge_of(runs, device)

    def seen(pixels_BCFYX: Tensor) -> Tensor:
        return judges.features(judge, (pixels_BCFYX.transpose(1, 2) + 1) * 127.5).mT[..., None, None]

    return seen


def psnr(painter: Painter, world: World, side: int, seconds: float, most: int = 60) -> dict[str, float]:
    """Mean PSNR in dB of held-out clips of FRAMES frames through the autoencoder, decoded to 8 bits."""
    source, found, end = Films(world), [], time.monotonic() + seconds
    while len(found) < most and (not found or time.monotonic() < end):
        film = source.draw(FIRST + len(found), held=True)
        shown, _ = source.render([film], FRAMES, side, side, first=[0], device="cpu")
        pixels = shown.to(painter.device).float() / 127.5 - 1
        found.append(psnr_of(reconstructed(painter.vae, pixels) - pixels))
    return {"dB": round(fmean(found), 2), "clips": len(found)}


def judged(
    painter: Painter | None, judge: judges.Judge, world: World, side: int, seconds: float, most: int, part: str = "dit"
) -> dict[str, float]:
    """Share of right answers about held-out films: painted from their captions in the part's way, or rendered without a
    painter. Films are taken AT_ONCE together, and no more of them once the time is over."""
    source, rng, end = Films(world), Random(SEED), time.monotonic() + seconds
    at_once = AT_ONCE.get(str(judges.device_of(judge).type), 4)
    right: list[list[bool]] = []
    while len(right) < most and (not right or time.monotonic() < end):
        some = range(len(right), min(most, len(right) + at_once))
        films = [source.draw(SCORED + i, held=True) for i in some]
        texts = [source.tell(film, rng, complete=True) for film in films]
        if painter is None:
            clips = source.render(films, FRAMES, side, side, first=[0] * len(films), device="cpu")[0].transpose(1, 2)
        else:
            clips = painter.paint(texts, (side, side), FRAMES, seed=100 + some[0], **WAYS[part])
        right += _verdicts(judge, films, clips)
    table = torch.tensor(right).float()
    figures = dict(zip(judges.QUESTIONS, table.mean(dim=0).tolist(), strict=True))
    main = table[:, [judges.QUESTIONS.index(q) for q in MAIN]].amin(dim=1).mean().item()
    return {k: round(v, 3) for k, v in figures.items()} | {"all": round(main, 3), "clips": len(right)}


def _verdicts(judge: judges.Judge, films: list[Film], clips: Tensor) -> list[list[bool]]:
    """For each film, whether each of the questions is answered rightly."""
    found = []
    for film, picked in zip(films, judges.answers(judge, clips), strict=True):
        right = zip(judge.options, judge.truth(film).tolist(), strict=True)
        wish = {q: judge.options[q][i] for q, i in right}
        found.append([picked[q] == wish[q] for q in judges.QUESTIONS])
    return found


def measure(runs: Path, world_name: str, device: str, side: int, seconds: float, most: int) -> dict[str, Any]:
    """All scores of what is under ``runs``, in about that many seconds: fewer clips where there is less time."""
    world, end = WORLDS[world_name], time.monotonic() + seconds
    painter = painter_of(runs, device)
    made: dict[str, Any] = {
        "command": f"python -m minitrain score --runs {runs.name} --world {world_name}",
        "world": world_name,
        "side": side,
        "sampler": "Euler steps, all prompts of a batch at once",
        "vae PSNR, held-out clips": psnr(painter, world, side, PSNR_SHARE * seconds),
    }
    if not (runs / "judge" / judges.FILE).is_file():
        return made | {"judge": "not trained"}
    judge = judge_of(runs, device)
    made["judge on rendered clips"] = judged(None, judge, world, side, RENDERED_SHARE * seconds, 2 * most)
    parts = [part for part in WAYS if part == "dit" or load_student(runs, "cpu") is not None]
    for i, part in enumerate(parts):
        left = (end - time.monotonic()) / (len(parts) - i)
        made[PAINTED[part]] = judged(painter_of(runs, device, part), judge, world, side, left, most, part)
    return made


def sheets(runs: Path, device: str, side: int) -> None:
    """What the weights paint, as pictures in ``runs``."""
    painter = painter_of(runs, device)
    few = AT_ONCE.get(device, 4)
    for name, frames in SHEETS.items():
        sheet(painter.paint(SHOWN[:few], (side, side), frames, steps=8), runs / name, every=frames // 4)
    if load_student(runs, "cpu") is not None:
        clips = painter_of(runs, device, "distil").paint(SHOWN[:few], (side, side), FRAMES, **WAYS["distil"])
        sheet(clips, runs / "sheet-few.jpg")


# The card -----------------------------------------------------------------------------------------------------------


def card(runs: Path, world_name: str, device: str, command: str) -> dict[str, Any]:
    """What the weights are and how they came to be, before their scores. command: repeats it; where it is empty, the
    one of the card that is there stays."""
    painter, world = painter_of(runs, device), WORLDS[world_name]
    return {
        "name": "mini",
        "licence": "Apache-2.0",
        "sizes": {
            "vae": asdict(painter.vae.config),
            "text": asdict(painter.text.config),
            "dit": asdict(painter.dit.config),
        },
        "data": {
            "source": "clips rendered by minitrain; no footage, no pictures, no text from elsewhere",
            "world": world_name,
            "subjects": list(world.subjects),
            "settings": list(world.settings),
            "motions": list(world.motions),
            "glyphs": "Noto Color Emoji (SIL Open Font License 1.1), drawn while training, not shipped",
            "held out": "one in ten combinations of subject, setting and motion",
        },
        "limits": limits(world),
        "compute": compute(runs),
        "again": command or last(runs).get("again", ""),
        "scores": {},
    }


def last(runs: Path) -> dict[str, Any]:
    path = runs / CARD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(runs: Path, made: dict[str, Any]) -> None:
    (runs / CARD).write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def limits(world: World) -> list[str]:
    """What a reader should not expect."""
    return [
        "knows only the subjects, settings and motions listed here; other words are named and ignored",
        "longer films than 33 frames are painted in windows that go on from one another, and subjects fray on the way",
        "between two films it knows one way: the one melts into the other",
        *(() if world.pairs else ("one subject a clip; small details fray while things move",)),
        *(("subjects have one size and move on a lattice, in courses of two seconds",) if world.lattice else ()),
        *(() if world.contained else ("what leaves the picture comes in again at the opposite edge",)),
    ]


def compute(runs: Path) -> dict[str, list[dict[str, float]]]:
    """Of each stage, how its trainings ended, oldest first: the logs of those that its weights were grown from may lie
    beside its own, under names that come before "log.jsonl"."""
    folders = sorted({log.parent for log in runs.glob("*/*.jsonl")})
    return {folder.name: [last_line(log) for log in sorted(folder.glob("*.jsonl"))] for folder in folders}


def last_line(log: Path) -> dict[str, float]:
    """The last line of a training's log, with the minutes of all its runs together."""
    line = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return {**line, "minutes": round(line["seconds"] / 60, 1)}
