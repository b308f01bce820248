"""Frames between frames against the truth: rendered films of which every second frame is taken away and made again.

    python benchmarks/retiming.py [--count 16]

What moves does so at twice the speed of mini's films, and half of the frames have to be found, so this is harder than
the 30 frames a second of a film that mini paints at 8.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from minitrain import video_metrics
from minitrain.eval.verbs.cases import held_out_film
from minitrain.eval.verdicts import machine_summary, markdown_table
from minitrain.worlds import render
from sora import media

FRAMES, SIZE = 33, (256, 256)
EXPECTED = 5.0  # decibels over the mean of the neighbours


def nearest(given_FYXC: np.ndarray) -> np.ndarray:
    return given_FYXC[:-1]


def mixed(given_FYXC: np.ndarray) -> np.ndarray:
    return ((given_FYXC[:-1].astype(np.uint16) + given_FYXC[1:] + 1) // 2).astype(np.uint8)


def following(given_FYXC: np.ndarray) -> np.ndarray:
    return np.stack(list(media.interpolated(given_FYXC, SIZE, Fraction(1, 2), FRAMES)))[1::2]


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the nearest frame": nearest,
    "the mean of both neighbours": mixed,
    "following what moves": following,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=16, help="films")
    args = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    seconds = dict.fromkeys(METHODS, 0.0)
    for number in range(args.count):
        film, _ = held_out_film(number)
        frames_FYXC = render([film], FRAMES, *SIZE).frames_BFCYX[0].permute(0, 2, 3, 1).numpy()
        for name, method in METHODS.items():
            began = time.perf_counter()
            made_FYXC = method(frames_FYXC[::2])
            seconds[name] += time.perf_counter() - began
            found[name].append(min(60.0, video_metrics.psnr(made_FYXC, frames_FYXC[1::2])))
    milliseconds = {name: 1000 * each / args.count / (FRAMES // 2) for name, each in seconds.items()}
    rows = [
        [name, f"{np.mean(each):.1f}", f"{np.min(each):.1f}", f"{milliseconds[name]:.0f}"]
        for name, each in found.items()
    ]
    print(f"{machine_summary()}\n\n{markdown_table(['method', 'PSNR, dB', 'worst film', 'ms a frame'], rows)}")
    gain = np.mean(found["following what moves"]) - np.mean(found["the mean of both neighbours"])
    print(f"\nover the mean: {gain:.1f} dB, expected {EXPECTED} at least: {'met' if gain >= EXPECTED else 'NOT met'}")


if __name__ == "__main__":
    main()
