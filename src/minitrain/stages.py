"""The stages of a training, each a function of a job and its minutes. To add one: a function and a row.

A stage reads what earlier ones wrote under the job's folder, resumes its own state if there is one, and writes its
weights and its log into a folder of its name.
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
from minitrain.clips import DataMix
from minitrain.compilation import compile_blocks
from minitrain.held_out import HeldOutClips, render_held_out
from minitrain.optim import MuonAdamW
from minitrain.pipeline import caption_tokenizer, cpu_state_dict
from minitrain.presets import PRESETS, DiTTrainingConfig, Preset, clip_shapes, dit_config
from minitrain.render_workers import COVER_CELL, RenderConfig, RenderWorkers
from minitrain.tokenizer import build_tokenizer
from minitrain.training_loop import STATE, Budget, train
from minitrain.worlds import WORLDS
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.wan.dit import WanDiT

START_FILE = "start.safetensors"  # the transformer's weights that a training goes on from, in its folder
RESERVED_CORES = 3  # cores for the trainer and its background stages, if there is a graphics card


@dataclass
class SharedClips:
    """What the stages of one call share: the clip bank and the workers that render for it, opened by the first stage
    that needs them."""

    bank: ClipBank | None = None

    def close(self) -> None:
        if self.bank is not None:
            self.bank.workers.close()
            self.bank = None


@dataclass(frozen=True)
class TrainingJob:
    """What is trained and where. runs: the folder of all stages. size: a name of PRESETS. world: of ``worlds.WORLDS``.
    settings: "name=value" changes of the transformer's training. workers: processes that render, 0 for as many as fit.
    command: what the user typed, for the card."""

    runs: Path
    size: str
    world: str
    device: str = "cpu"
    settings: tuple[str, ...] = ()
    workers: int = 0
    command: str = ""
    session: SharedClips | None = field(default=None, compare=False)

    @property
    def preset(self) -> Preset:
        return PRESETS[self.size]

    @property
    def dit_training(self) -> DiTTrainingConfig:
        return dit.with_settings(self.preset.dit, self.settings)

    @property
    def start_weights(self) -> dit.StartWeights | None:
        """The transformer's initial weights, if ``publish.prepare_start`` provided them."""
        weights = self.runs / "dit" / START_FILE
        return dit.StartWeights(weights) if weights.is_file() else None

    def held_out(self) -> HeldOutClips:
        return _held_out_clips(self.world, self.preset.held_out_clips, max(self.preset.dit.sides))

    @contextmanager
    def clip_bank(self) -> Iterator[ClipBank]:
        """The shared clip bank, or one for this stage alone. A stage opens it before it touches a card."""
        session = self.session or SharedClips()
        session.bank = session.bank or open_clip_bank(self)
        try:
            yield session.bank
        finally:
            if session is not self.session:
                session.close()


Stage = Callable[[TrainingJob, float], None]


@cache
def _held_out_clips(world: str, count: int, side: int) -> HeldOutClips:
    return render_held_out(WORLDS[world], count, side)


def open_clip_bank(job: TrainingJob) -> ClipBank:
    """Workers that render the job's world, and an empty bank."""
    from minitrain.text_encoder_training import MAX_TOKENS

    recipe, preset, tokenizer_file = job.dit_training, job.preset, job.runs / "text" / "tokenizer.json"
    tokenizer = (
        Tokenizer.from_file(str(tokenizer_file)) if tokenizer_file.is_file() else build_tokenizer(WORLDS[job.world])
    )
    mix = DataMix(
        subject_weight=recipe.subject_weight, motion_weight=recipe.motion_weight, clips_per_shape=recipe.clips_per_shape
    )
    plan = RenderConfig(
        clip_shapes(recipe, 2 * COVER_CELL), preset.lengths, second_world_share=preset.second_world_share, mix=mix
    )
    count = job.workers or (max(1, (os.cpu_count() or 1) - RESERVED_CORES) if job.device == "cuda" else 1)
    worlds = [WORLDS[job.world], WORLDS["wide"]]
    seed = Random().getrandbits(32)
    workers = RenderWorkers(worlds, plan, caption_tokenizer(tokenizer, MAX_TOKENS), count, seed, device=job.device)
    return ClipBank(workers, preset.bank_bytes, Random())


def vae(job: TrainingJob, minutes: float) -> None:
    """The same as ``python -m minitrain.vae``, at the preset's sizes."""
    from minitrain import vae as program
    from sora.networks.mini_vae import MiniVAE
    from sora.runtime.winograd import Winograd

    preset, held = job.preset, job.held_out()
    with job.clip_bank() as bank:
        bank.workers.include_second_world = True
        torch.manual_seed(Random().getrandbits(32))
        model = MiniVAE(preset.vae).to(job.device).in_channels_last()
        model.convolver = Winograd
        options = {
            "loss_weights": program.LossWeights(critic_weight=preset.critic_weight),
            "batch": preset.vae_batch,
            "report_every": preset.report_every,
        }
        program.train_vae(model, bank, held, job.runs / "vae", minutes, **options)


def text(job: TrainingJob, minutes: float) -> None:
    """The same as ``python -m minitrain.text_encoder_training``, without its long table of scores at the end."""
    from minitrain import text_encoder_training

    world, folder, tiny = WORLDS[job.world], job.runs / "text", job.size == "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = text_encoder_training.build_tokenizer(world)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = MiniTextConfig(
        tokenizer.get_vocab_size(), slots=text_encoder_training.SLOT_COUNT, length=text_encoder_training.MAX_TOKENS
    )
    (folder / "config.json").write_text(json.dumps(asdict(config)) + "\n", encoding="utf-8")
    classifier = text_encoder_training.SlotClassifier(MiniText(config), world).to(job.device)
    plain = ("text.words", "text.places", "text.slots", "heads")
    optimiser = MuonAdamW(classifier, muon_lr=0.005, adamw_lr=0.002, adamw_prefixes=plain)
    loss = text_encoder_training.make_loss(classifier, world, tokenizer, 16 if tiny else 96, None)

    def report(_step: int) -> dict[str, float]:
        return text_encoder_training.summary(
            text_encoder_training.evaluate(classifier, world, tokenizer, None, 4 if tiny else 60)
        )

    train(
        classifier,
        optimiser,
        Budget(minutes, cooldown=0.3),
        folder,
        loss,
        ema_decay=0.99,
        report_every=120,
        report=report,
    )
    save_file(cpu_state_dict(classifier.text), folder / "text.safetensors")


def judge(job: TrainingJob, minutes: float) -> None:
    """The same as ``python -m minitrain.judge_training``, with one world and without corrupted latents."""
    from minitrain import judge_training
    from minitrain.judge import Judge, options_of

    world = WORLDS[job.world]
    network = Judge(options_of([world])).to(job.device)
    config = judge_training.JudgeTrainingConfig(minutes, job.preset.judge_batch)
    shares = judge_training.train_judge(network, {job.world: world}, config, Random(), job.runs / "judge")
    print(json.dumps(shares), flush=True)
    if job.device == "cuda":
        torch.cuda.empty_cache()


def warm_compile_cache(job: TrainingJob, _minutes: float) -> None:
    """Fill the compiler's cache with the transformer's blocks while other stages run, so that its own training need not
    wait for them. Does nothing if nothing is compiled."""
    recipe, channels = (
        replace(job.dit_training, batch_tokens=job.dit_training.batch_tokens // 4),
        job.preset.vae.channels,
    )
    if recipe.compile:
        net = WanDiT(dit_config(channels, MiniTextConfig(1).width, recipe.width, recipe.layers)).to(job.device)
        net.init_weights()
        compile_blocks(net, lambda: dit.trial_loss(net, recipe, 2 * COVER_CELL, job.device))


def transformer(job: TrainingJob, minutes: float) -> None:
    recipe, preset = job.dit_training, job.preset
    previews = 0 if job.size == "tiny" else len(dit.PREVIEW_PROMPTS)
    with job.clip_bank() as bank:
        features = scores.judge_features(job.runs, job.device) if recipe.alignment_weight else None
        options = {
            "start": job.start_weights,
            "previews": previews,
            "report_every": preset.report_every,
            "features": features,
        }
        dit.train_dit(job.runs, job.runs / "dit", recipe, bank, job.held_out(), minutes, **options)


def student(job: TrainingJob, minutes: float) -> None:
    """The student starts anew from its teacher, which has been trained further since: its old state is of no use."""
    folder = job.runs / "distil"
    shutil.rmtree(folder / STATE, ignore_errors=True)
    with job.clip_bank() as bank:
        distil.train_student(job.runs, folder, job.dit_training, bank, minutes, batch=job.preset.student_batch)


def score(job: TrainingJob, minutes: float) -> None:
    """Scores, contact sheets and the card, on as many clips as fit into the time."""
    card = scores.build_card(job.runs, job.world, job.device, job.command)
    side = max(job.dit_training.sides)
    scores.save_sheets(job.runs, job.device, side)
    card["scores"] = scores.measure_all(job.runs, job.world, job.device, side, 60 * minutes, job.preset.scored_clips)
    scores.write_card(job.runs, card)
    print(json.dumps(card["scores"], indent=1), flush=True)


STAGES: dict[str, Stage] = {
    "vae": vae,
    "text": text,
    "judge": judge,
    "warm": warm_compile_cache,
    "dit": transformer,
    "distil": student,
    "score": score,
}

FROZEN_STAGES = ("vae", "text")
"""What the transformer is trained on: once it has begun, their latents and slots must keep their meaning."""


def transformer_has_begun(runs: Path) -> bool:
    """Whether the transformer's training has begun, here or where its initial weights come from."""
    return checkpoint.exists(runs / "dit" / STATE) or (runs / "dit" / START_FILE).is_file()
