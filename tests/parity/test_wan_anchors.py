"""What Wan's networks make of anchors: VACE takes them as references, an image encoder sees where the clip began."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_wan_pipelines import HEIGHT, PROMPT, WIDTH, folders, picture

from sora import catalog, models
from sora.engine import engine
from sora.engine.canvas import Canvas, Guides
from sora.engine.engine import Settings
from sora.engine.model import Model
from sora.plan import operations

__all__ = ["folders"]  # a fixture

FRAMES, KNOWN = 9, 5


def loaded(folder: Any) -> Model:
    return models.load(catalog.find(str(folder)), torch.device("cpu"), torch.float32)


def pixels(seed: int) -> torch.Tensor:
    return torch.from_numpy(picture(seed).copy()).permute(2, 0, 1)


def later_window(guides: Guides, *, last: bool = False) -> Canvas:
    """A canvas that goes on from frames, and may arrive at one."""
    frames = torch.stack([pixels(n) for n in range(FRAMES)])
    known = torch.zeros(FRAMES, 1, HEIGHT, WIDTH, dtype=torch.bool)
    known[:KNOWN], known[-1] = True, last
    return Canvas(frames, known, 16.0, guides)


@torch.inference_mode()
def velocity_of(model: Model, guides: Guides, **more: bool) -> torch.Tensor:
    """What the model predicts of a later window at one noise."""
    canvas = later_window(guides, **more)
    latents = model.encode(canvas)
    x = torch.randn(latents.clean_BCTHW.shape, generator=torch.Generator().manual_seed(0))
    return model.bind(canvas, latents, PROMPT, "", 1.0)(x, torch.tensor(0.6))


BEFORE, AFTER = (-12, pixels(20)), (40, pixels(21))


def test_vace_takes_anchors_as_references_after_a_persons_own(folders: Any) -> None:
    model, own = loaded(folders("vace")[1]), (pixels(30),)
    anchored = velocity_of(model, Guides(own, anchors=(BEFORE, AFTER)))
    assert torch.equal(anchored, velocity_of(model, Guides((*own, BEFORE[1], AFTER[1]))))
    assert not torch.equal(anchored, velocity_of(model, Guides((BEFORE[1], *own, AFTER[1]))))


@pytest.mark.parametrize("kind", ["t2v", "ti2v"])
def test_a_model_that_takes_no_pictures_is_as_without(folders: Any, kind: str) -> None:
    model = loaded(folders(kind)[1])
    assert torch.equal(velocity_of(model, Guides(anchors=(BEFORE, AFTER))), velocity_of(model, Guides()))


@pytest.mark.parametrize("kind", ["i2v", "flf2v"])
def test_an_image_encoder_sees_where_the_clip_began(folders: Any, kind: str) -> None:
    model, last = loaded(folders(kind)[1]), kind == "flf2v"
    plain = velocity_of(model, Guides(), last=last)
    assert not torch.equal(plain, velocity_of(model, Guides(anchors=(BEFORE,)), last=last))
    own_first = (-12, pixels(0))  # as if the clip had begun from the very frame that the window does
    assert torch.equal(plain, velocity_of(model, Guides(anchors=(own_first,)), last=last))
    assert torch.equal(plain, velocity_of(model, Guides(anchors=(AFTER,)), last=last))


def test_the_first_window_of_a_long_film_knows_its_last_picture(folders: Any) -> None:
    folder = folders("vace")[1]
    model, spec = loaded(folder), catalog.find(str(folder))
    form = replace(spec.format((HEIGHT, WIDTH), 16.0), window=9, context=5)
    settings = Settings.from_spec(spec, 7, steps=1, guidance=1.0)
    plan = operations.img2vid(picture(), PROMPT, frames=13, format=form, last_image_YXC=picture(1))
    first, closing = plan.windows
    assert (first.context_after, closing.context_after) == (0, 1)
    film, without = (torch.cat(list(engine.paint(model, each, settings))) for each in (plan, replace(plan, anchors=())))
    for n, given in ((0, picture()), (-1, picture(1))):
        assert np.array_equal(film[n].permute(1, 2, 0).numpy(), given)
    assert not torch.equal(film[first.kept.start : first.kept.stop], without[first.kept.start : first.kept.stop])
