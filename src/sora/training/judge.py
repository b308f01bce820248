"""A classifier of pixels that tells what a clip shows: ``python -m sora.training.judge --minutes 5`` trains it,
``python -m sora.training.judge --score 200`` lets it score what the embedded model paints from held-out captions.

It is trained on rendered clips alone, never on painted ones nor on latents. In half of them the subject looks against
its way, so that motion must be read from motion.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from sora import weights
from sora.training.captions import caption
from sora.training.loop import Budget, train
from sora.training.optim import Both
from sora.training.vae import SIZES
from sora.training.world import WORLDS, Scene, World, draw_scene, mirrored, render

SIDE, SHOWN = 48, 9  # pixels and frames the judge looks at: every second frame of 17
QUESTIONS = ("subject", "setting", "motion")
FILE = "judge.safetensors"
SCORED = 4 * 10**9  # seed of the first scored scene; settings are to be chosen on other scenes
KEPT, LOOKS = 8192, 4  # rendered clips kept, and how often each is looked at on average: rendering costs more


def choices(world: World) -> dict[str, tuple[str, ...]]:
    """What each question may be answered with."""
    return {"subject": world.subjects, "setting": world.settings, "motion": world.motions}


class Judge(nn.Module):
    """(B, SHOWN, 3, SIDE, SIDE) in [-1, 1] to logits for each of QUESTIONS."""

    def __init__(self, world: World, width: int = 128) -> None:
        super().__init__()
        stages = ((6, 32), (32, 64), (64, 96))  # a frame, and what changed since the one before
        self.look = nn.Sequential(
            *(m for i, o in stages for m in (nn.Conv2d(i, o, 3, 2, 1), nn.GroupNorm(8, o), nn.SiLU())),
            nn.Conv2d(96, 96, 3, 1, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(96 * (SIDE // 8) ** 2, width),
        )
        self.follow = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(width * SHOWN, 2 * width),
            nn.SiLU(),
        )
        self.heads = nn.ModuleList(nn.Linear(3 * width, len(c)) for c in choices(world).values())

    def forward(self, x: Tensor) -> list[Tensor]:
        changes = torch.cat([torch.zeros_like(x[:, :1]), x.diff(dim=1)], dim=1)
        frames = self.look(torch.cat([x, changes], dim=2).flatten(0, 1)).unflatten(0, x.shape[:2])
        features = torch.cat([F.silu(frames).mean(dim=1), self.follow(frames.transpose(1, 2))], dim=1)
        return [head(features) for head in self.heads]


def shown(film_FYXC: np.ndarray) -> Tensor:
    """(SHOWN, 3, SIDE, SIDE): what the judge looks at of a clip of 17 frames."""
    frames = torch.from_numpy(np.ascontiguousarray(film_FYXC[::2])).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(frames, (SIDE, SIDE), mode="area")


def truth(scene: Scene, world: World) -> Tensor:
    """The right answer's index for each question."""
    return torch.tensor([options.index(getattr(scene, q)) for q, options in choices(world).items()])


class Rendered(IterableDataset):
    """An endless stream of (shown, truth) from freshly rendered scenes."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        torch.set_num_threads(1)
        rng = Random()
        while True:
            scene = draw_scene(self.world, rng.getrandbits(48), held=False)
            height, width = rng.choice(SIZES)
            film, _ = render(mirrored(scene) if rng.random() < 0.5 else scene, 17, height, width)
            yield shown(film), truth(scene, self.world)


def roughened(x: Tensor) -> Tensor:
    """A little noise, blur and brightness, so that the judge does not hang on the renderer's crispness."""
    batch = x.shape[0]
    soft = F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(x)
    share = torch.rand(batch, 1, 1, 1, 1) * (torch.rand(batch, 1, 1, 1, 1) < 0.5)
    x = x.lerp(soft, share) * (1 + 0.1 * torch.randn(batch, 1, 1, 1, 1)) + 0.05 * torch.randn(batch, 1, 3, 1, 1)
    return x + 0.05 * torch.rand(batch, 1, 1, 1, 1) * torch.randn_like(x)


@torch.no_grad()
def on_rendered(judge: Judge, world: World, count: int = 500, seed: int = 2 * 10**9) -> dict[str, float]:
    """Share of right answers on held-out rendered clips."""
    right = torch.zeros(len(QUESTIONS))
    for i in range(count):
        scene = draw_scene(world, seed + i, held=True)
        film, _ = render(scene, 17, *SIZES[i % len(SIZES)])
        right += answer(judge, film) == truth(scene, world)
    return dict(zip(QUESTIONS, (right / count).tolist(), strict=True))


@torch.no_grad()
def prefers(judge: Judge, film_FYXC: np.ndarray, world: World, motion: str) -> bool:
    """Left against right alone: whether the judge finds the asked one of the two likelier than the other."""
    logits = judge(shown(film_FYXC)[None])[QUESTIONS.index("motion")][0]
    other = "right" if motion == "left" else "left"
    return bool(logits[world.motions.index(motion)] > logits[world.motions.index(other)])


@torch.no_grad()
def answer(judge: Judge, film_FYXC: np.ndarray) -> Tensor:
    """The judge's choice for each question."""
    return torch.stack([logits[0].argmax() for logits in judge(shown(film_FYXC)[None])])


def load(world: World) -> Judge:
    """The judge that ships beside the weights it scored."""
    return weights.load_into(Judge(world), weights.asset(FILE), dtype=torch.float32)


def score(world: World, count: int, overrides: dict[str, float] | None = None) -> dict[str, float]:
    """What the embedded model shows of ``count`` held-out captions, painted through the engine at its defaults."""
    from sora import engine, families, operations, placement

    spec = families.find("mini")
    device = placement.choose_device(None)
    model = families.load(spec, device, placement.choose_dtype(None, device))
    judge, rng, right, sideways, sides = load(world), Random(13), [], [], []
    for i in range(count):
        scene = draw_scene(world, SCORED + i, held=True)
        height, width = SIZES[i % len(SIZES)]
        d = spec.defaults
        chosen = {"seed": i, "steps": d.steps, "guidance": d.guidance, "shift": d.shift, "step": d.step}
        settings = engine.Settings(**{**chosen, **(overrides or {})})  # type: ignore[arg-type]
        text = caption(scene, rng, complete=True).text
        plan = operations.generate((text,), frames=17, form=spec.form((height, width), d.fps))
        film = torch.cat(list(engine.paint(model, plan, settings))).permute(0, 2, 3, 1).numpy()
        verdict = answer(judge, film) == truth(scene, world)
        right.append(verdict.tolist())
        if scene.motion in ("left", "right"):
            sideways.append(bool(verdict[2]))
            sides.append(prefers(judge, film, world, scene.motion))
    table = np.array(right)
    figures = dict(zip(QUESTIONS, table.mean(axis=0).tolist(), strict=True))
    return {
        **figures,
        "all": float(table.all(axis=1).mean()),
        "motion, of left and right clips": float(np.mean(sideways)),
        "left against right": float(np.mean(sides)),
        "left and right clips": len(sides),
        "clips": count,
    }


def _shuffled(kept: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A batch drawn from two kept ones, so that no two batches are the same."""
    (a, x), (b, y) = random.sample(kept, 2)
    order = torch.randperm(2 * len(a))[: len(a)]
    return torch.cat([a, b])[order], torch.cat([x, y])[order]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--folder", type=Path, default=Path("runs/judge"))
    parser.add_argument("--score", type=int, metavar="CLIPS", help="score the embedded model instead of training")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="guidance, steps, shift for --score")
    args = parser.parse_args()
    world = WORLDS[args.world]
    if args.score:
        overrides = {k: (int if k == "steps" else float)(v) for k, v in (pair.split("=") for pair in args.set)}
        print(json.dumps({"rendered": on_rendered(load(world), world), "painted": score(world, args.score, overrides)}))
        return
    judge = Judge(world)
    stream = iter(DataLoader(Rendered(world), batch_size=args.batch, num_workers=2, prefetch_factor=4))
    kept: deque[tuple[Tensor, Tensor]] = deque(maxlen=KEPT // args.batch)

    def loss(_done: float) -> tuple[Tensor, dict[str, float]]:
        while len(kept) < 2:
            kept.append(next(stream))
        if random.random() < 1 / LOOKS:
            kept.append(next(stream))
        x, right = _shuffled(kept)
        value = torch.stack([F.cross_entropy(g, right[:, i]) for i, g in enumerate(judge(roughened(x)))]).sum()
        return value, {"loss": value.item()}

    optimiser = Both(judge, matrix_lr=0.01, other_lr=2e-3, plain=("heads",))
    report = lambda _: on_rendered(judge, world, 200)  # noqa: E731
    train(judge, optimiser, Budget(args.minutes), args.folder, loss, average=0.99, every=60, report=report)
    save_file({k: v.half().contiguous() for k, v in judge.state_dict().items()}, args.folder / FILE)
    print(json.dumps(on_rendered(judge, world)))


if __name__ == "__main__":
    main()
