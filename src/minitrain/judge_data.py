"""What the judge is trained on: rendered clips, some cut from the middle of films, kept and looked at many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from minitrain.captions.facts import facts
from minitrain.judge import FRAMES, IGNORED, QUESTIONS, SHOWN, SIDE, Judge, reduced
from minitrain.scene import Film
from minitrain.worlds.render import render
from minitrain.worlds.subjects import UNSEEN
from minitrain.worlds.world import World, draw_film, mirrored

SIZES = ((128, 128), (96, 176), (176, 96), (112, 144), (144, 112))  # (height, width) that clips are rendered at
LATEST, STEP = 36, 4  # the last frame that a clip begins at; clips begin where latent frames do
SEEN_UNTIL = {"grow": 12, "shrink": 12, "enter": 4, "leave": 4}  # when a motion is over that does not go on for ever
LIVELY = 0.25  # share of films with a moving camera, and with weather, at least
OPPOSITE = (("left", "right"), ("up", "down"), ("grow", "shrink"), ("-in", "-out"))
ONE_WAY = ("fall", "arc", "enter", "leave", "follow")  # motions and cameras that look like no other when reversed
GONE = 1e-3  # the size of an actor that leaves no pixel
HALF = SIDE // 2  # the side at which covers are kept


@dataclass(frozen=True)
class Frames:
    """N single frames. pixels, bare: (N, 3, SIDE, SIDE) in [-1, 1], with their first actor and without. cover:
    (N, 1, SIDE, SIDE) in [0, 1], its opacity. right: (N, questions) indices of the right answers."""

    pixels: Tensor
    bare: Tensor
    cover: Tensor
    right: Tensor

    def in_a_glass(self) -> Frames:
        """Half of them seen in a looking-glass, which no single frame's answer depends on."""
        glass = (torch.rand(len(self.pixels), device=self.pixels.device) < 0.5).view(-1, 1, 1, 1)
        pixels, bare, cover = (torch.where(glass, x.flip(-1), x) for x in (self.pixels, self.bare, self.cover))
        return Frames(pixels, bare, cover, self.right)


class Clips:
    """Rendered clips in memory. Newer ones take the place of the oldest when there is no more room."""

    def __init__(
        self, judge: Judge, worlds: Sequence[World], rng: Random, *, kept: int, device: str | torch.device = "cpu"
    ) -> None:
        self.judge, self.rng, self.device = judge, rng, device
        self.worlds = [livelier(world) for world in worlds]
        self.pixels = torch.zeros(kept, SHOWN, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.covers = torch.zeros(kept, SHOWN, 1, HALF, HALF, dtype=torch.uint8, device=device)
        self.bare = torch.zeros(kept, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.right = torch.full((kept, len(QUESTIONS)), IGNORED, device=device)
        self.rendered = 0
        self._turned = [table.to(device) for table in turned(judge)]

    @property
    def held(self) -> int:
        return min(self.rendered, len(self.pixels))

    def add(self, count: int) -> None:
        """Render that many more, of one world and one size."""
        (world,) = self.rng.choices(self.worlds, [len(w.subjects) for w in self.worlds])
        height, width = self.rng.choice(SIZES)
        drawn = [film_from(world, self.rng) for _ in range(count)]
        films, starts = [film for film, _ in drawn], [start for _, start in drawn]
        clips = render(films, FRAMES, height, width, first=starts, device=self.device)
        middle = [start + FRAMES // 2 for start in starts]
        bare = render([without(f) for f in films], 1, height, width, first=middle, length=FRAMES, device=self.device)
        places = [(self.rendered + i) % len(self.pixels) for i in range(count)]
        self.pixels[places] = _bytes(reduced(clips.frames_BFCYX[:, ::2]))
        covers = F.interpolate(clips.cover_BFYX[:, ::2].float(), (HALF, HALF), mode="area")
        self.covers[places] = _bytes(covers[:, :, None])
        self.bare[places] = _bytes(reduced(bare.frames_BFCYX)[:, 0])
        right = [asked(self.judge, film, start) for film, start in drawn]
        self.right[places] = torch.stack(right).to(self.right)
        self.rendered += count

    def frames(self, count: int) -> Frames:
        """Single frames, each of another clip, half of them seen in a looking-glass."""
        clip = torch.randint(self.held, (count,), device=self.device)
        frame = torch.randint(SHOWN, (count,), device=self.device)
        cover = F.interpolate(self.covers[clip, frame].float() / 255, scale_factor=2.0, mode="bilinear")
        told = Frames(_floats(self.pixels[clip, frame]), _floats(self.bare[clip]), cover, self.right[clip])
        return told.in_a_glass()

    def latest(self, count: int) -> tuple[Tensor, Tensor]:
        """Of the clips that were rendered last, (pixels, right): (2 B, SHOWN, 3, SIDE, SIDE) in [-1, 1] and
        (2 B, questions) indices of the right answers, each clip as it is and in a looking-glass."""
        clip = (self.rendered - 1 - torch.arange(count, device=self.device)) % len(self.pixels)
        pixels, right = _floats(self.pixels[clip]), self.right[clip]
        return torch.cat([pixels, pixels.flip(-1)]), torch.cat([right, answered_by(self._turned, right)])


def _bytes(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def _floats(x: Tensor) -> Tensor:
    return x.float() / 127.5 - 1


def answered_by(tables: Sequence[Tensor], right: Tensor) -> Tensor:
    """(B, questions): what answers become by a table for each question; what is not asked stays so."""
    other = [table.to(right)[right[:, i].clamp_min(0)] for i, table in enumerate(tables)]
    return torch.where(right == IGNORED, right, torch.stack(other, dim=1))


def joined(*parts: Frames) -> Frames:
    names = ("pixels", "bare", "cover", "right")
    return Frames(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def livelier(world: World) -> World:
    """The same world with more cameras that move and more weather, which are rare in some, and so learnt late."""
    return replace(world, panning=max(world.panning, LIVELY), weathered=max(world.weathered, LIVELY))


def film_from(world: World, rng: Random) -> tuple[Film, int]:
    """A film that may be trained on and the frame a clip of it begins at. As often as one of the world's subjects, it
    shows one that is in no world."""
    film = draw_film(world, rng.getrandbits(48), held=False)
    if rng.random() < len(UNSEEN) / (len(UNSEEN) + len(world.subjects)):
        film = _with_first(film, subject=rng.choice(tuple(UNSEEN)))
    if rng.random() < 0.5:
        film = mirrored(film)
    late = rng.random() < 0.4 and may_begin_late(film)
    return film, STEP * rng.randint(0, LATEST // STEP) if late else 0


def may_begin_late(film: Film) -> bool:
    """Whether a clip from later on tells of the same: not where there is a cut, or where the actor turns back."""
    return len(film.shots) == 1 and not film.shots[0].contained


def without(film: Film) -> Film:
    """The film without its first actor."""
    return _with_first(film, size=GONE)


def _with_first(film: Film, **changes: str | float) -> Film:
    """The film with another first actor."""
    shots = (replace(s, actors=(replace(s.actors[0], **changes), *s.actors[1:])) for s in film.shots)  # type: ignore[arg-type]
    return replace(film, shots=tuple(shots))


def asked(judge: Judge, film: Film, start: int) -> Tensor:
    """The right answers of a clip that begins at frame ``start``, without those it cannot show."""
    right = judge.truth(film)
    if not seen_moving(film, start):
        right[QUESTIONS.index("motion")] = IGNORED
    return right


def seen_moving(film: Film, start: int) -> bool:
    """Whether a clip from frame ``start`` on still shows the film's motion."""
    return start <= SEEN_UNTIL.get(facts(film)["motion"].split("-")[0], LATEST)


def turned(judge: Judge) -> list[Tensor]:
    """For each question, the index of what an answer becomes in a looking-glass."""
    return [_exchanged(words, (("left", "right"),)) for words in judge.options.values()]


def reversed_in_time(judge: Judge) -> list[Tensor]:
    """For each question, the index of what an answer becomes when the clip is played backwards, IGNORED where there is
    no such answer."""
    tables = []
    for question, words in judge.options.items():
        if question not in ("motion", "camera"):
            tables.append(torch.arange(len(words)))
            continue
        table = _exchanged(words, OPPOSITE)
        one_way = [any(word.startswith(name) for name in ONE_WAY) for word in words]
        tables.append(table.masked_fill(torch.tensor(one_way), IGNORED))
    return tables


def _exchanged(words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Tensor:
    """The index of each word with both of a pair exchanged in it; its own where there is no such word."""
    found = []
    for i, word in enumerate(words):
        for a, b in pairs:
            word = word.replace(a, "\0").replace(b, a).replace("\0", b)
        found.append(words.index(word) if word in words else i)
    return torch.tensor(found)
