"""The judge on rendered clips, the autoencoder, long clips and occlusion, times."""

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
from minitrain.eval.score.generated import FIRST_SEED
from minitrain.eval.score.generator import ASPECTS, ClipGenerator, SamplingOptions, full_caption
from minitrain.eval.score.records import ASKED
from minitrain.eval.verdicts import log_progress
from minitrain.judge_data import SIZES
from minitrain.judge_evaluation import correct_answers
from minitrain.worlds.render import render
from minitrain.worlds.world import WORLDS, World, draw_film
from sora import media

FIRST_VAE_SEED = 10**9  # seed of the first film for the autoencoder
DOUBLED_SIZES = tuple((2 * height, 2 * width) for height, width in SIZES)
MIN_ACCURACY = {"subject": 0.96, "setting": 0.98, "motion": 0.98}
LONG_FRAMES, OCCLUSION_FRAMES, CLIP_FRAMES = 97, 49, 33  # frames: 12 s, enough to go behind something and come out, 4 s
PROMPT = "a red balloon floats up over a green meadow"


def measure_judge(generator: ClipGenerator, report: Report, world_name: str, count: int) -> None:
    """Held-out clips from the start of a motion and from its middle, and at twice the size that the judge was trained
    on."""
    few = max(1, count // 4)
    for name, sizes, most, midway in (
        ("", SIZES, count, False),
        (" midway", SIZES, count, True),
        (" at twice the size", DOUBLED_SIZES, few, False),
    ):
        table = correct_answers(generator.judge, WORLDS[world_name], most, sizes=sizes, midway=midway)
        for i, question in enumerate(judges.QUESTIONS):
            if len(generator.judge.options[question]) > 1:
                what = f"judge on rendered clips of {world_name}{name}: {question}"
                report.add_share(what, table[:, i].tolist(), MIN_ACCURACY.get(question))


@torch.inference_mode()
def measure_vae(
    generator: ClipGenerator, report: Report, world_name: str, count: int, sampling: SamplingOptions
) -> None:
    """Held-out clips with a short side of 256 through the autoencoder alone, and the judge's accuracy on the
    reconstructions."""
    model = generator.model(sampling.model)
    vae = model.vae  # type: ignore[attr-defined]
    found, subject, kept = [], [], []
    for number in range(count):
        film = draw_film(WORLDS[world_name], FIRST_VAE_SEED + number, held_out=True)
        height, width = ((256, 256), (256, 448), (448, 256))[number % 3]
        clip = render([film], judges.FRAMES, height, width)
        pixels = clip.frames_BFCYX.transpose(1, 2).float() / 127.5 - 1
        again = ((vae.decode(vae.encode(pixels.to(model.device))).clamp(-1, 1).cpu() + 1) * 127.5).round()
        square = ((again - (pixels + 1) * 127.5) / 255).square().mean(dim=1)
        found.append(-10 * float(square.mean().log10()))
        cover = clip.cover_BFYX > 127
        if cover.any():
            subject.append(-10 * float(square[cover].mean().log10()))
        seen = judges.answers(generator.judge, again.to(torch.uint8).transpose(1, 2))[0]
        kept.append([seen[q] == facts(film)[q] for q in ASKED])
        log_progress(f"autoencoder {number}: {found[-1]:.1f} dB")
    error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0
    mean = statistics.fmean(found)
    summary = f"{mean:.2f} dB +- {error:.2f} (n {len(found)})"
    report.add("VAE PSNR at 256, held-out clips", ">= 29 dB", summary, mean >= 29)
    summary = f"{statistics.fmean(subject):.2f} dB (n {len(subject)})"
    report.add("VAE PSNR at 256, the subject's pixels alone", "", summary)
    for i, question in enumerate(ASKED):
        report.add_share(f"judge on reconstructions of {world_name} at 256: {question}", (row[i] for row in kept))


def measure_permanence(
    generator: ClipGenerator, report: Report, world_name: str, count: int, sampling: SamplingOptions
) -> None:
    """Whether an occluded subject reappears unchanged, if the world has occlusion; otherwise, whether long clips keep
    their subject."""
    world = WORLDS[world_name]
    if world.pair_share and "behind" in world.relations:
        _measure_occlusion(generator, report, world, count, sampling)
    asked, same = [], []
    for number in range(count):
        film = draw_film(world, FIRST_SEED + 5000 + number, held_out=True)
        text = full_caption(film, world, "plain", number)
        clip = generator.generate(text, LONG_FRAMES, ASPECTS[number % len(ASPECTS)], number, sampling)
        begin, end = _answers_at_ends(generator, clip, "subject")
        asked.append(end == facts(film)["subject"])
        same.append(begin == end)
        summary = f"{facts(film)['subject']}: {begin} at first, {end} at last"
        report.add_strip(f"long-{world_name}", clip, (), f"{number} {summary}")
        log_progress(f"12 s film {number}, {summary}")
    report.add_share(f"12 s films of {world_name} (no occlusion): the subject at the end is the one at the start", same)
    report.add_share(f"12 s films of {world_name} (no occlusion): the subject asked for is seen at the end", asked)


def _measure_occlusion(
    generator: ClipGenerator, report: Report, world: World, count: int, sampling: SamplingOptions
) -> None:
    same, seed = [], FIRST_SEED + 6000
    while len(same) < count:
        film, seed = draw_film(world, seed, held_out=True), seed + 1
        if facts(film)["relation"] != "behind" or len(film.shots) > 1:
            continue
        clip = generator.generate(full_caption(film, world, "plain", seed), OCCLUSION_FRAMES, 1.0, seed, sampling)
        begin, end = _answers_at_ends(generator, clip, "second")
        same.append(begin == end == facts(film)["second"])
        report.add_strip("behind", clip, (), f"{facts(film)['second']}: {begin} at first, {end} at last")
    report.add_share("permanence: the same subject comes out from behind the other", same, 0.85)


def _answers_at_ends(generator: ClipGenerator, clip_FYXC: np.ndarray, question: str) -> tuple[str, str]:
    begin, end = clip_FYXC[: judges.FRAMES], clip_FYXC[-judges.FRAMES :]
    return judges.answer(generator.judge, begin)[question], judges.answer(generator.judge, end)[question]


def measure_times(generator: ClipGenerator, report: Report, count: int, sampling: SamplingOptions) -> None:
    """A 4 s clip from prompt to finished mp4, in a process that has generated one before."""
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        seconds = []
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count + 1):
                seconds.append(_seconds(generator, Path(folder) / f"{number}.mp4", number, sampling))
        size = "x".join(
            map(str, reversed(generator.model(sampling.model).spec.grid.nearest_size(1.0, _area(generator, sampling))))
        )
        median = statistics.median(seconds[1:])
        found = f"median {median:.2f} s, most {max(seconds[1:]):.2f} s (n {count})"
        report.add(f"4 s clip of {size}, warm, {threads} thread(s), to mp4", "<= 6 s", found, median <= 6)
    torch.set_num_threads(before)


def _area(generator: ClipGenerator, sampling: SamplingOptions) -> int:
    return generator.model(sampling.model).spec.defaults.area


def _seconds(generator: ClipGenerator, path: Path, seed: int, sampling: SamplingOptions) -> float:
    started = time.perf_counter()
    chunks = generator.stream(PROMPT, CLIP_FRAMES, 1.0, seed, sampling)
    first, form = next(chunks)
    with media.writer(path, form.fps, form.size) as file:
        file.write(np.ascontiguousarray(first))
        for chunk, _ in chunks:
            file.write(np.ascontiguousarray(chunk))
    return time.perf_counter() - started
