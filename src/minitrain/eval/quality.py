"""What faster sampling costs in quality: ``python -m minitrain.eval.quality [--count N] [--json FILE]``.

The embedded model generates held-out captions exactly and in each faster variant, from the same noise, by turns.
Measured are the speed-up, PSNR, SSIM (Wang et al. 2004), a perceptual distance (one minus the cosine of the judge's
convolutional features, in place of LPIPS, whose weights this repository cannot make), and the judge's score of both.
Open weights are not included; what a variant costs them must be measured where they are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minitrain import judge as judges
from minitrain import video_metrics
from minitrain.captions.facts import facts
from minitrain.eval.score.generator import ASPECTS, CAPTION_KINDS, ClipGenerator, SamplingOptions, full_caption
from minitrain.eval.verdicts import machine_summary, markdown_table
from minitrain.worlds.world import WORLDS, draw_film
from sora import catalog, models
from sora.runtime.speed import DEFAULT_SPEED, Speed

FIRST_SEED = 5 * 10**9  # seed of the first film; not those that scores are taken on
QUESTIONS = ("subject", "setting", "motion")
DISTILLED = "distilled"


@dataclass
class SpeedVariant:
    """One variant and its measurements. default_overrides: of ``Defaults``, for ``fast``. overrides: of the sampling,
    as in ``SamplingOptions``."""

    name: str
    speed: Speed = DEFAULT_SPEED
    default_overrides: Mapping[str, float] = field(default_factory=dict)
    overrides: Mapping[str, float | str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    perceptual_distance: list[float] = field(default_factory=list)
    correct: list[bool] = field(default_factory=list)


def variants(steps: int | None = None) -> list[SpeedVariant]:
    """All variants; the first one is the reference of all others."""
    d, fast = catalog.find("mini").with_guidance().defaults, Speed("fast")
    fewer_steps = sorted({s for s in (4, 6, 8) if s < (steps or d.steps)}, reverse=True)
    overrides = {} if steps is None else {"steps": steps}
    return [
        SpeedVariant("exact", overrides=overrides),
        SpeedVariant("fast", fast, overrides=overrides),
        SpeedVariant(DISTILLED),
        *(
            SpeedVariant(f"cache {near}", fast, {"cache_threshold": near, "guidance_stop": 0.0}, overrides)
            for near in (0.08, 0.12, 0.15)
        ),
        *(
            SpeedVariant(f"guided from {t}", fast, {"cache_threshold": 0.0, "guidance_stop": t}, overrides)
            for t in (0.3, 0.5)
            if d.guidance != 1
        ),
        *(SpeedVariant(f"{s} steps of unipc", overrides={"steps": s, "sampler": "unipc"}) for s in fewer_steps),
    ]


def ssim(a_FYXC: np.ndarray, b_FYXC: np.ndarray) -> float:
    """Mean structural similarity over frames, of luma, with a Gaussian window of 11 and deviation 1.5."""
    a, b = (_luma(x) for x in (a_FYXC, b_FYXC))
    offsets = torch.arange(11.0) - 5
    line = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = (line[:, None] * line)[None, None] / line.sum() ** 2
    blur = lambda x: F.conv2d(x, window)  # noqa: E731
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return value.mean().item()


def _luma(frames_FYXC: np.ndarray) -> Tensor:
    return (torch.from_numpy(frames_FYXC).float() @ torch.tensor([0.2126, 0.7152, 0.0722]))[:, None]


def perceptual_distance(judge: judges.Judge, a_FYXC: np.ndarray, b_FYXC: np.ndarray) -> float:
    """One minus the mean cosine of the judge's convolutional features at each place; sides are multiples of 8."""
    a, b = (judges.feature_maps(judge, judges.to_batch(x).float() / 127.5 - 1) for x in (a_FYXC, b_FYXC))
    return 1 - F.cosine_similarity(a, b, dim=1).mean().item()


def run_variants(count: int, steps: int | None = None) -> list[SpeedVariant]:
    judge, tried, world = judges.load(), variants(steps), WORLDS["small"]
    generators = [ClipGenerator(judge) for _ in tried]
    for generator, variant in zip(generators, tried, strict=True):
        spec = catalog.find("mini") if variant.name == DISTILLED else catalog.find("mini").with_guidance()
        spec = replace(spec, defaults=replace(spec.defaults, **variant.default_overrides))  # type: ignore[arg-type]
        generator.replace_model("mini", models.load(spec, torch.device("cpu"), torch.float32, variant.speed))
    for number in range(count):
        film = draw_film(world, FIRST_SEED + number, held_out=True)
        text, expected = full_caption(film, world, tuple(CAPTION_KINDS)[number % 3], number), facts(film)
        aspect, clips = ASPECTS[number % len(ASPECTS)], []
        for generator, variant in zip(generators, tried, strict=True):
            began = time.perf_counter()
            clips.append(
                generator.generate(text, judges.FRAMES, aspect, number, SamplingOptions("mini", variant.overrides))
            )
            variant.seconds.append(time.perf_counter() - began)
            seen = judges.answer(judge, clips[-1])
            variant.correct.append(all(seen[q] == expected[q] for q in QUESTIONS))
        for variant, clip in list(zip(tried, clips, strict=True))[1:]:
            variant.psnr.append(min(99.0, video_metrics.psnr(clips[0], clip)))
            variant.ssim.append(ssim(clips[0], clip))
            variant.perceptual_distance.append(perceptual_distance(judge, clips[0], clip))
    return tried


def table_row(variant: SpeedVariant, exact: SpeedVariant) -> list[str]:
    faster = statistics.median(a / b for a, b in zip(exact.seconds, variant.seconds, strict=True))
    right = f"{100 * statistics.mean(variant.correct):.0f} %"
    if variant is exact:
        return [variant.name, "1", "", "", "", right]
    means = [statistics.mean(values) for values in (variant.psnr, variant.ssim, variant.perceptual_distance)]
    return [variant.name, f"{faster:.2f}", f"{means[0]:.1f}", f"{means[1]:.3f}", f"{means[2]:.3f}", right]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=24, help="captions")
    parser.add_argument("--steps", type=int, help="of the guided variants, instead of the model's own")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    tried = run_variants(args.count, args.steps)
    print(machine_summary())
    rows = [table_row(variant, tried[0]) for variant in tried]
    print(markdown_table(["variant", "times faster", "PSNR, dB", "SSIM", "perceptual", "judge: all three right"], rows))
    if args.json:
        args.json.write_text(
            json.dumps({"machine": machine_summary(), "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
