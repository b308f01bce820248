"""The pool of rendered and encoded clips: every way a film goes on is in it, and batches fit together."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from sora.networks.mini_vae import MiniVAE, MiniVAEConfig
from sora.training import patterns
from sora.training.pool import WORDINGS, Mix, Pool, Ring, changes, dissolve
from sora.training.worlds import WORLDS, draw_film
from sora.training.worlds.subjects import SHAPES

WORLD = replace(WORLDS["small"], subjects=tuple(SHAPES))
SMALL = MiniVAEConfig(4, 8, 8, (1, 2), 8, 8, (1, 2), detail=8)


def vae() -> MiniVAE:
    torch.manual_seed(0)
    return MiniVAE(SMALL).eval()


def test_the_pool_shows_every_way_a_film_goes_on() -> None:
    """Clips that begin midway always come with something known, and what melts between two ends is known at both."""
    pool = Pool(vae(), WORLD, Random(4), Mix(entangled=0.8, midway=0.5))
    pool.add((64, 64), 17, 48)
    ring = pool.items[(64, 64), 17]
    rows = {name: table[: len(ring)] for name, table in ring.rows.items()}
    assert set(rows["midway"].tolist()) == {True, False} and set(rows["own"].tolist()) == {True, False}
    untold = [i for i, film in enumerate(ring.films) if film is None]
    assert untold
    known, seen = pool._condition(rows, (64, 64), 17)
    assert known.shape == (48, 4, 5, 4, 4) and seen.shape == rows["clean"].shape
    assert all(known[i].any() for i in range(48) if rows["midway"][i])
    for i in untold:
        assert known[i, :, 0].all() and known[i, -1, -1].all() and not known[i].all()


def test_batches_weigh_one_on_average_and_say_what_they_show() -> None:
    pool = Pool(vae(), WORLD, Random(5), Mix(motion=2.0))
    pool.fill((64, 96), 9, 6, 0.2)
    batch = pool.batch((64, 96), 9, 6)
    assert batch.clean.shape == batch.seen.shape == (6, 4, 3, 4, 6)
    assert batch.weight.mean().item() == pytest.approx(1, abs=1e-3)
    assert len(batch.scenes) == 6 and batch.ids is None


def test_captions_can_be_read_beforehand() -> None:
    def read(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[len(text), 1, 2] for text in texts])

    pool = Pool(vae(), WORLD, Random(6), read=read, features=lambda pixels: pixels[:, :2, ::4])
    pool.add((64, 64), 1, 5)
    assert pool.items[(64, 64), 1].rows["ids"].shape == (5, WORDINGS, 3)
    batch = pool.batch((64, 64), 1, 8)
    assert batch.ids is not None and batch.ids.shape == (8, 3) and batch.ids[:, 0].min() >= 0
    assert batch.features is not None and batch.features.shape == (8, 2, 1, 64, 64)


def test_the_oldest_clips_make_room() -> None:
    ring, films = Ring(limit=4), [draw_film(WORLD, seed) for seed in range(9)]
    for start in range(0, 9, 3):
        ring.add({"x": torch.arange(start, start + 3)}, films[start : start + 3])
    assert len(ring) == 4 and ring.films == [films[i] for i in (8, 5, 6, 7)]
    assert ring.rows["x"].tolist() == [8, 5, 6, 7]


def test_clips_without_holes_see_themselves() -> None:
    pool = Pool(vae(), WORLD, Random(7), Mix(entangled=0.0, midway=0.0))
    pool.add((64, 64), 17, 6, held=True)
    rows = pool.items[(64, 64), 17].rows
    assert torch.equal(rows["clean"], rows["seen"]) and not rows["midway"].any() and not rows["known"][:6].any()


def test_one_film_becomes_the_other_between_its_ends() -> None:
    share = dissolve(patterns.table([(5, 13, 0, 8, 0, 8)]), 17)[0]
    assert not share[:5].any() and (share[13:] == 1).all()
    assert (share[4:14].diff() > 0).all()


def test_changes_are_nothing_where_nothing_moves() -> None:
    still = torch.randn(2, 4, 1, 3, 3).expand(-1, -1, 4, -1, -1).clone()
    still[0, :, 2:] += 5
    found = changes(still)
    assert found[0, 0, 2].min() == 1 and found.sum() == 9
