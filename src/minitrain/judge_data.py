"""The judge's training data: rendered clips, some from the middle of films, kept in memory and drawn many times, and
generated ones that people labelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minitrain.captions.facts import facts
from minitrain.judge import (
    BROKEN,
    FRAMES,
    IGNORED,
    QUESTIONS,
    SAMPLED_FRAMES,
    SIDE,
    WHOLE,
    Judge,
    device_of,
    preprocess,
    resize,
    to_batch,
)
from minitrain.scene import Film
from minitrain.worlds.render import render
from minitrain.worlds.subjects import UNSEEN
from minitrain.worlds.world import World, draw_film, mirrored

SIZES = ((128, 128), (96, 176), (176, 96), (112, 144), (144, 112))  # (height, width) that clips are rendered at
MAX_START, START_STEP = 36, 4  # the last frame that a clip begins at; clips begin where latent frames do
LAST_VISIBLE_START = {"grow": 12, "shrink": 12, "enter": 4, "leave": 4}  # of motions that do not go on for ever
MIN_RARE_SHARE = 0.25  # share of films with a moving camera, and with weather, at least
OPPOSITE_WORDS = (("left", "right"), ("up", "down"), ("grow", "shrink"), ("-in", "-out"))
IRREVERSIBLE = ("fall", "arc", "enter", "leave", "follow")  # motions and cameras that look like no other when reversed
INVISIBLE_SIZE = 1e-3  # the size of an actor that leaves no pixel
COVER_SIDE = SIDE // 2  # the side at which covers are kept
TRAIN_SPLIT = "train"  # of the labels: the others are for choosing and for measuring, and never learnt from


@dataclass(frozen=True)
class Frames:
    """N single frames. pixels, background: (N, 3, SIDE, SIDE) in [-1, 1], with their first actor and without it. cover:
    (N, 1, SIDE, SIDE) in [0, 1], its opacity. labels: (N, questions) indices of the correct answers."""

    pixels: Tensor
    background: Tensor
    cover: Tensor
    labels: Tensor

    def randomly_mirrored(self) -> Frames:
        """The frames, half of them mirrored left to right; no single frame's answer depends on that."""
        mirrored = (torch.rand(len(self.pixels), device=self.pixels.device) < 0.5).view(-1, 1, 1, 1)
        pixels, background, cover = (
            torch.where(mirrored, x.flip(-1), x) for x in (self.pixels, self.background, self.cover)
        )
        return Frames(pixels, background, cover, self.labels)


class ClipReplayBuffer:
    """Rendered clips in memory. New ones replace the oldest when it is full."""

    def __init__(
        self, judge: Judge, worlds: Sequence[World], rng: Random, *, capacity: int, device: str | torch.device = "cpu"
    ) -> None:
        self.judge, self.rng, self.device = judge, rng, device
        self.worlds = [oversample_rare(world) for world in worlds]
        self.pixels = torch.zeros(capacity, SAMPLED_FRAMES, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.covers = torch.zeros(capacity, SAMPLED_FRAMES, 1, COVER_SIDE, COVER_SIDE, dtype=torch.uint8, device=device)
        self.backgrounds = torch.zeros(capacity, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.labels = torch.full((capacity, len(QUESTIONS)), IGNORED, device=device)
        self.rendered = 0
        self._mirror_tables = [table.to(device) for table in mirrored_answers(judge)]

    @property
    def count(self) -> int:
        return min(self.rendered, len(self.pixels))

    def add(self, count: int) -> None:
        """Render that many more clips, of one world and one size."""
        (world,) = self.rng.choices(self.worlds, [len(w.subjects) for w in self.worlds])
        height, width = self.rng.choice(SIZES)
        drawn = [draw_clip(world, self.rng) for _ in range(count)]
        films, starts = [film for film, _ in drawn], [start for _, start in drawn]
        clips = render(films, FRAMES, height, width, first=starts, device=self.device)
        middle = [start + FRAMES // 2 for start in starts]
        bare = render(
            [without_first_actor(f) for f in films], 1, height, width, first=middle, length=FRAMES, device=self.device
        )
        places = [(self.rendered + i) % len(self.pixels) for i in range(count)]
        self.pixels[places] = _to_uint8(resize(clips.frames_BFCYX[:, ::2]))
        covers = F.interpolate(clips.cover_BFYX[:, ::2].float(), (COVER_SIDE, COVER_SIDE), mode="area")
        self.covers[places] = _to_uint8(covers[:, :, None])
        self.backgrounds[places] = _to_uint8(resize(bare.frames_BFCYX)[:, 0])
        right = [answerable_labels(self.judge, film, start) for film, start in drawn]
        self.labels[places] = torch.stack(right).to(self.labels)
        self.rendered += count

    def frames(self, count: int) -> Frames:
        """Single frames of randomly drawn clips, half of them mirrored."""
        clip = torch.randint(self.count, (count,), device=self.device)
        frame = torch.randint(SAMPLED_FRAMES, (count,), device=self.device)
        cover = F.interpolate(self.covers[clip, frame].float() / 255, scale_factor=2.0, mode="bilinear")
        sampled = Frames(
            _to_float(self.pixels[clip, frame]), _to_float(self.backgrounds[clip]), cover, self.labels[clip]
        )
        return sampled.randomly_mirrored()

    def latest(self, count: int) -> tuple[Tensor, Tensor]:
        """The ``count`` clips rendered last, as (pixels, labels): (2 B, SAMPLED_FRAMES, 3, SIDE, SIDE) in [-1, 1] and
        (2 B, questions) indices of the correct answers, each clip as it is and mirrored."""
        clip = (self.rendered - 1 - torch.arange(count, device=self.device)) % len(self.pixels)
        pixels, right = _to_float(self.pixels[clip]), self.labels[clip]
        return torch.cat([pixels, pixels.flip(-1)]), torch.cat([right, map_answers(self._mirror_tables, right)])


def _to_uint8(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def _to_float(x: Tensor) -> Tensor:
    return x.float() / 127.5 - 1


def map_answers(tables: Sequence[Tensor], right: Tensor) -> Tensor:
    """(B, questions): the answers mapped by one table for each question; IGNORED stays so."""
    other = [table.to(right)[right[:, i].clamp_min(0)] for i, table in enumerate(tables)]
    return torch.where(right == IGNORED, right, torch.stack(other, dim=1))


def concatenate(*parts: Frames) -> Frames:
    names = ("pixels", "background", "cover", "labels")
    return Frames(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def oversample_rare(world: World) -> World:
    """The same world with more camera moves and more weather, which are rare in some worlds and would be learnt
    late."""
    return replace(
        world,
        camera_share=max(world.camera_share, MIN_RARE_SHARE),
        weather_share=max(world.weather_share, MIN_RARE_SHARE),
    )


def draw_clip(world: World, rng: Random) -> tuple[Film, int]:
    """A film that may be trained on, and the frame at which a clip of it begins. A subject of no world appears as often
    as any one of the world's subjects."""
    film = draw_film(world, rng.getrandbits(48), held_out=False)
    if rng.random() < len(UNSEEN) / (len(UNSEEN) + len(world.subjects)):
        film = _change_first_actor(film, subject=rng.choice(tuple(UNSEEN)))
    if rng.random() < 0.5:
        film = mirrored(film)
    late = rng.random() < 0.4 and can_start_midway(film)
    return film, START_STEP * rng.randint(0, MAX_START // START_STEP) if late else 0


def can_start_midway(film: Film) -> bool:
    """Whether a clip from a later frame has the same answers: not if there is a cut, or if the actor turns back."""
    return len(film.shots) == 1 and not film.shots[0].contained


def without_first_actor(film: Film) -> Film:
    """The film without its first actor."""
    return _change_first_actor(film, size=INVISIBLE_SIZE)


def _change_first_actor(film: Film, **changes: str | float) -> Film:
    """The film with changed fields of its first actor."""
    shots = (replace(s, actors=(replace(s.actors[0], **changes), *s.actors[1:])) for s in film.shots)  # type: ignore[arg-type]
    return replace(film, shots=tuple(shots))


def answerable_labels(judge: Judge, film: Film, start: int) -> Tensor:
    """The correct answers for a clip that begins at frame ``start``; IGNORED for those it cannot show."""
    right = judge.labels_of(film)
    if not motion_is_visible(film, start):
        right[QUESTIONS.index("motion")] = IGNORED
    return right


def motion_is_visible(film: Film, start: int) -> bool:
    """Whether a clip from frame ``start`` on still shows the film's motion."""
    return start <= LAST_VISIBLE_START.get(facts(film)["motion"].split("-")[0], MAX_START)


def mirrored_answers(judge: Judge) -> list[Tensor]:
    """For each question, the index of what each answer becomes when the clip is mirrored."""
    return [_exchange_words(words, (("left", "right"),)) for words in judge.options.values()]


def reversed_answers(judge: Judge) -> list[Tensor]:
    """For each question, the index of what each answer becomes when the clip is played backwards, IGNORED where there
    is no such answer."""
    tables = []
    for question, words in judge.options.items():
        if question not in ("motion", "camera"):
            tables.append(torch.arange(len(words)))
            continue
        table = _exchange_words(words, OPPOSITE_WORDS)
        irreversible = [any(word.startswith(name) for name in IRREVERSIBLE) for word in words]
        tables.append(table.masked_fill(torch.tensor(irreversible), IGNORED))
    return tables


def _exchange_words(words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Tensor:
    """The index of each answer with both words of a pair exchanged in it; its own index if there is no such answer."""
    found = []
    for i, word in enumerate(words):
        for a, b in pairs:
            word = word.replace(a, "\0").replace(b, a).replace("\0", b)
        found.append(words.index(word) if word in words else i)
    return torch.tensor(found)


class LabelledClips:
    """Frames of generated clips with human labels of whether their subject is whole, as many whole as broken. The judge
    itself locates the subject."""

    @torch.no_grad()
    def __init__(self, judge: Judge, folder: Path, label_file: Path) -> None:
        self.device = device_of(judge)
        pixels, covers, amounts, labels = [], [], [], []
        for row in json.loads(label_file.read_text(encoding="utf-8"))[TRAIN_SPLIT]:
            with np.load(folder / row["folder"] / f"{row['number']}.npz") as archive:
                clip, facts = archive["frames"], json.loads(str(archive["row"]))["facts"]
            frames = preprocess(to_batch(clip))[0].to(self.device)
            seen = judge.encode_frames(frames)
            pixels.append(frames)
            covers.append(seen.cover.sigmoid())
            amounts.append(seen.amount)
            labels.append(
                _labels(judge, facts["subject"] if row["whole"] else "", row["whole"]).expand(len(frames), -1)
            )
        self.pixels, self.cover, self.labels = torch.cat(pixels), torch.cat(covers), torch.cat(labels).to(self.device)
        broken = self.labels[:, QUESTIONS.index("whole")] == judge.options["whole"].index(BROKEN)
        share = torch.where(broken, 1 / broken.sum().clamp_min(1), 1 / (~broken).sum().clamp_min(1))
        self.probability = share * torch.cat(amounts)

    def frames(self, count: int) -> Frames:
        """Frames drawn at random, half of them mirrored; their background without the subject is not known."""
        drawn = torch.multinomial(self.probability, count, replacement=True)
        cover = F.interpolate(self.cover[drawn], self.pixels.shape[-2:], mode="bilinear")
        return Frames(self.pixels[drawn], self.pixels[drawn], cover, self.labels[drawn]).randomly_mirrored()


def _labels(judge: Judge, subject: str, whole: bool) -> Tensor:
    """(questions,): the labels of one clip."""
    right = torch.full((len(QUESTIONS),), IGNORED)
    right[QUESTIONS.index("whole")] = judge.options["whole"].index(WHOLE if whole else BROKEN)
    if subject in judge.options["subject"]:
        right[QUESTIONS.index("subject")] = judge.options["subject"].index(subject)
    return right
