"""The stages of a training from nothing, each a function of a job and its minutes. To add one: a function and a row.

A stage reads what earlier ones left under the job's folder, goes on from its own state where there is one, and leaves
its weights and its log in a folder of its name.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from torch import Tensor

from sora.training import checkpoint, dit, scores
from sora.training.loop import STATE, Budget, train
from sora.training.optim import Both
from sora.training.sizes import SIZES, Preset
from sora.training.worlds import WORLDS


@dataclass(frozen=True)
class Job:
    """What is trained and where. runs: the folder of all stages. size: a name of SIZES. world: of ``worlds.WORLDS``.
    settings: "name=value" changes of the transformer's recipe."""

    runs: Path
    size: str
    world: str
    device: str = "cpu"
    settings: tuple[str, ...] = ()

    @property
    def preset(self) -> Preset:
        return SIZES[self.size]


Stage = Callable[[Job, float], None]


def vae(job: Job, minutes: float) -> None:
    """As ``training.vae`` does alone, at the preset's sizes; the clips it is measured on are fewer."""
    from sora.networks.mini_vae import MiniVAE
    from sora.training import vae as program

    preset, world, folder, rng = job.preset, WORLDS[job.world], job.runs / "vae", Random()
    torch.manual_seed(rng.getrandbits(32))
    model = MiniVAE(preset.vae).to(job.device).in_channels_last()
    trainer = program.Trainer(model, program.Aims(critic=preset.critic), encoding=True)
    draw = program.batches(world, preset.vae_batch, rng, job.device)

    def loss(done: float) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(job.device, torch.bfloat16, enabled=job.device == "cuda"):
            return trainer.loss(*draw(), done)

    optimiser = Both(model, matrix_lr=0.01, other_lr=1e-3, plain=("to_latents", "unfold", "fold", "detail.unfold"))
    report = lambda _: {"held_out_psnr": program.held_out_psnr(model, world, preset.measured)}  # noqa: E731
    train(model, optimiser, Budget(minutes, cooldown=0.3), folder, loss, every=240, report=report)
    program.measure_scale(model, world, 4 * preset.measured)
    save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, folder / "vae.safetensors")


def text(job: Job, minutes: float) -> None:
    """As ``training.reading`` does alone, but without its long table of scores at the end."""
    from sora.networks.mini_text import MiniText, MiniTextConfig
    from sora.training import reading

    world, folder = WORLDS[job.world], job.runs / "text"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = reading.build_tokenizer(world)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = MiniTextConfig(tokenizer.get_vocab_size(), slots=reading.ALL_SLOTS, length=reading.LENGTH)
    (folder / "config.json").write_text(json.dumps(asdict(config)) + "\n", encoding="utf-8")
    reader = reading.Reader(MiniText(config), world).to(job.device)
    optimiser = Both(
        reader, matrix_lr=0.005, other_lr=0.002, plain=("text.words", "text.places", "text.slots", "heads")
    )
    loss = reading.make_loss(reader, world, tokenizer, 16 if job.size == "tiny" else 96, None)
    clips = 4 if job.size == "tiny" else 60
    report = lambda _: reading.summary(reading.scores(reader, world, tokenizer, None, clips))  # noqa: E731
    budget = Budget(minutes, cooldown=0.3)
    train(reader, optimiser, budget, folder, loss, average=0.99, every=120, report=report)
    save_file({k: v.cpu().contiguous() for k, v in reader.text.state_dict().items()}, folder / "text.safetensors")


def judge(job: Job, minutes: float) -> None:
    _program("sora.training.judge", job, minutes, "judge")


def transformer(job: Job, minutes: float) -> None:
    recipe = dit.changed(job.preset.dit, job.settings)
    features = scores.features(job.runs, job.device) if recipe.align else None
    previews = 0 if job.size == "tiny" else len(dit.PREVIEWS)
    world = WORLDS[job.world]
    dit.fit(job.runs, job.runs / "dit", recipe, world, job.device, minutes, previews=previews, features=features)


def distil(job: Job, minutes: float) -> None:
    """The student begins anew as a copy of the teacher, which has learnt since: its old state is of no use."""
    shutil.rmtree(job.runs / "distil" / STATE, ignore_errors=True)
    more = ("--start", str(job.runs / "dit" / "dit.safetensors"), "--runs", str(job.runs), "--size", job.size)
    _program("sora.training.distil", job, minutes, "distil", more)


def score(job: Job, minutes: float) -> None:
    """Scores and the card, in as many clips as fit into the time."""
    scores.main_scores(job.runs, job.size, job.world, job.device, 60 * minutes)


STAGES: dict[str, Stage] = {
    "vae": vae,
    "text": text,
    "judge": judge,
    "dit": transformer,
    "distil": distil,
    "score": score,
}

FIXED = ("vae", "text")
"""What the transformer is trained on: once it has begun, their latents and slots must keep their meaning."""


def begun(runs: Path) -> bool:
    """Whether the transformer's training has begun."""
    return checkpoint.exists(runs / "dit" / STATE)


def _program(module: str, job: Job, minutes: float, folder: str, more: Sequence[str] = ()) -> None:
    """A stage that is a program of its own, as ``python -m`` would run it, in this process."""
    argv = ["--minutes", f"{minutes:.4f}", "--world", job.world, "--folder", str(job.runs / folder)]
    argv += [*more, "--device", job.device, *job.preset.arguments.get(folder, ())]
    before, sys.argv = sys.argv, [module, *argv]
    try:
        import_module(module).main()
    finally:
        sys.argv = before
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
