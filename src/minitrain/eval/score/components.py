"""The judge on rendered clips, the autoencoder, long films and what comes out from behind, times."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from minitrain import judge as judges
from minitrain.captions.facts import facts
from minitrain.eval.report import Report
from minitrain.eval.score.generated import SCORED
from minitrain.eval.score.generator import ASPECTS, Easel, Way, words
from minitrain.eval.score.records import ASKED
from minitrain.eval.verdicts import note
from minitrain.judge_data import SIZES
from minitrain.judge_evaluation import verdicts
from minitrain.worlds.render import render
from minitrain.worlds.world import WORLDS, World, draw_film
from sora import media

HELD = 10**9  # seed of the first film for the autoencoder
LARGE = tuple((2 * height, 2 * width) for height, width in SIZES)
WISHES = {"subject": 0.96, "setting": 0.98, "motion": 0.98}
LONG, HIDDEN, CLIP = 97, 49, 33  # frames: 12 s, enough to go behind something and come out, 4 s
PROMPT = "a red balloon floats up over a green meadow"


def rendered(easel: Easel, report: Report, world_name: str, count: int) -> None:
    """Held-out clips from the start of a motion and from its middle, and at twice the size that the judge was trained
    on."""
    few = max(1, count // 4)
    for name, sizes, most, midway in (
        ("", SIZES, count, False),
        (" midway", SIZES, count, True),
        (" at twice the size", LARGE, few, False),
    ):
        table = verdicts(easel.judge, WORLDS[world_name], most, sizes=sizes, midway=midway)
        for i, question in enumerate(judges.QUESTIONS):
            if len(easel.judge.options[question]) > 1:
                what = f"judge on rendered clips of {world_name}{name}: {question}"
                report.share(what, table[:, i].tolist(), WISHES.get(question))


@torch.inference_mode()
def autoencoder(easel: Easel, report: Report, world_name: str, count: int, way: Way) -> None:
    """Held-out clips with a short side of 256 through the autoencoder alone, and the judge on what is left of them."""
    model = easel.model(way.model)
    vae = model.vae  # type: ignore[attr-defined]
    found, subject, kept = [], [], []
    for number in range(count):
        film = draw_film(WORLDS[world_name], HELD + number, held=True)
        height, width = ((256, 256), (256, 448), (448, 256))[number % 3]
        clip = render([film], judges.FRAMES, height, width)
        pixels = clip.frames_BFCYX.transpose(1, 2).float() / 127.5 - 1
        again = ((vae.decode(vae.encode(pixels.to(model.device))).clamp(-1, 1).cpu() + 1) * 127.5).round()
        square = ((again - (pixels + 1) * 127.5) / 255).square().mean(dim=1)
        found.append(-10 * float(square.mean().log10()))
        cover = clip.cover_BFYX > 127
        if cover.any():
            subject.append(-10 * float(square[cover].mean().log10()))
        seen = judges.answers(easel.judge, again.to(torch.uint8).transpose(1, 2))[0]
        kept.append([seen[q] == facts(film)[q] for q in ASKED])
        note(f"autoencoder {number}: {found[-1]:.1f} dB")
    error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0
    mean = statistics.fmean(found)
    told = f"{mean:.2f} dB +- {error:.2f} (n {len(found)})"
    report.say("VAE PSNR at 256, held-out clips", ">= 29 dB", told, mean >= 29)
    told = f"{statistics.fmean(subject):.2f} dB (n {len(subject)})"
    report.say("VAE PSNR at 256, the subject's pixels alone", "", told)
    for i, question in enumerate(ASKED):
        report.share(f"judge on reconstructions of {world_name} at 256: {question}", (row[i] for row in kept))


def lasting(easel: Easel, report: Report, world_name: str, count: int, way: Way) -> None:
    """What passes behind something comes out the same, where the world has that; else long films keep their subject."""
    world = WORLDS[world_name]
    if world.pairs and "behind" in world.relations:
        _behind(easel, report, world, count, way)
    asked, same = [], []
    for number in range(count):
        film = draw_film(world, SCORED + 5000 + number, held=True)
        text = words(film, world, "plain", number)
        clip = easel.paint(text, LONG, ASPECTS[number % len(ASPECTS)], number, way)
        begin, end = _at_both_ends(easel, clip, "subject")
        asked.append(end == facts(film)["subject"])
        same.append(begin == end)
        told = f"{facts(film)['subject']}: {begin} at first, {end} at last"
        report.show(f"long-{world_name}", clip, (), f"{number} {told}")
        note(f"12 s film {number}, {told}")
    report.share(f"12 s films of {world_name} (no occlusion): the subject at the end is the one at the start", same)
    report.share(f"12 s films of {world_name} (no occlusion): the subject asked for is seen at the end", asked)


def _behind(easel: Easel, report: Report, world: World, count: int, way: Way) -> None:
    held, seed = [], SCORED + 6000
    while len(held) < count:
        film, seed = draw_film(world, seed, held=True), seed + 1
        if facts(film)["relation"] != "behind" or len(film.shots) > 1:
            continue
        clip = easel.paint(words(film, world, "plain", seed), HIDDEN, 1.0, seed, way)
        begin, end = _at_both_ends(easel, clip, "second")
        held.append(begin == end == facts(film)["second"])
        report.show("behind", clip, (), f"{facts(film)['second']}: {begin} at first, {end} at last")
    report.share("permanence: the same subject comes out from behind the other", held, 0.85)


def _at_both_ends(easel: Easel, clip_FYXC: np.ndarray, question: str) -> tuple[str, str]:
    begin, end = clip_FYXC[: judges.FRAMES], clip_FYXC[-judges.FRAMES :]
    return judges.answer(easel.judge, begin)[question], judges.answer(easel.judge, end)[question]


def times(easel: Easel, report: Report, count: int, way: Way) -> None:
    """A 4 s clip from words to a finished mp4, in a process that has painted one before."""
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        took = []
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count + 1):
                took.append(_seconds(easel, Path(folder) / f"{number}.mp4", number, way))
        size = "x".join(map(str, reversed(easel.model(way.model).spec.grid.nearest_size(1.0, _area(easel, way)))))
        median = statistics.median(took[1:])
        found = f"median {median:.2f} s, most {max(took[1:]):.2f} s (n {count})"
        report.say(f"4 s clip of {size}, warm, {threads} thread(s), to mp4", "<= 6 s", found, median <= 6)
    torch.set_num_threads(before)


def _area(easel: Easel, way: Way) -> int:
    return easel.model(way.model).spec.defaults.area


def _seconds(easel: Easel, path: Path, seed: int, way: Way) -> float:
    started = time.perf_counter()
    chunks = easel.stream(PROMPT, CLIP, 1.0, seed, way)
    first, form = next(chunks)
    with media.writer(path, form.fps, form.size) as file:
        file.write(np.ascontiguousarray(first))
        for chunk, _ in chunks:
            file.write(np.ascontiguousarray(chunk))
    return time.perf_counter() - started
