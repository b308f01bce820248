"""The embedded model, through the engine: the same numbers every time, and what its family promises."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from goldens.make import GOLDEN, PROMPT, SIDE, SPEC, VERBS, canvas_of, form, measure, model, paint, plan, settings
from sora import catalog, models, weights
from sora.engine import engine
from sora.engine.canvas import Canvas
from sora.models.mini.model import Mini, deflicker
from sora.plan import operations
from sora.plan.clip import Clip
from sora.weights.int8 import pack8


def test_golden_numbers() -> None:
    """Processors add in different orders, so the numbers are held to a tolerance that a change of method exceeds."""
    golden, now = json.loads(GOLDEN.read_text()), measure()
    assert golden.keys() == now.keys()
    assert now["latent mean"] == pytest.approx(golden["latent mean"], abs=5e-3)
    assert now["latent deviation"] == pytest.approx(golden["latent deviation"], abs=5e-3)
    assert now["channel means"] == pytest.approx(golden["channel means"], abs=2e-2)
    for film in ("luma every fourth frame", *VERBS):
        off = np.abs(np.array(now[film]) - np.array(golden[film]))
        assert off.max() <= 4 and off.mean() <= 1, film


def test_same_seed_same_latents_and_frames() -> None:
    canvas = canvas_of(plan())
    first, second = (engine.paint_latents(model(), canvas, PROMPT, settings()) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(paint(plan(), settings()), paint(plan(), settings()))


def test_another_seed_and_another_prompt_paint_something_else() -> None:
    here = paint(plan(5), settings())
    assert (here.float() - paint(plan(5), settings(seed=2)).float()).abs().mean() > 2
    assert (here.float() - paint(plan(5, "a car at night"), settings()).float()).abs().mean() > 10


def test_night_is_darker_than_snow() -> None:
    night, snow = (paint(plan(1, f"a turtle {where}"), settings()) for where in ("at night", "in the snow"))
    assert night.float().mean() + 50 < snow.float().mean()


def test_a_negative_prompt_changes_the_film() -> None:
    plain, steered = (paint(plan(1), settings(guidance=3.0, negative_prompt=n)) for n in ("", "a turtle at night"))
    assert not torch.equal(plain, steered)


def test_without_guidance_the_negative_prompt_is_not_asked() -> None:
    plain = paint(plan(1), settings(guidance=1.0))
    assert torch.equal(plain, paint(plan(1), settings(guidance=1.0, negative_prompt="a car")))


@pytest.mark.parametrize("frames", [1, 5, 13])
@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_any_size_on_the_grid(frames: int, size: tuple[int, int]) -> None:
    made = operations.generate((PROMPT,), frames=frames, format=form(*size))
    assert paint(made, settings(steps=1)).shape == (frames, 3, *size)


def test_img2vid_begins_with_the_picture_and_goes_on_from_it() -> None:
    """A picture that the model painted itself: the film must keep its setting, which words alone would not fix."""
    picture = paint(plan(1, "a turtle under the sea"), settings(seed=5))[0].permute(1, 2, 0).numpy()
    film = paint(
        operations.img2vid(picture, "a turtle swims to the right", frames=9, format=form()),
        settings(steps=8),
    ).permute(0, 2, 3, 1)
    assert np.array_equal(film[0].numpy(), picture)
    corner = film[:, : SIDE // 8].float().mean(dim=(1, 2))
    assert (corner - corner[0]).abs().max() < 25


def test_every_known_frame_comes_back_exactly() -> None:
    clip = Clip(np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8), 8.0)
    film = paint(operations.extend(clip, "", frames=5, format=form(64, 64), backward=True), settings(steps=1))
    assert np.array_equal(film[5:].permute(0, 2, 3, 1).numpy(), clip.frames_FYXC)


def test_latents_are_unknown_where_any_pixel_is() -> None:
    blank = Canvas.blank(9, 64, 64, 8.0)
    canvas = replace(blank, known_F1YX=torch.arange(9).view(9, 1, 1, 1).expand_as(blank.known_F1YX) < 2)
    unknown = model().encode(canvas).unknown_B1THW
    assert unknown.shape == (1, 1, 3, 64 // SPEC.grid.space, 64 // SPEC.grid.space)
    assert unknown[:, :, 0].sum() == 0  # the first frame
    assert unknown[:, :, 1:].min() == 1  # the second frame shares its latent with three unknown ones


def test_bfloat16_paints_almost_the_same() -> None:
    half = models.load(SPEC, torch.device("cpu"), torch.bfloat16)
    chunks = engine.paint(half, plan(1), settings())
    assert (torch.cat(list(chunks)).float() - paint(plan(1), settings()).float()).abs().mean() < 8


def test_the_card_tells_what_it_must() -> None:
    card = json.loads((Path(catalog.__file__).parent.parent / "assets" / "mini.json").read_text(encoding="utf-8"))
    assert {"sizes", "data", "compute", "scores", "limits", "again", "licence"} <= set(card)
    assert {"judge on painted clips", "judge on rendered clips"} <= set(card["scores"])


def ticking(frames: int, step: float) -> Tensor:
    """A still picture that jumps by ``step`` at each latent frame, in [-1, 1]."""
    latent = torch.cat([torch.zeros(1), torch.arange(1, frames).sub(1).div(4, rounding_mode="floor") + 1])
    return (latent % 2 * step).view(-1, 1, 1, 1).expand(frames, 3, 4, 4).clone()


@pytest.mark.parametrize("chunk", [1, 3, 17])
def test_small_ticks_between_latent_frames_are_spread(chunk: int) -> None:
    film = ticking(17, 0.05)
    out = torch.cat(list(deflicker(iter(film.split(chunk)))))
    assert out.shape == film.shape
    assert torch.equal(out[0], film[0])  # the film's first frame is not touched
    assert float(out.diff(dim=0).abs().max()) < 0.03


def test_large_steps_are_motion_and_stay() -> None:
    film = ticking(17, 1.5)
    assert torch.allclose(torch.cat(list(deflicker(iter(film.split(4))))), film, atol=1e-3)


def test_parts_in_files_of_their_own_in_eight_bits_paint_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini = model()
    assert isinstance(mini, Mini)
    networks = {"vae": mini.vae, "text": mini.text_encoder, "dit": mini.dit}
    for part, network in networks.items():
        save_file(pack8(network.state_dict()), tmp_path / f"mini-{part}.safetensors")
    for name in SPEC.files[-2:]:
        shutil.copy(weights.asset(name), tmp_path / name)
    monkeypatch.setattr(weights, "ASSETS", tmp_path)
    files = (*(f"mini-{part}.safetensors" for part in ("dit", "vae", "text")), *SPEC.files[-2:])
    packed = models.load(replace(SPEC, files=files), torch.device("cpu"), torch.float32)
    made, how = plan(), settings()
    exact, near = (torch.cat(list(engine.paint(m, made, how))).float() for m in (model(), packed))
    assert (exact - near).abs().mean() < 2
