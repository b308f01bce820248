"""A classifier of pixels that tells what a clip shows: ``python -m sora.training.judge --minutes 25`` trains it.

It is trained on rendered clips alone (``training.rough``), never on painted ones nor on latents. In half of them the
subject looks against its way, so that motion must be read from motion. It knows every subject of the world and those
that are in no world, so that it can tell whether a model has learnt one of these.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sora import weights
from sora.errors import ModelError
from sora.training.scene import Film
from sora.training.telling.facts import facts
from sora.training.worlds.subjects import UNSEEN
from sora.training.worlds.world import World

FRAMES, SIDE = 17, 64  # frames of a clip; pixels of the square that the judge looks at
SHOWN = (FRAMES + 1) // 2  # every second frame of them
QUESTIONS = (
    *("subject", "setting", "motion", "camera", "weather"),
    *("hour", "style", "second", "relation", "event"),
)
"""What it is asked of a clip, with the words of ``telling.facts``: "" is the answer where there is none."""

FILE = "judge.safetensors"
IGNORED = -100  # the index of an answer that is not asked for, as in torch.nn.functional.cross_entropy

Options = Mapping[str, Sequence[str]]


def options_of(worlds: Iterable[World]) -> dict[str, tuple[str, ...]]:
    """What each question may be answered with, for films of any of the worlds."""
    found: dict[str, dict[str, None]] = {q: {} for q in QUESTIONS}
    for world in worlds:
        lists = {
            "subject": (*world.subjects, *UNSEEN),
            "setting": world.settings,
            "motion": world.motions,
            "camera": ("", *(c for c in world.cameras if c != "static")),
            "weather": ("", *world.weathers),
            "hour": ("", *world.hours),
            "style": world.styles,
            "second": ("", *(world.subjects if world.pairs else ())),
            "relation": ("", *(world.relations if world.pairs else ())),
            "event": ("", *(world.events if world.eventful else ())),
        }
        for question, words in lists.items():
            found[question] |= dict.fromkeys(words)
    return {question: tuple(words) for question, words in found.items()}


class Look(nn.Module):
    """One frame and what changed since the one before, (N, 6, SIDE, SIDE), to what there is wherever it stands and
    where it stands, both (N, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(nn.PixelUnshuffle(4), nn.Conv2d(96, 64, 1), nn.SiLU()),
            *(nn.Conv2d(64, 96, 3, 2, 1), nn.GroupNorm(8, 96), nn.SiLU()),
            *(nn.Conv2d(96, 96, 3, 1, 1), nn.GroupNorm(8, 96), nn.SiLU()),
        )
        self.what = nn.Conv2d(96, width, 1)
        self.where = nn.Sequential(
            nn.Conv2d(96, 32, 1), nn.SiLU(), nn.Flatten(), nn.Linear(32 * (SIDE // 8) ** 2, width), nn.SiLU()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.trunk(x)
        return self.what(x).amax(dim=(2, 3)), self.where(x)


class Judge(nn.Module):
    """(B, SHOWN, 3, SIDE, SIDE) in [-1, 1] to logits for each of QUESTIONS, over the words of ``options``."""

    def __init__(self, options: Options, width: int = 128) -> None:
        super().__init__()
        self.options = {q: tuple(options[q]) for q in QUESTIONS}
        self.look = Look(width)
        self.follow = nn.Sequential(
            *(nn.Conv1d(2 * width, width, 3, padding=1), nn.SiLU(), nn.Flatten()),
            *(nn.Linear(width * SHOWN, 2 * width), nn.SiLU()),
        )
        self.heads = nn.ModuleList(nn.Linear(3 * width, len(words)) for words in self.options.values())

    def frames(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, 3, SIDE, SIDE) to ``Look``'s two answers for each frame, (B, F, width)."""
        what, where = self.look(_with_changes(x))
        return what.unflatten(0, x.shape[:2]), where.unflatten(0, x.shape[:2])

    def forward(self, x: Tensor) -> list[Tensor]:
        what, where = self.frames(x)
        course = self.follow(torch.cat([what, where], dim=2).transpose(1, 2))
        known = torch.cat([what.mean(dim=1), course], dim=1)
        return [head(known) for head in self.heads]

    def truth(self, film: Film) -> Tensor:
        """The right answer's index for each question. Raises ModelError for a film of a world it does not know."""
        told = facts(film)
        for question, words in self.options.items():
            if told[question] not in words:
                known = ", ".join(word for word in words if word) or "none"
                raise ModelError(
                    f"the judge knows no {question} {told[question]!r}, only {known}; train one on its world"
                )
        return torch.tensor([words.index(told[q]) for q, words in self.options.items()])


def _with_changes(x_BFCYX: Tensor) -> Tensor:
    """(B F, 6, Y, X): each frame with what changed since the one before."""
    changes = torch.cat([torch.zeros_like(x_BFCYX[:, :1]), x_BFCYX.diff(dim=1)], dim=1)
    return torch.cat([x_BFCYX, changes], dim=2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


# Looking at clips ---------------------------------------------------------------------------------------------------


def reduced(frames_BFCYX: Tensor) -> Tensor:
    """(B, F, 3, SIDE, SIDE) in [0, 255] of clips of any size, which are squeezed into the square."""
    small = F.interpolate(frames_BFCYX.flatten(0, 1).float(), (SIDE, SIDE), mode="area")
    return small.unflatten(0, (len(frames_BFCYX), -1))


def shown(frames_BFCYX: Tensor) -> Tensor:
    """What the judge looks at of clips of FRAMES frames (uint8, any size). Raises ValueError for other lengths."""
    if frames_BFCYX.shape[1] != FRAMES:
        raise ValueError(f"the judge looks at {FRAMES} frames, not {frames_BFCYX.shape[1]}")
    return reduced(frames_BFCYX[:, ::2]) / 127.5 - 1


def batched(film_FYXC: np.ndarray) -> Tensor:
    """One film as (1, F, 3, Y, X)."""
    return torch.from_numpy(np.ascontiguousarray(film_FYXC)).permute(0, 3, 1, 2)[None]


@torch.inference_mode()
def answers(judge: Judge, frames_BFCYX: Tensor) -> list[dict[str, str]]:
    """The judge's choice for each question, of each clip of FRAMES frames (uint8, any size, any device)."""
    logits = judge(shown(frames_BFCYX).to(device_of(judge)))
    picked = torch.stack([each.argmax(dim=1) for each in logits], dim=1).tolist()
    return [{q: words[i] for (q, words), i in zip(judge.options.items(), row, strict=True)} for row in picked]


def answer(judge: Judge, film_FYXC: np.ndarray) -> dict[str, str]:
    """The judge's choice for each question, of one clip of FRAMES frames, uint8."""
    return answers(judge, batched(film_FYXC))[0]


@torch.inference_mode()
def prefers(judge: Judge, film_FYXC: np.ndarray, wish: str, other: str, question: str = "motion") -> bool:
    """Whether the judge finds one answer likelier than another, whatever it thinks of the rest."""
    logits = judge(shown(batched(film_FYXC)).to(device_of(judge)))[QUESTIONS.index(question)][0]
    words = judge.options[question]
    return bool(logits[words.index(wish)] > logits[words.index(other)])


def features(judge: Judge, frames_BFCYX: Tensor) -> Tensor:
    """(B, (F + 1) // 2, channels): what the judge makes of every second frame before it decides, of clips of any
    length and size, uint8, on its device. For the alignment of other networks (REPA, Yu et al. 2024)."""
    what, where = judge.frames(reduced(frames_BFCYX[:, ::2]) / 127.5 - 1)
    return torch.cat([what, where], dim=2)


def maps(judge: Judge, x_BFCYX: Tensor) -> Tensor:
    """(B F, channels, Y / 8, X / 8): what the judge's convolutions see in frames of [-1, 1] and in their changes, sides
    a multiple of 8, at unit length in each place. For the distance of a perceptual loss (LPIPS, Zhang et al. 2018,
    arXiv 1801.03924), here with a network that was trained on nothing but the cartoon world."""
    return F.normalize(judge.look.trunk(_with_changes(x_BFCYX)), dim=1)


def device_of(judge: Judge) -> torch.device:
    return next(judge.parameters()).device


# Files --------------------------------------------------------------------------------------------------------------


def save(judge: Judge, path: Path) -> None:
    """Its weights in float16, with the words it answers with."""
    tensors = {name: tensor.half().contiguous() for name, tensor in judge.state_dict().items()}
    save_file(tensors, path, metadata={"options": json.dumps(judge.options)})


def load(path: Path | None = None, device: str | torch.device = "cpu") -> Judge:
    """A judge from its file, by default the one that ships beside the weights it scored. Raises ModelError."""
    path = path or weights.asset(FILE)
    weights.shapes(path)
    try:
        with safe_open(path, framework="pt") as file:
            options = json.loads(file.metadata()["options"])
    except (SafetensorError, TypeError, KeyError, ValueError):
        raise ModelError(f"{path} holds no judge of this version; train one: python -m sora.training.judge") from None
    return weights.load_into(Judge(options), path, device=device, dtype=torch.float32)


# Training -----------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    from sora.training.loop import Budget, train
    from sora.training.optim import Both
    from sora.training.rough import Clips, on_rendered, roughened
    from sora.training.worlds.world import WORLDS

    parser = argparse.ArgumentParser(prog="python -m sora.training.judge", description=__doc__)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--world", nargs="+", choices=WORLDS, default=["small", "medium"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/judge"))
    args = parser.parse_args(argv)
    worlds = {name: WORLDS[name] for name in args.world}
    judge = Judge(options_of(worlds.values())).to(args.device)
    clips = Clips(judge, list(worlds.values()), Random(), batch=args.batch, device=args.device)

    def loss(_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        pixels, right = clips.next()
        logits = judge(roughened(pixels))
        parts = [F.cross_entropy(each, right[:, i], ignore_index=IGNORED) for i, each in enumerate(logits)]
        value = torch.stack(parts).sum()
        return value, {"loss": value.detach(), "rendered": torch.tensor(float(clips.rendered))}

    def report(count: int) -> dict[str, float]:
        named = [(name, on_rendered(judge, world, count)) for name, world in worlds.items()]
        return {f"{name} {q}": share for name, table in named for q, share in table.items()}

    optimiser = Both(judge, matrix_lr=0.01, other_lr=2e-3, plain=("heads",))
    few = 20 if args.minutes < 5 else 100
    train(
        judge, optimiser, Budget(args.minutes), args.folder, loss, average=0.99, every=400, report=lambda _: report(few)
    )
    save(judge, args.folder / FILE)
    print(json.dumps(report(5 * few)))


if __name__ == "__main__":
    main()
