"""Tiny Wan models with random weights, painted on the card and on the CPU from one seed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import sora
from gpu_parts.result import Machine, Result
from real_files_parts import tiny_wan

KINDS = ("t2v", "i2v", "t2v-a14b", "vace")
PLANS = ("decode-alone", "one-prompt", "tiled", "streamed", "streamed-tiled")
MOST = 1  # grey levels between the card and the CPU, both in float32
ROUNDING = 1.5  # times the mean error of the CPU's own bfloat16, which such small random networks magnify


def measure(machine: Machine) -> Iterator[Result]:
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            model, device = str(tiny_wan.folder(Path(folder) / kind, kind)), machine.device.type
            exact = paint(model, kind, picture, "cpu", "float32")
            most = np.abs(paint(model, kind, picture, device, "float32") - exact).max()
            yield Result(f"{kind}, float32", float(most), "grey levels at most", f"<= {MOST}", bool(most <= MOST))
            ours, usual = (
                float(np.abs(paint(model, kind, picture, where, "bfloat16") - exact).mean())
                for where in (device, "cpu")
            )
            met, note = ours <= ROUNDING * usual, f"the CPU's own {usual:.3f}, deviation of the film {exact.std():.0f}"
            yield Result(f"{kind}, bfloat16", ours, "grey levels in the mean", f"<= {ROUNDING} x", met, note)
        model = str(tiny_wan.folder(Path(folder) / "plans", KINDS[0]))
        exact = paint(model, KINDS[0], picture, "cpu", "float32")
        for plan in PLANS:
            painted = paint(model, KINDS[0], picture, machine.device.type, "float32", memory=plan)
            most = int(np.abs(painted - exact).max())
            yield Result(f"{KINDS[0]}, {plan}, float32", most, "grey levels at most", f"<= {MOST}", most <= MOST)


def paint(model: str, kind: str, picture: np.ndarray, device: str, dtype: str, **more: Any) -> np.ndarray:
    options: dict[str, Any] = {"model": model, "frames": 9, "size": "96x64", "steps": 4, "seed": 7, "guidance": 3.0}
    options |= {"device": device, "dtype": dtype, **more}
    if kind in ("i2v", "vace"):
        return sora.img2vid(picture, "a red cat", **options).frames.astype(int)
    return sora.generate("a red cat", **options).frames.astype(int)
