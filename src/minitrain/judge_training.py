"""Trains the judge in two parts, ``python -m minitrain.judge_training``: first to see, then to judge by what it sees.

The network that sees learns from single frames of many clips, which tells it more than all frames of a few. Then it is
left as it is, and two others learn beside it: one follows a subject through clips by what was seen of each frame, one
looks at the subject close up and tells whole from broken. Played backwards, a clip teaches the opposite motion.
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

from minitrain import corruptions, labelled_clips, latent_corruptions
from minitrain.judge import (
    BROKEN,
    CLOSE,
    FILE,
    IGNORED,
    MOVING,
    QUESTIONS,
    SIDE,
    STILL,
    Judge,
    close_up,
    device_of,
    lean,
    options_of,
    save,
)
from minitrain.judge_augmentation import roughened
from minitrain.judge_data import Clips, Frames, answered_by, joined, reversed_in_time
from minitrain.judge_evaluation import on_rendered
from minitrain.optim import Both
from minitrain.training_loop import Budget, train
from minitrain.worlds.world import WORLDS, World

SEEING, CLOSELY = 0.5, "closely"  # share of the time of the first part; the folder of the second
FRESH = 24  # frames of a step for each clip that is rendered and looked at in it
FOLLOWED, REMEMBERED = 64, 4096  # clips that are followed in a step, and that are remembered
FIRST = {True: 2, False: 12}  # clips rendered before the first step of a short and a long training, for each frame
SHARES = {"broken": 0.35, "worn": 0.2}  # of rendered frames; the rest is left as it is
MIMICS, PAINTED = 0.5, 0.4  # frames of mimics and of painted clips for each rendered one
FORGET = 0.5  # share of the map of a clip's frames that is dropped
EMPTY = 0.04  # share of close looks at where a subject was
TURNED, CLOSER = 0.3, 0.12  # deviations of the angle in radians and of the magnification of close looks
SHORT, FEW = 5.0, 20  # minutes below which a training is short; clips of each world in its reports, else twice that
SEES = ("look.", "cover.", "still.")  # parameters of the network that sees
LEAST = 0.02  # of the picture: smaller subjects are not asked for
VISIBLE = 0.1  # how far a broken subject's pixels must be from what they were, in [0, 2]
WEIGHTS = {"weather": 0.5, "hour": 0.5, "style": 0.5, "second": 0.5, "cover": 2.0}  # of losses, else 1


@dataclass(frozen=True)
class Course:
    """minutes: of training. batch: frames of a step. kept: rendered clips in memory. mimics: a file of them, or None
    to learn what is broken from rendered pictures alone. painted: a folder of kept clips and a file of labels for
    some of them, or nothing. lean: logits by which a subject is called broken more readily than was learnt, to be
    chosen on labelled clips that were not learnt from."""

    minutes: float
    batch: int = 64
    kept: int = 2048
    mimics: Path | None = None
    painted: tuple[Path, ...] = ()
    lean: float = 0.0

    @property
    def short(self) -> bool:
        return self.minutes < SHORT


def fit(judge: Judge, worlds: Mapping[str, World], course: Course, rng: Random, folder: Path) -> dict[str, float]:
    """Train for that long and write the judge's file into the folder. Seeing goes on from ``folder``/state where there
    is one; judging begins anew, on what is seen then. Returns shares of right answers on rendered clips."""
    torch.manual_seed(rng.getrandbits(32))
    few = FEW if course.short else 2 * FEW

    def report(_step: int) -> dict[str, float]:
        named = [(name, on_rendered(judge, world, few)) for name, world in worlds.items()]
        return {f"{name} {q}": share for name, table in named for q, share in table.items()}

    lesson = Lesson(judge, worlds, course, rng)
    shutil.rmtree(folder / CLOSELY, ignore_errors=True)
    for part, share, loss in (("", SEEING, lesson.see), (CLOSELY, 1 - SEEING, lesson.judge_by_it)):
        for name, parameter in judge.named_parameters():
            parameter.requires_grad_(name.startswith(SEES) == (not part))
        optimiser = Both(judge, matrix_lr=0.01, other_lr=2e-3, plain=("still", "moving", "cover", "close"))
        budget = Budget(share * course.minutes, cooldown=0.3)
        train(judge, optimiser, budget, folder / part, loss, average=0.99, every=600, report=report)
    lean(judge.requires_grad_(False), course.lean)
    save(judge, folder / FILE)
    return report(0)


class Lesson:
    """The losses of both parts, on data of its own making."""

    def __init__(self, judge: Judge, worlds: Mapping[str, World], course: Course, rng: Random) -> None:
        self.judge, self.batch, self.course = judge, course.batch, course
        self.data = Clips(judge, list(worlds.values()), rng, kept=course.kept, device=device_of(judge))
        self.mimics = latent_corruptions.Mimics(judge, course.mimics) if course.mimics else None
        self.painted: labelled_clips.Painted | None = None
        self.back = reversed_in_time(judge)
        self.looked: deque[tuple[Tensor, ...]] = deque(maxlen=REMEMBERED)
        while self.data.held < min(course.kept, FIRST[course.short] * course.batch):
            self.data.add(max(1, course.batch // 2))

    def see(self, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        self.data.add(1)
        frames = self._joined(self.data.frames(self.batch), MIMICS * 0.6)
        value, parts = self._of_frames(self._spoilt(frames))
        return value, parts | {"rendered": torch.tensor(float(self.data.rendered))}

    def judge_by_it(self, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        if self.course.painted and self.painted is None:
            self.painted = labelled_clips.Painted(self.judge, *self.course.painted)
        self._remember(max(1, self.batch // FRESH))
        moving, parts = self._of_clips()
        close, more = self._of_close()
        return moving + close, parts | more | {"rendered": torch.tensor(float(self.data.rendered))}

    # Single frames --------------------------------------------------------------------------------------------------

    def _joined(self, frames: Frames, share: float) -> Frames:
        """Rendered frames, and mimics for that share of them."""
        if self.mimics is None:
            return frames
        return joined(frames, self.mimics.frames(round(share * len(frames.pixels))))

    def _spoilt(self, frames: Frames) -> Frames:
        """Some of the first ``batch`` frames, which are rendered, broken and some worn."""
        pixels, right = frames.pixels.clone(), frames.right.clone()
        count = round(SHARES["broken"] * self.batch)
        spoilt, mended = slice(0, count), slice(count, count + round(SHARES["worn"] * self.batch))
        pixels[spoilt] = corruptions.broken(_part(frames, spoilt))
        pixels[mended] = corruptions.worn(_part(frames, mended))
        whole, subject = QUESTIONS.index("whole"), QUESTIONS.index("subject")
        right[spoilt, whole], right[spoilt, subject] = self.judge.options["whole"].index(BROKEN), IGNORED
        unseen = corruptions.apart(_part(frames, spoilt), pixels[spoilt]) < VISIBLE
        right[:count, whole].masked_fill_(unseen, IGNORED)
        faint = frames.cover.mean(dim=(1, 2, 3)) < LEAST
        for question in (subject, whole):
            right[: self.batch, question].masked_fill_(faint[: self.batch], IGNORED)
        return Frames(pixels, frames.bare, frames.cover, right)

    def _of_frames(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        seen = self.judge.see(roughened(frames.pixels[:, None])[:, 0])
        logits = self.judge.of_frames(seen)
        parts = {q: self._error(logits[q], frames.right, q) for q in STILL}
        cover = F.avg_pool2d(frames.cover, SIDE // seen.cover.shape[-1])
        parts["cover"] = F.binary_cross_entropy_with_logits(seen.cover, cover)
        return self._sum(parts), {q: part.detach() for q, part in parts.items()}

    def _error(self, logits: Tensor, right: Tensor, question: str) -> Tensor:
        """Mean cross-entropy of those that are asked."""
        wish = right[:, QUESTIONS.index(question)]
        total = F.cross_entropy(logits, wish, ignore_index=IGNORED, reduction="sum")
        return total / (wish != IGNORED).sum().clamp_min(1)

    def _sum(self, parts: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([WEIGHTS.get(q, 1.0) * part for q, part in parts.items()]).sum()

    # The subject close up -------------------------------------------------------------------------------------------

    def _of_close(self) -> tuple[Tensor, dict[str, Tensor]]:
        frames = self._spoilt(self._joined(self.data.frames(self.batch), MIMICS))
        gone = torch.rand(len(frames.pixels), device=frames.pixels.device) < EMPTY
        pixels = torch.where(gone.view(-1, 1, 1, 1), frames.bare, frames.pixels)
        right = frames.right.clone()
        right[gone, QUESTIONS.index("whole")] = self.judge.options["whole"].index(BROKEN)
        right[gone, QUESTIONS.index("subject")] = IGNORED
        frames = Frames(pixels, frames.bare, frames.cover, right)
        if self.painted is not None:
            frames = joined(frames, self.painted.frames(round(PAINTED * self.batch)))
        crops = close_up(frames.pixels, frames.cover, _turns(frames.pixels))
        logits = self.judge.of_close(roughened(crops[:, None])[:, 0])
        parts = {f"close {q}": self._error(logits[q], frames.right, q) for q in CLOSE}
        return torch.stack(list(parts.values())).sum(), {q: part.detach() for q, part in parts.items()}

    # Clips ----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _remember(self, count: int) -> None:
        """What the judge sees in that many more clips."""
        self.data.add(count)
        pixels, right = self.data.latest(count)
        seen = self.judge.see(roughened(pixels).flatten(0, 1))
        whats = [x.half().unflatten(0, pixels.shape[:2]) for x in (seen.fine, seen.cover, seen.what)]
        self.looked.extend(zip(*whats, right, strict=True))

    def _of_clips(self) -> tuple[Tensor, dict[str, Tensor]]:
        drawn = torch.randint(len(self.looked), (min(FOLLOWED, self.batch),)).tolist()
        *seen, right = (torch.stack(column) for column in zip(*(self.looked[i] for i in drawn), strict=True))
        half, frames = len(drawn) // 2, seen[0].shape[1]
        fine, cover, what = (torch.cat([x[:half].flip(1), x[half:]]).flatten(0, 1).float() for x in seen)
        right = torch.cat([answered_by(self.back, right[:half]), right[half:]])
        places = self.judge.places(fine, cover, what, frames, FORGET)
        logits = self.judge.of_course(places.unflatten(0, (len(drawn), -1)))
        parts = {q: self._error(logits[q], right, q) for q in MOVING}
        return self._sum(parts), {q: part.detach() for q, part in parts.items()}


def _turns(pixels: Tensor) -> Tensor:
    """(N, 2, 2): a little turned, and nearer or farther."""
    angle = TURNED * torch.randn(len(pixels), device=pixels.device)
    size = (CLOSER * torch.randn(len(pixels), device=pixels.device)).exp()
    cosine, sine = angle.cos() * size, angle.sin() * size
    return torch.stack([cosine, -sine, sine, cosine], dim=1).unflatten(1, (2, 2))


def _part(frames: Frames, which: slice) -> Frames:
    return Frames(frames.pixels[which], frames.bare[which], frames.cover[which], frames.right[which])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain.judge_training", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=64, help="frames of a step; a sixth as many clips beside them")
    parser.add_argument("--world", nargs="+", choices=WORLDS, default=["small", "medium", "rich", "rich-v2"])
    parser.add_argument("--kept", type=int, default=2048, help="rendered clips held in memory, 280 KB each")
    parser.add_argument(
        "--mimics", type=Path, help="a file of minitrain.latent_corruptions, pictures broken like paint"
    )
    parser.add_argument(
        "--painted", type=Path, nargs=2, default=(), metavar=("FOLDER", "LABELS"), help="clips a person labelled"
    )
    parser.add_argument("--lean", type=float, default=0.0, help="how much more readily a subject is called broken")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/judge"))
    args = parser.parse_args(argv)
    worlds = {name: WORLDS[name] for name in args.world}
    course = Course(args.minutes, args.batch, args.kept, args.mimics, tuple(args.painted), args.lean)
    judge = Judge(options_of(worlds.values())).to(args.device)
    print(json.dumps(fit(judge, worlds, course, Random(), args.folder)))


if __name__ == "__main__":
    main()
