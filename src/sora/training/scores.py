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

from sora.errors import ModelError
from sora.networks.wan_dit import WanDiT
from sora.training import judge as judges
from sora.training.dit import Painter, load_frozen
from sora.training.films import Films
from sora.training.pool import FRAMES, Features
from sora.training.sizes import SIZES, dit_sizes
from sora.training.worlds import WORLDS, World

CARD = "card.json"
HELD, SCORED = 10**9, 4 * 10**9  # seeds of the first held-out film for the autoencoder, and for the judge
PSNR_SHARE, RENDERED_SHARE = 0.15, 0.15  # of the time
SEED = 13
WAYS: dict[str, dict[str, Any]] = {"dit": {"steps": 12, "guidance": 4.0}, "distil": {"steps": 4, "guidance": 1.0}}
PAINTED = {"dit": "judge on painted clips", "distil": "judge on painted clips, 4 steps"}
MAIN = ("subject", "setting", "motion")  # right all at once in "all"


def painter_of(runs: Path, device: str, part: str = "dit") -> Painter:
    """The networks as their trainings left them. part: "dit" or "distil". Raises ModelError."""
    path = runs / part / "dit.safetensors"
    if not path.is_file():
        raise ModelError(f"{path} is missing; train it first: python -m sora.training {part} --runs {runs}")
    vae, text, tokenizer = load_frozen(runs, device)
    tensors = load_file(path)
    dit = WanDiT(dit_sizes(tensors)).to(device)
    dit.load_state_dict(tensors)
    return Painter(dit.eval().requires_grad_(False), text, vae, tokenizer, device)


def judge_of(runs: Path, device: str = "cpu") -> judges.Judge:
    """The judge that was trained here. Raises ModelError."""
    return judges.load(runs / "judge" / judges.FILE, device)


def features(runs: Path, device: str) -> Features:
    """What the judge makes of every second frame, (B, D, T, 1, 1), before it decides. Raises ModelError."""
    judge = judge_of(runs, device)

    def seen(pixels_BCFYX: Tensor) -> Tensor:
        return judges.features(judge, (pixels_BCFYX.transpose(1, 2) + 1) * 127.5).mT[..., None, None]

    return seen


@torch.no_grad()
def psnr(painter: Painter, world: World, side: int, seconds: float, most: int = 60) -> dict[str, float]:
    """Mean PSNR in dB of held-out clips of FRAMES frames through the autoencoder, decoded to 8 bits."""
    source, vae, found, end = Films(world), painter.vae, [], time.monotonic() + seconds
    while len(found) < most and (not found or time.monotonic() < end):
        film = source.draw(HELD + len(found), held=True)
        shown, _ = source.render([film], FRAMES, side, side, first=[0], device=painter.device)
        pixels = shown.float() / 127.5 - 1
        painted = ((vae.decode(vae.encode(pixels)).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
        found.append((10 * torch.log10(4 / (painted - pixels).square().mean())).item())
    return {"dB": round(fmean(found), 2), "clips": len(found)}


@torch.no_grad()
def judged(
    painter: Painter | None,
    judge: judges.Judge,
    world: World,
    side: int,
    seconds: float,
    most: int,
    part: str = "dit",
) -> dict[str, float]:
    """Share of right answers about held-out films: painted from their captions in the part's way, or
    rendered without a painter."""
    source, rng, end = Films(world), Random(SEED), time.monotonic() + seconds
    right: list[list[bool]] = []
    while len(right) < most and (not right or time.monotonic() < end):
        film = source.draw(SCORED + len(right), held=True)
        text = source.tell(film, rng, complete=True)
        if painter is None:
            shown, _ = source.render([film], FRAMES, side, side, first=[0], device=str(next(judge.parameters()).device))
            clip = shown.transpose(1, 2)
        else:
            clip = judges.batched(painter.paint(text, len(right), side, **WAYS[part]))
        picked = judges.answers(judge, clip)[0]
        wish = {q: judge.options[q][i] for q, i in zip(judge.options, judge.truth(film).tolist(), strict=True)}
        right.append([picked[q] == wish[q] for q in judges.QUESTIONS])
    table = torch.tensor(right).float()
    figures = dict(zip(judges.QUESTIONS, table.mean(dim=0).tolist(), strict=True))
    main = table[:, [judges.QUESTIONS.index(q) for q in MAIN]].amin(dim=1).mean().item()
    return {k: round(v, 3) for k, v in figures.items()} | {"all": round(main, 3), "clips": len(right)}


def measure(runs: Path, world_name: str, device: str, side: int, seconds: float, most: int) -> dict[str, Any]:
    """All scores of what is under ``runs``, in about that many seconds: fewer clips where there is less time."""
    world, end = WORLDS[world_name], time.monotonic() + seconds
    painter = painter_of(runs, device)
    made: dict[str, Any] = {
        "command": f"python -m sora.training score --runs {runs.name} --world {world_name}",
        "world": world_name,
        "side": side,
        "vae PSNR, held-out clips": psnr(painter, world, side, PSNR_SHARE * seconds),
    }
    if not (runs / "judge" / judges.FILE).is_file():
        return made | {"judge": "not trained"}
    judge = judge_of(runs, device)
    made["judge on rendered clips"] = judged(None, judge, world, side, RENDERED_SHARE * seconds, 2 * most)
    parts = [part for part in WAYS if (runs / part / "dit.safetensors").is_file()]
    for i, part in enumerate(parts):
        left = (end - time.monotonic()) / (len(parts) - i)
        made[PAINTED[part]] = judged(painter_of(runs, device, part), judge, world, side, left, most, part)
    return made


def card(runs: Path, size: str, world_name: str, device: str) -> dict[str, Any]:
    """What the weights are, before their scores."""
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
            "source": "clips rendered by sora.training; no footage, no pictures, no text from elsewhere",
            "world": world_name,
            "subjects": list(world.subjects),
            "settings": list(world.settings),
            "motions": list(world.motions),
            "glyphs": "Noto Color Emoji (SIL Open Font License 1.1), drawn while training, not shipped",
            "held out": "one in ten combinations of subject, setting and motion",
        },
        "limits": limits(world),
        "compute": compute(runs),
        "again": f"python -m sora.training all --size {size} --world {world_name} --device {device}",
    }


def limits(world: World) -> list[str]:
    """What a reader should not expect."""
    return [
        "knows only the subjects, settings and motions listed here; other words are named and ignored",
        "longer films than 33 frames are painted in windows that go on from one another, and subjects fray on the way",
        "between two films it knows one way: the one melts into the other",
        *(() if world.pairs else ("one subject a clip; small details fray while things move",)),
        *(("subjects have one size and move on a lattice, in courses of two seconds",) if world.lattice else ()),
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


def main_scores(runs: Path, size: str, world_name: str, device: str, seconds: float) -> None:
    """Measure, print, and write ``runs``/card.json."""
    preset = SIZES[size]
    made = card(runs, size, world_name, device)
    made["scores"] = measure(runs, world_name, device, max(preset.dit.sides), seconds, preset.clips)
    (runs / CARD).write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(made["scores"], indent=2))
