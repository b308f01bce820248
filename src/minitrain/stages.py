"""The stages of a training from nothing, each a function of a job and its minutes. To add one: a function and a row.

A stage reads what earlier ones left under the job's folder, goes on from its own state where there is one, and leaves
its weights and its log in a folder of its name.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from minitrain import checkpoint, distil, dit, scores
from minitrain.clip_bank import ClipBank
from minitrain.clips import Mix
from minitrain.compilation import compile_blocks
from minitrain.held_out import HeldOut, held_out
from minitrain.optim import Both
from minitrain.pipeline import weights_of, word_reader
from minitrain.presets import SIZES, Preset, Recipe, dit_config, shapes
from minitrain.render_workers import CELL, RenderPlan, RenderWorkers
from minitrain.tokenizer import build_tokenizer
from minitrain.training_loop import STATE, Budget, train
from minitrain.worlds import WORLDS
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.wan.dit import WanDiT

START = "start.safetensors"  # the transformer's weights that a training goes on from, in its folder
BUSY = 3  # cores that the trainer and the stages beside it keep for themselves, beside a graphics card


@dataclass
class Session:
    """What the stages of one call share: the clips and the workers that render them, once a stage wanted them."""

    bank: ClipBank | None = None

    def close(self) -> None:
        if self.bank is not None:
            self.bank.workers.close()
            self.bank = None


@dataclass(frozen=True)
class Job:
    """What is trained and where. runs: the folder of all stages. size: a name of SIZES. world: of ``worlds.WORLDS``.
    settings: "name=value" changes of the transformer's recipe. workers: processes that render, 0 for as many as fit.
    command: what a person typed for this, for the card."""

    runs: Path
    size: str
    world: str
    device: str = "cpu"
    settings: tuple[str, ...] = ()
    workers: int = 0
    command: str = ""
    session: Session | None = field(default=None, compare=False)

    @property
    def preset(self) -> Preset:
        return SIZES[self.size]

    @property
    def recipe(self) -> Recipe:
        return dit.changed(self.preset.dit, self.settings)

    @property
    def start(self) -> dit.Start | None:
        """What the transformer begins from, where that was laid out (see ``publish.lay_start``)."""
        weights = self.runs / "dit" / START
        return dit.Start(weights) if weights.is_file() else None

    def held(self) -> HeldOut:
        return _held(self.world, self.preset.measured, max(self.preset.dit.sides))

    @contextmanager
    def rendering(self) -> Iterator[ClipBank]:
        """The session's clips, or some for this stage alone. A stage asks for them before it touches a card."""
        session = self.session or Session()
        session.bank = session.bank or open_bank(self)
        try:
            yield session.bank
        finally:
            if session is not self.session:
                session.close()


Stage = Callable[[Job, float], None]


@cache
def _held(world: str, count: int, side: int) -> HeldOut:
    return held_out(WORLDS[world], count, side)


def open_bank(job: Job) -> ClipBank:
    """Workers that render the job's world, and an empty bank."""
    from minitrain.text_encoder_training import LENGTH

    recipe, preset, written = job.recipe, job.preset, job.runs / "text" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(written)) if written.is_file() else build_tokenizer(WORLDS[job.world])
    mix = Mix(cover=recipe.cover, motion=recipe.motion, limit=recipe.limit)
    plan = RenderPlan(shapes(recipe, 2 * CELL), preset.lengths, wide=preset.wide, mix=mix)
    count = job.workers or (max(1, (os.cpu_count() or 1) - BUSY) if job.device == "cuda" else 1)
    worlds = [WORLDS[job.world], WORLDS["wide"]]
    seed = Random().getrandbits(32)
    workers = RenderWorkers(worlds, plan, word_reader(tokenizer, LENGTH), count, seed, device=job.device)
    return ClipBank(workers, preset.bank, Random())


def vae(job: Job, minutes: float) -> None:
    """As ``python -m minitrain.vae`` does alone, at the preset's sizes."""
    from minitrain import vae as program
    from sora.networks.mini_vae import MiniVAE
    from sora.runtime.winograd import Winograd

    preset, held = job.preset, job.held()
    with job.rendering() as bank:
        bank.workers.broad = True
        torch.manual_seed(Random().getrandbits(32))
        model = MiniVAE(preset.vae).to(job.device).in_channels_last()
        model.convolver = Winograd
        how = {"aims": program.Aims(critic=preset.critic), "batch": preset.vae_batch, "every": preset.every}
        program.fit(model, bank, held, job.runs / "vae", minutes, **how)


def text(job: Job, minutes: float) -> None:
    """As ``python -m minitrain.text_encoder_training`` does alone, but without its long table of scores at the end."""
    from minitrain import text_encoder_training

    world, folder, tiny = WORLDS[job.world], job.runs / "text", job.size == "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = text_encoder_training.build_tokenizer(world)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = MiniTextConfig(
        tokenizer.get_vocab_size(), slots=text_encoder_training.ALL_SLOTS, length=text_encoder_training.LENGTH
    )
    (folder / "config.json").write_text(json.dumps(asdict(config)) + "\n", encoding="utf-8")
    reader = text_encoder_training.Reader(MiniText(config), world).to(job.device)
    plain = ("text.words", "text.places", "text.slots", "heads")
    optimiser = Both(reader, matrix_lr=0.005, other_lr=0.002, plain=plain)
    loss = text_encoder_training.make_loss(reader, world, tokenizer, 16 if tiny else 96, None)

    def report(_step: int) -> dict[str, float]:
        return text_encoder_training.summary(
            text_encoder_training.scores(reader, world, tokenizer, None, 4 if tiny else 60)
        )

    train(reader, optimiser, Budget(minutes, cooldown=0.3), folder, loss, average=0.99, every=120, report=report)
    save_file(weights_of(reader.text), folder / "text.safetensors")


def judge(job: Job, minutes: float) -> None:
    """As ``python -m minitrain.judge_training`` does alone, of one world and without mimics."""
    from minitrain import judge_training
    from minitrain.judge import Judge, options_of

    world = WORLDS[job.world]
    network = Judge(options_of([world])).to(job.device)
    course = judge_training.Course(minutes, job.preset.judge_batch)
    shares = judge_training.fit(network, {job.world: world}, course, Random(), job.runs / "judge")
    print(json.dumps(shares), flush=True)
    if job.device == "cuda":
        torch.cuda.empty_cache()


def warm(job: Job, _minutes: float) -> None:
    """Fill the compiler's cache with the transformer's blocks, beside other stages, so that its own training need not
    wait for them. Where nothing is compiled, it does nothing."""
    recipe, channels = replace(job.recipe, tokens=job.recipe.tokens // 4), job.preset.vae.channels
    if recipe.compile:
        net = WanDiT(dit_config(channels, MiniTextConfig(1).width, recipe.width, recipe.layers)).to(job.device)
        net.init_weights()
        compile_blocks(net, lambda: dit.trial(net, recipe, 2 * CELL, job.device))


def transformer(job: Job, minutes: float) -> None:
    recipe, preset = job.recipe, job.preset
    previews = 0 if job.size == "tiny" else len(dit.PREVIEWS)
    with job.rendering() as bank:
        features = scores.features(job.runs, job.device) if recipe.align else None
        how = {"start": job.start, "previews": previews, "every": preset.every, "features": features}
        dit.fit(job.runs, job.runs / "dit", recipe, bank, job.held(), minutes, **how)


def student(job: Job, minutes: float) -> None:
    """The student begins anew at its teacher, which has learnt since: its old state is of no use."""
    folder = job.runs / "distil"
    shutil.rmtree(folder / STATE, ignore_errors=True)
    with job.rendering() as bank:
        distil.fit(job.runs, folder, job.recipe, bank, minutes, batch=job.preset.student_batch)


def score(job: Job, minutes: float) -> None:
    """Scores, sheets and the card, in as many clips as fit into the time."""
    made = scores.card(job.runs, job.world, job.device, job.command)
    side = max(job.recipe.sides)
    scores.sheets(job.runs, job.device, side)
    made["scores"] = scores.measure(job.runs, job.world, job.device, side, 60 * minutes, job.preset.clips)
    scores.write(job.runs, made)
    print(json.dumps(made["scores"], indent=1), flush=True)


STAGES: dict[str, Stage] = {
    "vae": vae,
    "text": text,
    "judge": judge,
    "warm": warm,
    "dit": transformer,
    "distil": student,
    "score": score,
}

FIXED = ("vae", "text")
"""What the transformer is trained on: once it has begun, their latents and slots must keep their meaning."""


def begun(runs: Path) -> bool:
    """Whether the transformer's training has begun, here or where its first weights come from."""
    return checkpoint.exists(runs / "dit" / STATE) or (runs / "dit" / START).is_file()
