"""Derived seeds: no two things share noise, and tiles, windows and seeds that count up stay apart."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from sora import catalog, models
from sora.engine import sampler
from sora.engine.engine import Settings
from sora.engine.seeds import derive_seed
from sora.engine.upscale import refine

HEARD = 2**32  # a CPU's generator looks at a seed modulo this


def test_no_two_tiles_windows_and_seeds_share_noise() -> None:
    places = list(product(range(100), (None, *range(64)), range(10)))
    seeds = {derive_seed(seed, tile=tile, window=window) % HEARD for seed, tile, window in places}
    assert len(seeds) == len(places)


def test_no_two_steps_that_add_noise_share_any() -> None:
    places = list(product(range(20), (None, *range(16)), range(6), range(9)))
    seeds = {derive_seed(seed, tile=t, window=w, step=step) % HEARD for seed, t, w, step in places}
    assert len(seeds) == len(places)


def test_the_first_window_has_the_seed_that_was_given() -> None:
    assert [derive_seed(seed) for seed in (0, 7, 2**63 - 1)] == [0, 7, 2**63 - 1]
    assert derive_seed(2**64 - 1) % HEARD == (2**64 - 1) % HEARD
    assert derive_seed(2**63 - 1, window=1) == 1_000_002  # what comes round fits a generator too


def test_refined_pictures_of_seeds_that_count_up_share_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither do a picture's doublings."""
    seeds: list[int] = []
    real = sampler.initial_noise
    monkeypatch.setattr(sampler, "initial_noise", lambda shape, seed: (seeds.append(seed), real(shape, seed))[1])
    model = models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)
    draw = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    for seed in (1, 2):
        refine(model, torch.from_numpy(draw), (70, 70), "", Settings(seed, 1, 1.0, 1.0, "euler"), 0.2)
    heard = [seed % HEARD for seed in (1, 2, *seeds)]
    assert len(seeds) > 20 and len(set(heard)) == len(heard)
