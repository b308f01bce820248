"""Train the judge in two phases: ``python -m minitrain.judge_training``.

The frame encoder is trained first, on single frames of many clips, which teach it more than all frames of a few. It is
then frozen, and two more networks are trained on top: one classifies motion from the features of each frame of a clip,
one classifies crops of the subject and tells whole from broken. Played backwards, a clip teaches the opposite motion.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from minitrain import corruptions, latent_corruptions
from minitrain.judge import (
    BROKEN,
    CROP_QUESTIONS,
    FILE,
    FRAME_QUESTIONS,
    IGNORED,
    MOTION_QUESTIONS,
    QUESTIONS,
    SIDE,
    Judge,
    bias_towards_broken,
    crop_subject,
    device_of,
    options_of,
    save,
)
from minitrain.judge_augmentation import augment
from minitrain.judge_data import ClipReplayBuffer, Frames, LabelledClips, concatenate, map_answers, reversed_answers
from minitrain.judge_evaluation import accuracy
from minitrain.optim import MuonAdamW
from minitrain.training_loop import Budget, train
from minitrain.worlds.world import WORLDS, World

FRAME_PHASE_SHARE, SECOND_PHASE_FOLDER = 0.5, "closely"  # share of the time of the first part; the folder of the second
FRAMES_PER_NEW_CLIP = 24  # frames of a step for each clip that is rendered and looked at in it
CLIPS_PER_STEP, MEMORY_CLIPS = 64, 4096  # clips that are followed in a step, and that are remembered
INITIAL_CLIPS = {True: 2, False: 12}  # rendered before a short and a long training's first step, for each frame
CORRUPTED_SHARES = {"broken": 0.35, "worn": 0.2}  # of rendered frames; the rest is left as it is
CORRUPTED_CLIP_SHARE, LABELLED_CLIP_SHARE = 0.5, 0.4  # frames for each rendered one
MAP_DROPOUT = 0.5  # share of the map of a clip's frames that is dropped
EMPTY_CROP_SHARE = 0.04  # share of close looks at where a subject was
ROTATION_STD, LOG_ZOOM_STD = 0.3, 0.12  # deviations of the angle in radians and of the magnification of close looks
SHORT_MINUTES = 5.0  # below which a training is short
REPORT_CLIPS = 20  # of each world in the reports of a short training, else twice that
FRAME_ENCODER_PREFIXES = ("look.", "cover.", "still.")  # parameters of the network that sees
MIN_SUBJECT_AREA = 0.02  # of the picture: smaller subjects are not asked for
MIN_VISIBLE_CHANGE = 0.1  # how far a broken subject's pixels must be from what they were, in [0, 2]
LOSS_WEIGHTS = {"weather": 0.5, "hour": 0.5, "style": 0.5, "second": 0.5, "cover": 2.0}  # of losses, else 1


@dataclass(frozen=True)
class JudgeTrainingConfig:
    """minutes: of training. batch: frames of a step. buffer_clips: rendered clips in memory. corrupted: a file of
    ``latent_corruptions``, or None to learn from corrupted rendered pictures alone. labelled: a folder of saved clips
    and a file of labels for some of them, or nothing. broken_bias: added to the logit of "broken", to be chosen on
    labelled clips that were not trained on."""

    minutes: float
    batch: int = 64
    buffer_clips: int = 2048
    corrupted: Path | None = None
    labelled: tuple[Path, ...] = ()
    broken_bias: float = 0.0

    @property
    def is_short(self) -> bool:
        return self.minutes < SHORT_MINUTES


def train_judge(
    judge: Judge, worlds: Mapping[str, World], config: JudgeTrainingConfig, rng: Random, folder: Path
) -> dict[str, float]:
    """Train for ``config.minutes`` and write the judge's file into the folder. The first phase resumes ``folder``/state
    if it exists; the second one always starts anew. Returns the accuracy on rendered clips."""
    torch.manual_seed(rng.getrandbits(32))
    clips_per_world = REPORT_CLIPS if config.is_short else 2 * REPORT_CLIPS

    def report(_step: int) -> dict[str, float]:
        by_world = [(name, accuracy(judge, world, clips_per_world)) for name, world in worlds.items()]
        return {f"{name} {q}": share for name, table in by_world for q, share in table.items()}

    trainer = JudgeTrainer(judge, worlds, config, rng)
    shutil.rmtree(folder / SECOND_PHASE_FOLDER, ignore_errors=True)
    for part, share, loss in (
        ("", FRAME_PHASE_SHARE, trainer.frame_loss),
        (SECOND_PHASE_FOLDER, 1 - FRAME_PHASE_SHARE, trainer.clip_and_crop_loss),
    ):
        for name, parameter in judge.named_parameters():
            parameter.requires_grad_(name.startswith(FRAME_ENCODER_PREFIXES) == (not part))
        optimiser = MuonAdamW(judge, muon_lr=0.01, adamw_lr=2e-3, adamw_prefixes=("still", "moving", "cover", "close"))
        budget = Budget(share * config.minutes, cooldown=0.3)
        train(judge, optimiser, budget, folder / part, loss, ema_decay=0.99, report_every=600, report=report)
    bias_towards_broken(judge.requires_grad_(False), config.broken_bias)
    save(judge, folder / FILE)
    return report(0)


class JudgeTrainer:
    """The losses of both phases, on data that it renders itself."""

    def __init__(self, judge: Judge, worlds: Mapping[str, World], config: JudgeTrainingConfig, rng: Random) -> None:
        self.judge, self.batch, self.config = judge, config.batch, config
        self.data = ClipReplayBuffer(
            judge, list(worlds.values()), rng, capacity=config.buffer_clips, device=device_of(judge)
        )
        self.corrupted = latent_corruptions.CorruptedClips(judge, config.corrupted) if config.corrupted else None
        self.labelled: LabelledClips | None = None
        self.reversed_tables = reversed_answers(judge)
        self.memory: deque[tuple[Tensor, ...]] = deque(maxlen=MEMORY_CLIPS)
        while self.data.count < min(config.buffer_clips, INITIAL_CLIPS[config.is_short] * config.batch):
            self.data.add(max(1, config.batch // 2))

    def frame_loss(self, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        self.data.add(1)
        frames = self._with_corrupted(self.data.frames(self.batch), CORRUPTED_CLIP_SHARE * 0.6)
        value, parts = self._loss_of_frames(self._corrupt_some(frames))
        return value, parts | {"rendered": torch.tensor(float(self.data.rendered))}

    def clip_and_crop_loss(self, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        if self.config.labelled and self.labelled is None:
            self.labelled = LabelledClips(self.judge, *self.config.labelled)
        self._encode_clips(max(1, self.batch // FRAMES_PER_NEW_CLIP))
        moving, parts = self._loss_of_clips()
        close, more = self._loss_of_crops()
        return moving + close, parts | more | {"rendered": torch.tensor(float(self.data.rendered))}

    # Single frames --------------------------------------------------------------------------------------------------

    def _with_corrupted(self, frames: Frames, share: float) -> Frames:
        """The rendered frames, and frames of corrupted latents for that share of them."""
        if self.corrupted is None:
            return frames
        return concatenate(frames, self.corrupted.frames(round(share * len(frames.pixels))))

    def _corrupt_some(self, frames: Frames) -> Frames:
        """Corrupt some of the first ``batch`` frames, which are rendered, and corrupt others mildly; label them
        accordingly."""
        pixels, right = frames.pixels.clone(), frames.labels.clone()
        count = round(CORRUPTED_SHARES["broken"] * self.batch)
        corrupted, mildly_corrupted = (
            slice(0, count),
            slice(count, count + round(CORRUPTED_SHARES["worn"] * self.batch)),
        )
        pixels[corrupted] = corruptions.corrupt(_slice_frames(frames, corrupted))
        pixels[mildly_corrupted] = corruptions.corrupt_mildly(_slice_frames(frames, mildly_corrupted))
        whole, subject = QUESTIONS.index("whole"), QUESTIONS.index("subject")
        right[corrupted, whole], right[corrupted, subject] = self.judge.options["whole"].index(BROKEN), IGNORED
        unnoticed = (
            corruptions.subject_difference(_slice_frames(frames, corrupted), pixels[corrupted]) < MIN_VISIBLE_CHANGE
        )
        right[:count, whole].masked_fill_(unnoticed, IGNORED)
        tiny = frames.cover.mean(dim=(1, 2, 3)) < MIN_SUBJECT_AREA
        for question in (subject, whole):
            right[: self.batch, question].masked_fill_(tiny[: self.batch], IGNORED)
        return Frames(pixels, frames.background, frames.cover, right)

    def _loss_of_frames(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        seen = self.judge.encode_frames(augment(frames.pixels[:, None])[:, 0])
        logits = self.judge.frame_logits(seen)
        parts = {q: self._cross_entropy(logits[q], frames.labels, q) for q in FRAME_QUESTIONS}
        cover = F.avg_pool2d(frames.cover, SIDE // seen.cover.shape[-1])
        parts["cover"] = F.binary_cross_entropy_with_logits(seen.cover, cover)
        return self._weighted_sum(parts), {q: part.detach() for q, part in parts.items()}

    def _cross_entropy(self, logits: Tensor, right: Tensor, question: str) -> Tensor:
        """Mean cross-entropy of the labels that are not IGNORED."""
        labels_of_question = right[:, QUESTIONS.index(question)]
        total = F.cross_entropy(logits, labels_of_question, ignore_index=IGNORED, reduction="sum")
        return total / (labels_of_question != IGNORED).sum().clamp_min(1)

    def _weighted_sum(self, parts: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([LOSS_WEIGHTS.get(q, 1.0) * part for q, part in parts.items()]).sum()

    # The subject close up -------------------------------------------------------------------------------------------

    def _loss_of_crops(self) -> tuple[Tensor, dict[str, Tensor]]:
        frames = self._corrupt_some(self._with_corrupted(self.data.frames(self.batch), CORRUPTED_CLIP_SHARE))
        empty = torch.rand(len(frames.pixels), device=frames.pixels.device) < EMPTY_CROP_SHARE
        pixels = torch.where(empty.view(-1, 1, 1, 1), frames.background, frames.pixels)
        right = frames.labels.clone()
        right[empty, QUESTIONS.index("whole")] = self.judge.options["whole"].index(BROKEN)
        right[empty, QUESTIONS.index("subject")] = IGNORED
        frames = Frames(pixels, frames.background, frames.cover, right)
        if self.labelled is not None:
            frames = concatenate(frames, self.labelled.frames(round(LABELLED_CLIP_SHARE * self.batch)))
        crops = crop_subject(frames.pixels, frames.cover, _random_rotations(frames.pixels))
        logits = self.judge.close_up_logits(augment(crops[:, None])[:, 0])
        parts = {f"close {q}": self._cross_entropy(logits[q], frames.labels, q) for q in CROP_QUESTIONS}
        return torch.stack(list(parts.values())).sum(), {q: part.detach() for q, part in parts.items()}

    # Clips ----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _encode_clips(self, count: int) -> None:
        """Store the frame features of ``count`` new clips."""
        self.data.add(count)
        pixels, right = self.data.latest(count)
        seen = self.judge.encode_frames(augment(pixels).flatten(0, 1))
        whats = [x.half().unflatten(0, pixels.shape[:2]) for x in (seen.fine, seen.cover, seen.subject)]
        self.memory.extend(zip(*whats, right, strict=True))

    def _loss_of_clips(self) -> tuple[Tensor, dict[str, Tensor]]:
        drawn = torch.randint(len(self.memory), (min(CLIPS_PER_STEP, self.batch),)).tolist()
        *seen, right = (torch.stack(column) for column in zip(*(self.memory[i] for i in drawn), strict=True))
        half, frames = len(drawn) // 2, seen[0].shape[1]
        fine, cover, what = (torch.cat([x[:half].flip(1), x[half:]]).flatten(0, 1).float() for x in seen)
        right = torch.cat([map_answers(self.reversed_tables, right[:half]), right[half:]])
        places = self.judge.describe_frames(fine, cover, what, frames, MAP_DROPOUT)
        logits = self.judge.clip_logits(places.unflatten(0, (len(drawn), -1)))
        parts = {q: self._cross_entropy(logits[q], right, q) for q in MOTION_QUESTIONS}
        return self._weighted_sum(parts), {q: part.detach() for q, part in parts.items()}


def _random_rotations(pixels: Tensor) -> Tensor:
    """(N, 2, 2): small random rotations and magnifications."""
    angle = ROTATION_STD * torch.randn(len(pixels), device=pixels.device)
    size = (LOG_ZOOM_STD * torch.randn(len(pixels), device=pixels.device)).exp()
    cosine, sine = angle.cos() * size, angle.sin() * size
    return torch.stack([cosine, -sine, sine, cosine], dim=1).unflatten(1, (2, 2))


def _slice_frames(frames: Frames, which: slice) -> Frames:
    return Frames(frames.pixels[which], frames.background[which], frames.cover[which], frames.labels[which])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain.judge_training", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=64, help="frames of a step; a sixth as many clips")
    parser.add_argument("--world", nargs="+", choices=WORLDS, default=["small", "medium", "rich", "rich-v2"])
    parser.add_argument("--buffer-clips", "--kept", type=int, default=2048, help="in memory, 280 KB each")
    parser.add_argument("--corrupted", "--mimics", type=Path, help="a file that minitrain.latent_corruptions wrote")
    parser.add_argument(
        "--labelled",
        "--painted",
        type=Path,
        nargs=2,
        default=(),
        metavar=("FOLDER", "LABELS"),
        help="human labels",
    )
    parser.add_argument("--broken-bias", "--lean", type=float, default=0.0, help='added to the logit of "broken"')
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/judge"))
    args = parser.parse_args(argv)
    worlds = {name: WORLDS[name] for name in args.world}
    config = JudgeTrainingConfig(
        args.minutes, args.batch, args.buffer_clips, args.corrupted, tuple(args.labelled), args.broken_bias
    )
    judge = Judge(options_of(worlds.values())).to(args.device)
    print(json.dumps(train_judge(judge, worlds, config, Random(), args.folder)))


if __name__ == "__main__":
    main()
