"""The embedded model and its judge, loaded once: generates a plan's clip, and judges clips."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from minitrain import judge
from minitrain.captions import facts
from minitrain.scene import Film
from sora import catalog, models
from sora.engine import engine
from sora.engine.model import Model
from sora.plan.clip import Clip
from sora.plan.plan import Format, Plan

JUDGED_FRAMES = judge.FRAMES


@dataclass(frozen=True)
class EvalModel:
    """model: on the CPU, float32. judge: of the world that the model was trained on."""

    model: Model
    judge: judge.Judge

    @property
    def spec(self) -> catalog.ModelSpec:
        return self.model.spec

    @cached_property
    def guided(self) -> EvalModel:
        """The same with the weights that take guidance, which are used to edit whole clips."""
        spec = self.spec.with_guidance()
        return replace(self, model=models.load(spec, torch.device("cpu"), torch.float32))

    def form(self, size: tuple[int, int], fps: float = 0.0, *, draft: bool = False) -> Format:
        """The format of a clip of (height, width); at the model's own frame rate if ``fps`` is 0."""
        return self.spec.format(size, fps or self.spec.defaults.fps, draft=draft)

    def settings(self, seed: int, *, draft: bool = False) -> engine.Settings:
        return engine.Settings.from_spec(self.spec, seed, draft=draft)

    def stream(self, plan: Plan, seed: int, *, draft: bool = False) -> Iterator[np.ndarray]:
        """The clip in chunks (F, Y, X, 3), uint8, as they are finished."""
        for chunk_FCYX in engine.paint(self.model, plan, self.settings(seed, draft=draft)):
            yield chunk_FCYX.permute(0, 2, 3, 1).numpy()

    def paint(self, plan: Plan, seed: int, *, draft: bool = False) -> Clip:
        """The finished clip."""
        return Clip(np.concatenate(list(self.stream(plan, seed, draft=draft))), plan.format.fps)

    def judge_clip(self, film_FYXC: np.ndarray) -> dict[str, str]:
        """The judge's answer to each question. The clip has JUDGED_FRAMES frames."""
        return judge.answer(self.judge, film_FYXC)


def load() -> EvalModel:
    cpu = torch.device("cpu")
    return EvalModel(models.load(catalog.find("mini"), cpu, torch.float32), judge.load())


def answer_is_right(seen: dict[str, str], film: Film, question: str = "subject") -> bool:
    return seen[question] == facts(film)[question]


def run_python(*argv: str, folder: Path | None = None) -> tuple[float, subprocess.CompletedProcess[str]]:
    """(seconds, the completed process) of one cold Python process."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *argv], cwd=folder, capture_output=True, text=True, check=False)
    return time.perf_counter() - started, done


def run_sora(folder: Path, *argv: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """(seconds, the completed process) of one cold run of the program."""
    return run_python("-m", "sora", *argv, folder=folder)


def has_command(verb: str) -> bool:
    """Whether the program has the command."""
    return run_sora(Path(), verb, "--help")[1].returncode == 0
