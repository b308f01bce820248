"""What windows are matched to: the first one of their shot, in an edit as its source has changed since."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sora.engine import matching
from sora.engine.engine import paint
from sora.engine.matching import Statistics
from sora.plan import operations
from sora.plan.clip import Clip
from test_engine import FORM, SETTINGS, Toy


def film(seed: int, brightness: float = 1.0, frames: int = 6) -> Tensor:
    coarse = torch.rand(frames, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (48, 48), mode="bicubic").clamp(0, 1)
    return (255 * brightness * fine).round().to(torch.uint8)


def close(a: Statistics, b: Statistics, levels: float) -> bool:
    return bool((a.mean - b.mean).abs().max() <= levels and (a.deviation - b.deviation).abs().max() <= levels)


def test_an_edit_whose_source_stays_is_matched_to_its_first_window() -> None:
    first, source = Statistics.of(film(0)), Statistics.of(film(1))
    found = matching.followed(first, source, source)
    assert close(found, first, 1e-4)
    assert found.sharpness == pytest.approx(first.sharpness)


def test_an_edit_follows_a_source_that_darkens() -> None:
    first, bright, dark = Statistics.of(film(0)), Statistics.of(film(1)), Statistics.of(film(1, 0.8))
    found = matching.followed(first, bright, dark)
    assert float(first.mean[0] - found.mean[0]) == pytest.approx(float(bright.mean[0] - dark.mean[0]), abs=0.01)
    assert float(found.deviation[0] / first.deviation[0]) == pytest.approx(0.8, abs=0.02)
    assert found.sharpness / first.sharpness == pytest.approx(0.64, abs=0.03)


@pytest.mark.parametrize("excess", [0.8, 0.98, 1.02, 1.3])
def test_what_blending_adds_to_the_sharpness_is_taken_off(excess: float) -> None:
    target, matched = Statistics.of(film(0)), film(2)
    shown = (matched.float().mean() + (matched.float() - matched.float().mean()) * excess).round().clamp(0, 255)
    reached = Statistics.of(shown.to(torch.uint8)).sharpness
    found = matching.nearer(target, matched, shown.to(torch.uint8))
    if abs(reached / target.sharpness - 1) <= 0.05:
        assert found is None
    else:
        assert found is not None
        factor = found.sharpness / Statistics.of(matched).sharpness
        assert factor == pytest.approx(target.sharpness / reached)
        assert close(found, target, 0)


def test_a_flat_film_is_left_alone() -> None:
    grey = torch.full((3, 3, 16, 16), 128, dtype=torch.uint8)
    assert matching.nearer(Statistics.of(grey), grey, grey) is None
    assert torch.equal(matching.match(grey, Statistics.of(grey)), grey)


@pytest.mark.parametrize("darker", [0, 10])
def test_windows_of_an_edit_follow_their_source(darker: int) -> None:
    """A model that paints everything in one tone, whatever its source: what is left of the fade is the matching's."""
    bright = np.full((9, 4, 6, 3), 200, np.uint8)
    clip = Clip(np.concatenate([bright, bright[:6] - np.uint8(darker)]), 8.0)
    plan = operations.edit(clip, "anything", format=FORM, strength=0.5)
    assert len(plan.windows) == 2
    frames = torch.cat(list(paint(Toy(), plan, SETTINGS)))  # type: ignore[arg-type]
    change = float(frames[-1].float().mean() - frames[0].float().mean())
    # What is known before the window still shows in the first frames after it.
    assert -darker - 1 <= change <= -darker / 2
