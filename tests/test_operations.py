"""Verbs as plans: what stands, what is painted, and from what."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sora.engine.timeline import Timeline
from sora.errors import UsageError
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.plan import Format, Plan

FORM = Format((32, 48), (32, 48), 8.0, window=17, context=5, context_after=4, time=4)


def clip(frames: int, seed: int = 0) -> Clip:
    return Clip(np.random.default_rng(seed).integers(0, 256, (frames, 32, 48, 3), np.uint8), 8.0)


def painted(plan: Plan) -> list[int]:
    return sorted(i for w in plan.windows for i in w.kept)


A, B = clip(20, 1), clip(12, 2)
PLANS: dict[str, tuple[Callable[[], Plan], int, list[int]]] = {  # verb: plan, frames of the film, frames painted
    "generate": (lambda: operations.generate(("a car",), frames=9, format=FORM), 9, [*range(9)]),
    "a long film": (lambda: operations.generate(("a car",), frames=100, format=FORM), 100, [*range(100)]),
    "shots that cut": (lambda: operations.generate(("a", "b", "c"), frames=60, format=FORM), 60, [*range(60)]),
    "shots that flow": (
        lambda: operations.generate(("a", "b"), frames=50, format=FORM, transition="flow"), 50, [*range(50)],
    ),
    "image": (lambda: operations.image("a car", format=FORM), 1, [0]),
    "img2vid": (lambda: operations.img2vid(A.frames_FYXC[0], "", frames=17, format=FORM), 17, [*range(1, 17)]),
    "img2vid to a last picture": (
        lambda: operations.img2vid(A.frames_FYXC[0], "", frames=10, format=FORM, last_image_YXC=B.frames_FYXC[0]),
        10, [*range(1, 9)],
    ),
    "extend": (lambda: operations.extend(A, "", frames=16, format=FORM), 36, [*range(20, 36)]),
    "extend backward": (lambda: operations.extend(A, "", frames=16, format=FORM, backward=True), 36, [*range(16)]),
    "loop": (lambda: operations.loop(A, "", frames=10, format=FORM), 30, [*range(20, 30)]),
    "cycle": (lambda: operations.text_loop("a car", frames=32, format=FORM), 32, [*range(32)]),
    "bridge": (lambda: operations.bridge(A, B, "", frames=8, format=FORM), 40, [*range(20, 28)]),
    "edit": (lambda: operations.edit(A, "a car", format=FORM, strength=0.5), 20, [*range(20)]),
    "edit a stretch": (
        lambda: operations.edit(A, "a car", format=FORM, strength=1.0, frame_range=range(3, 9)), 20, [*range(3, 9)],
    ),
    "edit by nothing": (lambda: operations.edit(A, "a car", format=FORM, strength=0.0), 20, []),
}  # fmt: skip


@pytest.mark.parametrize("verb", PLANS)
def test_a_verb_paints_what_does_not_stand(verb: str) -> None:
    make, frames, wish = PLANS[verb]
    plan = make()
    assert plan.frames == frames
    assert painted(plan) == wish
    standing = sorted(first + i for first, placed in plan.known_clips for i in range(len(placed)))
    assert sorted(wish + standing) == list(range(frames))


def test_img2vid_knows_exactly_its_pictures() -> None:
    first, last = A.frames_FYXC[0], B.frames_FYXC[0]
    plan = operations.img2vid(first, "", frames=17, format=FORM, last_image_YXC=last)
    canvas = Timeline(plan).canvas_for(plan.windows[0])
    known = canvas.known_F1YX.flatten(1).all(1).tolist()
    assert known == [True, *[False] * 15, True]
    assert np.array_equal(canvas.frames_FCYX[0].permute(1, 2, 0).numpy(), first)
    assert np.array_equal(canvas.frames_FCYX[-1].permute(1, 2, 0).numpy(), last)


def test_a_loop_goes_on_from_the_end_and_arrives_at_the_beginning() -> None:
    plan = operations.loop(A, "", frames=8, format=FORM)
    canvas = Timeline(plan).canvas_for(plan.windows[-1])
    frames = canvas.frames_FCYX.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(frames[:5], A.frames_FYXC[-5:])
    assert np.array_equal(frames[-4:], A.frames_FYXC[:4])


def test_a_region_keeps_what_lies_outside() -> None:
    mask = np.zeros((1, 32, 48), bool)
    mask[:, 8:16, 8:24] = True
    plan = operations.edit(A, "", format=FORM, strength=1.0, paint_FYX=mask)
    canvas = Timeline(plan).canvas_for(plan.windows[0])
    assert np.array_equal(~canvas.known_F1YX[3, 0].numpy(), mask[0])
    assert np.array_equal(canvas.frames_FCYX[3].permute(1, 2, 0).numpy(), A.frames_FYXC[3])


def test_shots_share_the_first_noise_and_no_other() -> None:
    plan = operations.generate(("a", "b"), frames=80, format=FORM)
    draws = [[w.noise_index for w in plan.windows if w.shot == shot] for shot in (0, 1)]
    assert draws[0][0] == draws[1][0] == 0
    assert not set(draws[0][1:]) & set(draws[1][1:])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="too few for 5 shots"):
        operations.generate("abcde", frames=4, format=FORM)
    with pytest.raises(UsageError, match="2 frames at least"):
        operations.img2vid(A.frames_FYXC[0], "", frames=1, format=FORM, last_image_YXC=A.frames_FYXC[1])
    with pytest.raises(ValueError, match="fit it first"):
        operations.img2vid(np.zeros((16, 16, 3), np.uint8), "", frames=5, format=FORM)
    with pytest.raises(ValueError, match="fit it first"):
        operations.bridge(A, Clip(np.zeros((4, 8, 8, 3), np.uint8), 8.0), "", frames=8, format=FORM)
    with pytest.raises(ValueError, match="close a circle"):
        operations.text_loop("", frames=30, format=FORM)
