"""Rendered clips as the judge is trained on them: cut from the middle of films, mirrored, and roughened like paint."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from sora.training.judge import FRAMES, IGNORED, QUESTIONS, SIDE, Judge, answers, device_of, reduced
from sora.training.scene import Film
from sora.training.telling.facts import facts
from sora.training.worlds.render import render
from sora.training.worlds.subjects import UNSEEN
from sora.training.worlds.world import World, draw_film, mirrored

SIZES = ((128, 128), (96, 176), (176, 96), (112, 144), (144, 112))  # (height, width) that clips are rendered at
LATEST, STEP = 36, 4  # the last frame that a clip begins at; clips begin where latent frames do
HELD = 2 * 10**9  # seed of the first film that is scored
SEEN_UNTIL = {"grow": 12, "shrink": 12, "enter": 4, "leave": 4}  # when a motion is over that does not go on for ever
LIVELY = 0.25  # share of films with a moving camera, and with weather, at least
LOOKS = 6  # how often a rendered clip is looked at on average: rendering costs more than looking


class Clips:
    """An endless stream of batches. Rendered clips are kept for a while and mixed with those of other whiles."""

    def __init__(
        self,
        judge: Judge,
        worlds: Sequence[World],
        rng: Random,
        *,
        batch: int = 64,
        kept: int = 4096,
        device: str | torch.device = "cpu",
    ) -> None:
        self.judge, self.rng, self.batch, self.device = judge, rng, batch, device
        self.worlds = [livelier(world) for world in worlds]
        self.rendered = 0
        self._kept: deque[tuple[Tensor, Tensor]] = deque(maxlen=max(2, kept // batch))
        self._turned = turned(judge)

    def next(self) -> tuple[Tensor, Tensor]:
        """(pixels, right): (B, SHOWN, 3, SIDE, SIDE) in [-1, 1] and (B, questions) indices of the right answers, half
        of the clips seen in a looking-glass."""
        while len(self._kept) < 2 or self.rng.random() < 1 / LOOKS:
            self._kept.append(self._render())
            if len(self._kept) > 2:
                break
        (a, x), (b, y) = self.rng.sample(self._kept, 2)
        drawn = torch.randperm(2 * self.batch, device=x.device)[: self.batch]
        pixels, right = torch.cat([a, b])[drawn].float() / 127.5 - 1, torch.cat([x, y])[drawn]
        glass = torch.rand(self.batch, device=x.device) < 0.5
        pixels = torch.where(glass.view(-1, 1, 1, 1, 1), pixels.flip(-1), pixels)
        return pixels, torch.where(glass[:, None], self._reflected(right), right)

    def _reflected(self, right: Tensor) -> Tensor:
        other = [table.to(right)[right[:, i].clamp_min(0)] for i, table in enumerate(self._turned)]
        return torch.where(right == IGNORED, right, torch.stack(other, dim=1))

    def _render(self) -> tuple[Tensor, Tensor]:
        """A batch of one world and one size: pixels in uint8, and what is right."""
        (world,) = self.rng.choices(self.worlds, [len(w.subjects) for w in self.worlds])
        height, width = self.rng.choice(SIZES)
        drawn = [film_from(world, self.rng) for _ in range(self.batch)]
        films, starts = [film for film, _ in drawn], [start for _, start in drawn]
        clip = render(films, FRAMES, height, width, first=starts, device=self.device).frames_BFCYX
        pixels = reduced(clip[:, ::2]).round().to(torch.uint8)
        right = torch.stack([asked(self.judge, film, start) for film, start in drawn])
        self.rendered += len(films)
        return pixels, right.to(pixels.device)


def livelier(world: World) -> World:
    """The same world with more cameras that move and more weather, which are rare in some, and so learnt late."""
    return replace(world, panning=max(world.panning, LIVELY), weathered=max(world.weathered, LIVELY))


def film_from(world: World, rng: Random) -> tuple[Film, int]:
    """A film that may be trained on and the frame a clip of it begins at. As often as one of the world's subjects, it
    shows one that is in no world."""
    film = draw_film(world, rng.getrandbits(48), held=False)
    if rng.random() < len(UNSEEN) / (len(UNSEEN) + len(world.subjects)):
        film = _with_subject(film, rng.choice(tuple(UNSEEN)))
    if rng.random() < 0.5:
        film = mirrored(film)
    late = rng.random() < 0.4 and len(film.shots) == 1
    return film, STEP * rng.randint(0, LATEST // STEP) if late else 0


def _with_subject(film: Film, subject: str) -> Film:
    shots = (replace(s, actors=(replace(s.actors[0], subject=subject), *s.actors[1:])) for s in film.shots)
    return replace(film, shots=tuple(shots))


def asked(judge: Judge, film: Film, start: int) -> Tensor:
    """The right answers of a clip that begins at frame ``start``, without those it cannot show."""
    right = judge.truth(film)
    motion = facts(film)["motion"]
    if start > SEEN_UNTIL.get(motion.split("-")[0], LATEST):
        right[QUESTIONS.index("motion")] = IGNORED
    return right


def turned(judge: Judge) -> list[Tensor]:
    """For each question, the index of what an answer becomes in a looking-glass."""
    other = str.maketrans({"<": ">", ">": "<"})
    tables = []
    for words in judge.options.values():
        signs = [w.replace("left", "<").replace("right", ">").translate(other) for w in words]
        names = [s.replace("<", "left").replace(">", "right") for s in signs]
        tables.append(torch.tensor([words.index(n) if n in words else i for i, n in enumerate(names)]))
    return tables


# Roughening ---------------------------------------------------------------------------------------------------------


def roughened(x: Tensor) -> Tensor:
    """Clips as a model might have painted and a codec have kept them, so that the judge does not hang on the renderer's
    crispness: each defect in half of them, (B, F, 3, SIDE, SIDE) in about [-1, 1]."""
    for spoil, most in ((_smeared, 0.5), (_blurred, 1.0), (_in_blocks, 0.4), (_coarse_colours, 1.0)):
        x = _some(x, spoil, most)
    x = _some(x, _moved_a_little, None)
    x = _some(x, lambda some: some + 0.08 * torch.randn_like(some), 1.0)
    light = 1 + 0.1 * torch.randn(len(x), 1, 1, 1, 1, device=x.device)
    return x * light + 0.05 * torch.randn(len(x), 1, 3, 1, 1, device=x.device)


def _some(x: Tensor, spoil: Callable[[Tensor], Tensor], most: float | None) -> Tensor:
    """Half of the clips, each mixed with what ``spoil`` makes of it by up to ``most``; wholly that where None."""
    chosen = torch.randperm(len(x), device=x.device)[: (len(x) + 1) // 2]
    some = x[chosen]
    spoilt = spoil(some)
    if most is not None:
        spoilt = some.lerp(spoilt, most * torch.rand(len(some), 1, 1, 1, 1, device=x.device))
    return x.index_copy(0, chosen, spoilt)


def _blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(x)


def _in_blocks(x: Tensor) -> Tensor:
    """Cells of a latent as flat squares."""
    return F.interpolate(F.avg_pool2d(x.flatten(0, 1), 4), scale_factor=4.0).view_as(x)


def _smeared(x: Tensor) -> Tensor:
    """Each frame mixed with the one before and the one after."""
    before, after = torch.cat([x[:, :1], x[:, :-1]], dim=1), torch.cat([x[:, 1:], x[:, -1:]], dim=1)
    return (x + 0.5 * before + 0.5 * after) / 2


def _coarse_colours(x: Tensor) -> Tensor:
    """Colours at half the resolution under full brightness, as 4:2:0 keeps them."""
    grey = x.mean(dim=2, keepdim=True)
    half = F.avg_pool2d((x - grey).flatten(0, 1), 2)
    return grey + F.interpolate(half, scale_factor=2.0).view_as(x)


def _moved_a_little(x: Tensor) -> Tensor:
    """Clips magnified by up to a tenth and shifted by up to two pixels, each by its own, beyond the edge as at it."""
    batch, frames = x.shape[:2]
    zoom = 1 + 0.1 * (2 * torch.rand(batch, 2, device=x.device) - 1)
    shift = 4 / SIDE * (2 * torch.rand(batch, 2, device=x.device) - 1)
    theta = torch.cat([torch.diag_embed(zoom), shift[..., None]], dim=2)
    grid = F.affine_grid(theta, [batch, 1, SIDE, SIDE], align_corners=False)
    flat = x.flatten(1, 2)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).unflatten(1, (frames, 3))


# Scores -------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def verdicts(
    judge: Judge,
    world: World,
    count: int,
    seed: int = HELD,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    device: str | torch.device = "cpu",
) -> Tensor:
    """(count, questions) bool: right answers on held-out rendered clips, of every size in turn."""
    rows = []
    for begin in range(0, count, 20):
        films = [draw_film(world, seed + i, held=True) for i in range(begin, min(begin + 20, count))]
        clips = render(films, FRAMES, *sizes[begin // 20 % len(sizes)], device=device).frames_BFCYX
        told = answers(judge, clips)
        rows += [[each[q] == facts(film)[q] for q in QUESTIONS] for each, film in zip(told, films, strict=True)]
    return torch.tensor(rows)


def on_rendered(judge: Judge, world: World, count: int = 500, seed: int = HELD) -> dict[str, float]:
    """Share of right answers on held-out rendered clips."""
    right = verdicts(judge, world, count, seed, device=device_of(judge))
    return dict(zip(QUESTIONS, right.float().mean(dim=0).tolist(), strict=True))
