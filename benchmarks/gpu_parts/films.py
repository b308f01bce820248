"""The embedded model on a card: seconds of a clip and of a minute, warm, without writing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import sora
from gpu_parts.result import Machine, Result

PROMPT = "a sailboat moves to the right on a lake"


def measure(machine: Machine) -> Iterator[Result]:
    device: Any = machine.device.type
    frames = 17 if machine.small else 480
    sora.generate(PROMPT, frames=5, seed=1, device=device)
    for length in (17, frames):
        seconds = machine.seconds(lambda n=length: sora.generate(PROMPT, frames=n, seed=1, device=device), 1, 0)
        yield Result(f"mini, {length} frames", seconds, "s")
    on_card = sora.generate(PROMPT, frames=17, seed=1, device=device, dtype="float32").frames.astype(int)
    on_cpu = sora.generate(PROMPT, frames=17, seed=1, device="cpu").frames.astype(int)
    most = int(np.abs(on_card - on_cpu).max())
    yield Result("mini, 17 frames, float32 from the CPU's", most, "grey levels", "<= 2", most <= 2)
