"""Joining: known pixels untouched, painted ones brought to meet them, colours held."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sora.engine.blend import RESIDUAL_FRAMES, blend_known
from sora.engine.canvas import Canvas
from sora.engine.matching import Statistics, match_colours


def noisy(frames: int, seed: int, low: int = 0, high: int = 256) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (frames, 3, 12, 16), generator=draw, dtype=torch.uint8)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_known_pixels_are_never_touched(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    known = torch.rand(6, 1, 12, 16, generator=draw) < 0.5
    known[seed % 6] = True
    canvas = Canvas(noisy(6, seed), known, 8.0)
    out = blend_known(canvas, noisy(6, seed + 1))
    rgb = known.expand_as(out)
    assert torch.equal(out[rgb], canvas.frames_FCYX[rgb])


def first_known(frames: Tensor, count: int) -> Canvas:
    known = torch.zeros(len(frames), 1, 12, 16, dtype=torch.bool)
    known[:count] = True
    return Canvas(frames, known, 8.0)


def test_what_the_known_frames_lost_is_laid_over_their_neighbours_and_fades() -> None:
    truth = torch.full((14, 3, 12, 16), 120, dtype=torch.uint8)
    painted = torch.full_like(truth, 100)  # the model gives everything back 20 levels darker
    away = (blend_known(first_known(truth, 2), painted)[2:].float() - 120).abs().mean(dim=(1, 2, 3))
    assert away[0] <= 1
    assert (away.diff() >= 0).all()
    assert away[RESIDUAL_FRAMES] == 20  # beyond its reach the painting is the model's own


def test_what_was_lost_of_a_thing_that_has_moved_on_leaves_no_ghost() -> None:
    """A bar with sharp edges, which the model paints blurred, moves to the right by its own width a frame."""
    truth = torch.full((6, 3, 48, 160), 60, dtype=torch.uint8)
    painted = truth.clone()
    for n in range(6):
        truth[n, :, :, 24 * n : 24 * n + 16] = 200
        painted[n, :, :, 24 * n + 2 : 24 * n + 14] = 180
    known = torch.zeros(6, 1, 48, 160, dtype=torch.bool)
    known[:2] = True
    out = blend_known(Canvas(truth, known, 8.0), painted).float()
    left = slice(24, 40)  # where the bar of the last known frame was
    assert (out[2:, :, :, left] - 60).abs().max() <= 20
    assert (out[2:, :, :, 128:] - painted[2:, :, :, 128:]).abs().mean() < 1


def test_a_painting_that_lost_nothing_stays_as_it_is() -> None:
    still = noisy(1, 3).expand(6, -1, -1, -1)
    assert torch.equal(blend_known(first_known(still, 2), still), still)
    moving = torch.stack([torch.full((3, 12, 16), value) for value in (0, 80, 160, 240)]).to(torch.uint8)
    assert torch.equal(blend_known(first_known(moving, 2), moving), moving)


def test_what_is_left_of_a_small_step_is_shared_out() -> None:
    known = torch.ones(10, 1, 12, 16, dtype=torch.bool)
    known[3:7] = False
    truth = torch.full((10, 3, 12, 16), 100, dtype=torch.uint8)
    painted = truth.clone()
    painted[3:7] += 8  # known frames lost nothing, and yet the painting stands beside them
    steps = blend_known(Canvas(truth, known, 8.0), painted).float().mean(dim=(1, 2, 3)).diff().abs()
    assert float(steps.max()) <= 4


def test_between_two_ends_each_side_meets_its_own() -> None:
    truth = torch.cat([torch.full((5, 3, 12, 16), 60), torch.full((5, 3, 12, 16), 160)]).to(torch.uint8)
    known = torch.ones(10, 1, 12, 16, dtype=torch.bool)
    known[2:8] = False
    out = blend_known(Canvas(truth, known, 8.0), truth - 20).float().mean(dim=(1, 2, 3))
    assert abs(out[2] - 60) < 5 and abs(out[7] - 160) < 5


def test_a_regions_edge_meets_what_surrounds_it_and_its_middle_is_the_models() -> None:
    known = torch.ones(1, 1, 96, 96, dtype=torch.bool)
    known[:, :, 16:80, 16:80] = False
    truth, painted = (
        torch.full((1, 3, 96, 96), 120, dtype=torch.uint8),
        torch.full((1, 3, 96, 96), 90, dtype=torch.uint8),
    )
    out = blend_known(Canvas(truth, known, 8.0), painted)[0, 0].float()
    across = out[48, 15:49]
    assert abs(across[1] - 120) <= 6
    assert (across.diff() <= 0.5).all()
    assert across[-1] == 90


def test_colours_are_pulled_back_but_not_without_bound() -> None:
    first = noisy(3, 1, 60, 160)
    drifted = (first.float() + 9).to(torch.uint8)
    assert (
        Statistics.of(match_colours(drifted, Statistics.of(first))).mean - Statistics.of(first).mean
    ).abs().max() < 0.5
    night = noisy(3, 2, 0, 20)
    assert Statistics.of(match_colours(night, Statistics.of(first))).mean.max() < 40


def test_matching_what_matches_changes_nothing() -> None:
    frames = noisy(3, 4)
    assert torch.equal(match_colours(frames, Statistics.of(frames)), frames)
