"""Films of tiny Wan networks: each kind of conditioning goes on from the latents that were painted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from wan_folders import pipeline

from sora import catalog, models
from sora.engine import engine
from sora.engine.canvas import Canvas, Latents
from sora.engine.checkpoint import NoCheckpoint
from sora.models.wan.model import Wan
from sora.plan import operations


class Finished(NoCheckpoint):
    def __init__(self, latents: list[Tensor]) -> None:
        self.collected = latents

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        self.collected.append(latents_BCTHW)


def references(kind: str) -> Iterator[np.ndarray]:
    if kind == "vace":
        yield np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["ti2v", "vace", "i2v"])
def test_the_second_window_is_given_what_the_first_has_painted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pipeline(kind).save_pretrained(tmp_path)
    model = models.load(catalog.find(str(tmp_path)), torch.device("cpu"), torch.float32)
    form = replace(model.spec.format((64, 64), model.spec.defaults.fps), model_size=(64, 64))
    form = replace(form, window=form.context + 8)
    plan = operations.generate(("a red cat",), frames=form.window + 8, format=form)
    plan = replace(plan, references=tuple(references(kind)))
    given, bind = list[Latents](), Wan.bind

    def spied(self: Wan, canvas: Canvas, latents: Latents, prompt: str, negative: str, guidance: float):
        given.append(latents)
        return bind(self, canvas, latents, prompt, negative, guidance)

    monkeypatch.setattr(Wan, "bind", spied)
    painted: list[Tensor] = []
    settings = engine.Settings.from_spec(model.spec, 1, steps=2)
    film = torch.cat(list(engine.paint(model, plan, settings, None, lambda _: Finished(painted))))
    assert len(film) == plan.frames and len(painted) == 2
    known = (form.context - 1) // form.time
    first, second = painted[0], given[1]
    assert second.lead == len(plan.references)
    assert torch.equal(second.without_lead.clean_BCTHW[:, :, 1 : 1 + known], first[:, :, -known:])
    assert not second.without_lead.unknown_B1THW[:, :, : 1 + known].any()
