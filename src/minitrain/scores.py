"""Score a training on held-out films in the time available, and write the model card."""

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
from minitrain.films import FilmSource
from minitrain.held_out import FIRST_SEED, FRAMES, psnr_of, reconstruct
from minitrain.latent_buffer import FeatureExtractor
from minitrain.pipeline import Pipeline, load_frozen_networks, save_contact_sheet
from minitrain.presets import dit_config_of
from minitrain.scene import Film
from minitrain.worlds import WORLDS, World
from sora.errors import ModelError
from sora.networks.wan.dit import WanDiT

CARD = "card.json"
FIRST_JUDGED_SEED = 4 * 10**9  # seed of the first held-out film that the judge looks at
PSNR_TIME_SHARE, RENDERED_TIME_SHARE = 0.15, 0.15  # of the time
CAPTION_SEED = 13
BATCH_CLIPS = {"cpu": 4, "cuda": 96}  # clips painted or rendered, and judged, together
SAMPLING: dict[str, dict[str, Any]] = {"dit": {"steps": 12, "guidance": 4.0}, "distil": {"steps": 4, "guidance": 1.0}}
ACCURACY_KEYS = {"dit": "judge on painted clips", "distil": "judge on painted clips, 4 steps"}
SHEET_FRAMES = {"sheet.jpg": 17, "sheet-33.jpg": 33}  # frames of the clips on each sheet of the whole
SHEET_PROMPTS = (
    *("a red balloon floats up over a green meadow", "a turtle swims to the right under the sea"),
    *("a red car drives left through the city", "an elephant stands still in the snow"),
    *("a blue ball bounces in the desert", "a rocket flies up at night under the stars"),
    *("a chick gets bigger in the meadow", "a sailboat goes to the left at sunset"),
    *("a penguin moves to the right in the snow", "a cat stands still in the meadow"),
    *("一只猫在草地上跳", "a red balloon spins at sunset"),
)
"""Prompts of the sheets."""

MAIN_QUESTIONS = ("subject", "setting", "motion", "whole")  # right all at once in "all"


def load_pipeline(runs: Path, device: str, part: str = "dit") -> Pipeline:
    """The trained networks of a folder of runs. part: "dit" or "distil". Raises ModelError."""
    vae, text, tokenizer = load_frozen_networks(runs, device)
    dit = _teacher(runs, device) if part == "dit" else load_student(runs, device)
    if dit is None:
        raise ModelError(f"{runs / part} holds no weights; train them first: python -m minitrain {part}")
    return Pipeline(dit.eval().requires_grad_(False), text, vae, tokenizer, device)


def _teacher(runs: Path, device: str) -> WanDiT | None:
    path = runs / "dit" / "dit.safetensors"
    if not path.is_file():
        return None
    tensors = load_file(path)
    dit = WanDiT(dit_config_of(tensors)).to(device)
    dit.load_state_dict(tensors)
    return dit


def load_judge(runs: Path, device: str = "cpu") -> judges.Judge:
    """The judge that was trained in this folder. Raises ModelError."""
    return judges.load(runs / "judge" / judges.FILE, device)


def judge_knows(judge: judges.Judge, world: World) -> bool:
    """Whether the judge can be asked about films of that world."""
    lists = {"subject": world.subjects, "setting": world.settings, "motion": world.motions}
    return all(set(words) <= set(judge.options[question]) for question, words in lists.items())


def judge_features(runs: Path, device: str) -> FeatureExtractor:
    """The judge's features of every second frame, (B, D, T, 1, 1). Raises ModelError."""
    judge = load_judge(runs, device)

    def seen(pixels_BCFYX: Tensor) -> Tensor:
        return judges.clip_features(judge, (pixels_BCFYX.transpose(1, 2) + 1) * 127.5).mT[..., None, None]

    return seen


def measure_psnr(painter: Pipeline, world: World, side: int, seconds: float, limit: int = 60) -> dict[str, float]:
    """Mean PSNR in dB of held-out clips of FRAMES frames through the autoencoder, decoded to 8 bits."""
    source, found, end = FilmSource(world), [], time.monotonic() + seconds
    while len(found) < limit and (not found or time.monotonic() < end):
        film = source.draw(FIRST_SEED + len(found), held_out=True)
        shown, _ = source.render([film], FRAMES, side, side, first=[0], device="cpu")
        pixels = shown.to(painter.device).float() / 127.5 - 1
        found.append(psnr_of(reconstruct(painter.vae, pixels) - pixels))
    return {"dB": round(fmean(found), 2), "clips": len(found)}


def measure_accuracy(
    pipeline: Pipeline | None,
    judge: judges.Judge,
    world: World,
    side: int,
    seconds: float,
    limit: int,
    part: str = "dit",
) -> dict[str, float]:
    """Share of correct answers about held-out films: sampled from their captions as SAMPLING says for ``part``, or
    rendered if there is no pipeline. Films are processed in batches, and no more of them once the time is over."""
    source, rng, end = FilmSource(world), Random(CAPTION_SEED), time.monotonic() + seconds
    at_once = BATCH_CLIPS.get(str(judges.device_of(judge).type), 4)
    correct: list[list[bool]] = []
    while len(correct) < limit and (not correct or time.monotonic() < end):
        some = range(len(correct), min(limit, len(correct) + at_once))
        films = [source.draw(FIRST_JUDGED_SEED + i, held_out=True) for i in some]
        texts = [source.caption(film, rng, complete=True) for film in films]
        if pipeline is None:
            clips = source.render(films, FRAMES, side, side, first=[0] * len(films), device="cpu")[0].transpose(1, 2)
        else:
            clips = pipeline.sample(texts, (side, side), FRAMES, seed=100 + some[0], **SAMPLING[part])
        correct += _correct_answers(judge, films, clips)
    table = torch.tensor(correct).float()
    figures = dict(zip(judges.QUESTIONS, table.mean(dim=0).tolist(), strict=True))
    main = table[:, [judges.QUESTIONS.index(q) for q in MAIN_QUESTIONS]].amin(dim=1).mean().item()
    return {k: round(v, 3) for k, v in figures.items()} | {"all": round(main, 3), "clips": len(correct)}


def _correct_answers(judge: judges.Judge, films: list[Film], clips: Tensor) -> list[list[bool]]:
    """For each film, whether each of the questions is answered correctly."""
    found = []
    for film, picked in zip(films, judges.answers(judge, clips), strict=True):
        right = zip(judge.options, judge.labels_of(film).tolist(), strict=True)
        expected = {q: judge.options[q][i] for q, i in right}
        found.append([picked[q] == expected[q] for q in judges.QUESTIONS])
    return found


def measure_all(runs: Path, world_name: str, device: str, side: int, seconds: float, clips: int) -> dict[str, Any]:
    """All scores of the weights under ``runs``, in about that many seconds: on fewer clips if there is less time."""
    world, end = WORLDS[world_name], time.monotonic() + seconds
    pipeline = load_pipeline(runs, device)
    scores: dict[str, Any] = {
        "command": f"python -m minitrain score --runs {runs.name} --world {world_name}",
        "world": world_name,
        "side": side,
        "sampler": "Euler steps, all prompts of a batch at once",
        "vae PSNR, held-out clips": measure_psnr(pipeline, world, side, PSNR_TIME_SHARE * seconds),
    }
    if not (runs / "judge" / judges.FILE).is_file():
        return scores | {"judge": "not trained"}
    judge = load_judge(runs, device)
    scores["judge on rendered clips"] = measure_accuracy(
        None, judge, world, side, RENDERED_TIME_SHARE * seconds, 2 * clips
    )
    parts = [part for part in SAMPLING if part == "dit" or load_student(runs, "cpu") is not None]
    for i, part in enumerate(parts):
        left = (end - time.monotonic()) / (len(parts) - i)
        scores[ACCURACY_KEYS[part]] = measure_accuracy(
            load_pipeline(runs, device, part), judge, world, side, left, clips, part
        )
    return scores


def save_sheets(runs: Path, device: str, side: int) -> None:
    """Contact sheets of sampled clips, written into ``runs``."""
    pipeline = load_pipeline(runs, device)
    few = BATCH_CLIPS.get(device, 4)
    for name, frames in SHEET_FRAMES.items():
        save_contact_sheet(
            pipeline.sample(SHEET_PROMPTS[:few], (side, side), frames, steps=8), runs / name, frame_step=frames // 4
        )
    if load_student(runs, "cpu") is not None:
        clips = load_pipeline(runs, device, "distil").sample(
            SHEET_PROMPTS[:few], (side, side), FRAMES, **SAMPLING["distil"]
        )
        save_contact_sheet(clips, runs / "sheet-few.jpg")


# The card -----------------------------------------------------------------------------------------------------------


def build_card(runs: Path, world_name: str, device: str, command: str) -> dict[str, Any]:
    """The model card without scores: what the weights are and how they were made. command: reproduces them; if it is
    empty, that of the existing card stays."""
    pipeline, world = load_pipeline(runs, device), WORLDS[world_name]
    return {
        "name": "mini",
        "licence": "Apache-2.0",
        "sizes": {
            "vae": asdict(pipeline.vae.config),
            "text": asdict(pipeline.text.config),
            "dit": asdict(pipeline.dit.config),
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
        "limits": known_limits(world),
        "compute": compute_used(runs),
        "again": command or read_card(runs).get("again", ""),
        "scores": {},
    }


def read_card(runs: Path) -> dict[str, Any]:
    path = runs / CARD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_card(runs: Path, card: dict[str, Any]) -> None:
    (runs / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def known_limits(world: World) -> list[str]:
    """What the model cannot do, for readers of the card."""
    return [
        "knows only the subjects, settings and motions listed here; other words are named and ignored",
        "longer films than 33 frames are painted in windows that go on from one another, and subjects fray on the way",
        "between two films it knows one way: the one melts into the other",
        *(() if world.pair_share else ("one subject a clip; small details fray while things move",)),
        *(("subjects have one size and move on a lattice, in courses of two seconds",) if world.lattice else ()),
        *(() if world.contained else ("what leaves the picture comes in again at the opposite edge",)),
    ]


def compute_used(runs: Path) -> dict[str, list[dict[str, float]]]:
    """The last log line of each stage's trainings, oldest first: logs of earlier trainings may lie in the same folder,
    under names that sort before "log.jsonl"."""
    folders = sorted({log.parent for log in runs.glob("*/*.jsonl")})
    return {folder.name: [last_log_line(log) for log in sorted(folder.glob("*.jsonl"))] for folder in folders}


def last_log_line(log: Path) -> dict[str, float]:
    """The last line of a training's log, with the minutes of all its runs together."""
    line = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return {**line, "minutes": round(line["seconds"] / 60, 1)}
