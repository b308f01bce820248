"""The embedded model and its judge, loaded once: a plan becomes a clip, a clip becomes answers."""

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
        """The same with the weights that take guidance, which whole clips are edited with."""
        spec = self.spec.with_guidance()
        return replace(self, model=models.load(spec, torch.device("cpu"), torch.float32))

    def form(self, size: tuple[int, int], fps: float = 0.0, *, draft: bool = False) -> Format:
        """The format of a film of (height, width); the model's own rate where none is said."""
        return self.spec.form(size, fps or self.spec.defaults.fps, draft=draft)

    def settings(self, seed: int, *, draft: bool = False) -> engine.Settings:
        return engine.Settings.from_spec(self.spec, seed, draft=draft)

    def stream(self, plan: Plan, seed: int, *, draft: bool = False) -> Iterator[np.ndarray]:
        """The finished film in chunks (F, Y, X, 3), uint8."""
        for chunk_FCYX in engine.paint(self.model, plan, self.settings(seed, draft=draft)):
            yield chunk_FCYX.permute(0, 2, 3, 1).numpy()

    def paint(self, plan: Plan, seed: int, *, draft: bool = False) -> Clip:
        """The finished film."""
        return Clip(np.concatenate(list(self.stream(plan, seed, draft=draft))), plan.format.fps)

    def judge_clip(self, film_FYXC: np.ndarray) -> dict[str, str]:
        """What the judge answers to each question. The film has LOOKED_AT frames."""
        return judge.answer(self.judge, film_FYXC)


def load() -> EvalModel:
    cpu = torch.device("cpu")
    return EvalModel(models.load(catalog.find("mini"), cpu, torch.float32), judge.load())


def answer_is_right(seen: dict[str, str], film: Film, question: str = "subject") -> bool:
    return seen[question] == facts(film)[question]


def run_python(*argv: str, folder: Path | None = None) -> tuple[float, subprocess.CompletedProcess[str]]:
    """(seconds, what came back) of one cold Python process."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *argv], cwd=folder, capture_output=True, text=True, check=False)
    return time.perf_counter() - started, done


def run_sora(folder: Path, *argv: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """One cold run of the program."""
    return run_python("-m", "sora", *argv, folder=folder)


def has_command(verb: str) -> bool:
    """Whether the program knows the verb by now."""
    return run_sora(Path(), verb, "--help")[1].returncode == 0
