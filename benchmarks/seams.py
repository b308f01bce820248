"""Seams of films that mini extends: the step from the last known frame to the first painted one, among those inside.

    python benchmarks/seams.py [--seeds 1] [--sheet FILE.png] [--truth]

A step is the mean difference of two neighbouring frames, in grey levels. A seam that jumps stands out from the steps
next to it. So may a bounce that turns, or a thing that comes close: films painted in one piece, which have no seam, say
how often the step at the same place stands out by itself.

``--truth`` asks something else. Of rendered films all frames go through mini's autoencoder, and the first five are
known: how much closer to the truth do the frames after these come by being blended with them?
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import sora
from minitrain import video_metrics
from minitrain.eval.verbs import cases, eval_model
from minitrain.eval.verdicts import log_progress, machine_summary, markdown_table
from minitrain.worlds import render
from sora.engine.blend import blend_known
from sora.engine.canvas import Canvas
from sora.engine.resizing import to_uint8

KINDS = ("forward", "backward", "no seam")
KNOWN = 5  # frames
JUMP = 1.6  # times the steps inside, from which a person sees one: the issue that asked for this measured 1.7
PROMPTS = (
    "a red ball bounces in the desert",
    "a balloon rises over the sea",
    "a car moves to the left in the city",
    "a sailboat moves to the right on a lake",
    "a turtle stands still on the beach",
    "an elephant grows in the meadow",
    "a chick spins in the snow",
    "a blue ball falls in the forest",
    "a dog moves to the right in the village",
    "a cat bounces at the farm",
    "a butterfly rises in the meadow",
    "a bus moves to the left in the city, it is raining",
    "an apple shrinks on the moon",
    "a fox moves to the left in the snow",
    "a rocket rises in space",
    "a fish moves to the right over a coral reef",
    "a duck falls at the lake",
    "a robot stands still at night in the city",
    "a train moves to the right in the mountains, the camera pans right",
    "a pumpkin bounces on the farm at dusk",
    "a lion grows at sunset",
    "a helicopter falls over the mountains",
    "a yellow star spins at night",
    "a strawberry bounces on the beach",
)


@dataclass(frozen=True)
class Seam:
    """kind: "forward", "backward" or "no seam". step: in grey levels. median, largest: of the clip's own steps. local:
    the step over the median of those around it."""

    kind: str
    prompt: str
    step: float
    median: float
    largest: float
    local: float


def seam_of(kind: str, prompt: str, frames_FYXC: np.ndarray, at: int, clip: slice) -> Seam:
    """The seam that follows frame ``at`` of a film, whose own steps are those of the slice."""
    own = video_metrics.frame_differences(frames_FYXC[clip])
    step = float(video_metrics.frame_differences(frames_FYXC[at : at + 2])[0])
    local = video_metrics.seam_ratio(frames_FYXC, at)
    return Seam(kind, prompt, step, float(np.median(own)), float(own.max()), local)


def seams(seeds: int) -> Iterator[tuple[Seam, np.ndarray]]:
    """Every seam, with the film that it is in."""
    for seed in range(seeds):
        for prompt in PROMPTS:
            clip = sora.generate(prompt, seed=seed)
            count = len(clip)
            longer = sora.extend(clip, seed=seed).frames
            yield seam_of("forward", prompt, longer, count - 1, slice(count)), longer
            earlier = sora.extend(clip, seed=seed, backward=True).frames
            first = len(earlier) - count
            yield seam_of("backward", prompt, earlier, first - 1, slice(first, None)), earlier
            whole = sora.generate(prompt, seed=seed, frames=len(longer)).frames
            yield seam_of("no seam", prompt, whole, count - 1, slice(count)), whole


def stands_out(seam: Seam) -> bool:
    """Whether a person would call it a jump: more than all of the clip's own steps, and than those around it."""
    return seam.step > JUMP * max(1.0, seam.median) and seam.local > JUMP


def blended_truth(count: int) -> Iterator[tuple[float, ...]]:
    """Of each film, PSNR in dB of (the first frame after the known ones as decoded, and blended; the first eight)."""
    evaluator = eval_model.load()
    for number in range(count):
        film, _ = cases.held_out_film(number)
        truth_FCYX = render([film], 33, 256, 256).frames_BFCYX[0, 12:].contiguous()
        known = torch.zeros(len(truth_FCYX), 1, 256, 256, dtype=torch.bool)
        with torch.inference_mode():
            latents = evaluator.model.encode(Canvas(truth_FCYX, ~known, 8.0)).clean_BCTHW
            decoded = torch.cat([to_uint8(chunk, (256, 256)) for chunk in evaluator.model.decode(latents)])
        known[:KNOWN] = True
        blended = blend_known(Canvas(truth_FCYX, known, 8.0), decoded)
        yield tuple(
            video_metrics.psnr(made[KNOWN : KNOWN + frames].numpy(), truth_FCYX[KNOWN : KNOWN + frames].numpy())
            for frames in (1, 8)
            for made in (decoded, blended)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="films of each prompt")
    parser.add_argument("--sheet", type=Path, help="where to show the six frames around each seam")
    parser.add_argument("--truth", action="store_true", help="blend rendered films, and compare them with the truth")
    args = parser.parse_args()
    if args.truth:
        found = np.mean(list(blended_truth(len(PROMPTS))), axis=0)
        head = ["after the known frames", "decoded, dB", "blended, dB"]
        rows = [["the first", *map("{:.2f}".format, found[:2])], ["the first eight", *map("{:.2f}".format, found[2:])]]
        print(f"{machine_summary()}\n\n{markdown_table(head, rows)}")
        return
    all_seams: list[Seam] = []
    strips: list[np.ndarray] = []
    for seam, film in seams(args.seeds):
        log_progress(f"{seam.kind}, {seam.prompt}: {seam.step:.1f} of {seam.median:.1f}, around it {seam.local:.2f}")
        all_seams.append(seam)
        at = 16 if seam.kind != "backward" else len(film) - 18
        strips.append(np.concatenate(list(film[at - 2 : at + 4, ::2, ::2]), axis=1))
    if args.sheet:
        Image.fromarray(np.concatenate(strips)).save(args.sheet)
    rows = [_row(kind, [seam for seam in all_seams if seam.kind == kind]) for kind in KINDS]
    head = ["films", "seams", "over the median", "over those around", f"over {JUMP} times the median", "jumps"]
    print(f"{machine_summary()}\n\n{markdown_table(head, rows)}")
    for seam in all_seams:
        if stands_out(seam):
            print(f"{seam.kind}: {seam.prompt}: {seam.step:.1f}, median {seam.median:.1f}, largest {seam.largest:.1f}")


def _row(kind: str, found: list[Seam]) -> list[str]:
    over = [seam.step / max(1.0, seam.median) for seam in found]
    local = [seam.local for seam in found]
    return [
        kind,
        str(len(found)),
        f"{np.median(over):.2f}, at most {max(over):.2f}",
        f"{np.median(local):.2f}, at most {max(local):.2f}",
        str(sum(each > JUMP for each in over)),
        str(sum(map(stands_out, found))),
    ]


if __name__ == "__main__":
    main()
