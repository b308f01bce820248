"""Latents that a transformer is trained on: clips that continue a film are among them, and batches fit together."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch
from torch import Tensor

from minitrain import hole_masks
from minitrain.clips import ClipSource, DataMix, dissolve_weights
from minitrain.latent_buffer import LatentBuffer, RingBuffer, temporal_change
from minitrain.render_workers import CAPTIONS_PER_CLIP, COVER_CELL, ClipGroup
from minitrain.worlds import WORLDS
from minitrain.worlds.subjects import SHAPES
from sora.networks.mini_vae import MiniVAE, MiniVAEConfig

WORLD = replace(WORLDS["small"], subjects=tuple(SHAPES))
SMALL = MiniVAEConfig(4, 8, 8, (1, 2), 8, 8, (1, 2), detail=8)
SIZE = (64, 64)
PLAIN = DataMix(inpainting_share=0.0, midway_share=0.0)


def group(mix: DataMix, frames: int = 17, count: int = 4, seed: int = 1, *, captioned: bool = True) -> ClipGroup:
    source = ClipSource(WORLD, Random(seed), mix)
    drawn = [source.draw(SIZE, frames) for _ in range(count)]
    shown, cover = source.render(drawn, SIZE, frames)
    cells = torch.nn.functional.avg_pool2d(cover.float(), COVER_CELL).to(torch.uint8)
    ids = (
        torch.arange(count)[:, None, None].expand(-1, CAPTIONS_PER_CLIP, 3)
        + 10 * torch.arange(CAPTIONS_PER_CLIP)[:, None]
    )
    return ClipGroup(shown, cells, ids.int(), [d.hole for d in drawn], [d.midway for d in drawn], captioned)


def read(ids_BL: Tensor) -> Tensor:
    return ids_BL[:, :1, None].expand(-1, 2, 3).float()


def buffer(mix: DataMix, lengths: tuple[int, ...] = (1, 17), **more: object) -> LatentBuffer:
    torch.manual_seed(0)
    return LatentBuffer(MiniVAE(SMALL).eval(), read, mix, lengths, Random(4), **more)  # type: ignore[arg-type]


def rows_of(kept: LatentBuffer, frames: int) -> dict[str, Tensor]:
    ring = kept.ring_buffers[SIZE, frames]
    return {name: table[: len(ring)] for name, table in ring.rows.items()}


def test_clips_that_continue_a_film_have_known_frames() -> None:
    """Clips that begin midway always have known frames, and what dissolves between two ends is known at both."""
    mix = DataMix(inpainting_share=0.8, midway_share=0.5)
    kept, groups = buffer(mix), [group(mix, seed=seed, count=8) for seed in range(6)]
    kept.add(groups)
    rows = rows_of(kept, 17)
    assert set(rows["midway"].tolist()) == {True, False} and set(rows["own"].tolist()) == {True, False}
    known, seen = kept.choose_known(rows, SIZE, 17)
    assert known.shape == (48, 4, 5, 4, 4) and seen.shape == rows["clean"].shape
    assert all(known[i].any() for i in range(48) if rows["midway"][i] and not rows["own"][i])
    source, drawn = ClipSource(WORLD, Random(0), mix), []
    while not drawn:
        drawn = [d for d in [source.draw(SIZE, 17)] if d.dissolve_into]
    assert drawn[0].hole and 0 < drawn[0].hole[0] < drawn[0].hole[1] < 17  # both ends stand


def test_one_clip_gives_beginnings_and_single_frames_too() -> None:
    kept = buffer(PLAIN, (1, 5, 17))
    kept.add([group(PLAIN)])
    assert {frames: len(kept.ring_buffers[SIZE, frames]) for frames in (1, 5, 17)} == {1: 12, 5: 4, 17: 4}
    whole, start = rows_of(kept, 17), rows_of(kept, 5)
    assert torch.equal(start["clean"], whole["clean"][:, :, :2]) and torch.equal(start["cover"], whole["cover"][:, :2])
    again = kept.vae.encode(group(PLAIN).frames[:, :, :5].float() / 127.5 - 1)
    assert torch.allclose(start["clean"].float(), again, atol=2e-3)


def test_lengths_that_are_not_wanted_yet_cost_nothing() -> None:
    kept = buffer(PLAIN)
    kept.add([group(PLAIN)], wanted=[1])
    assert set(kept.ring_buffers) == {(SIZE, 1)} and kept.clips == 4


def test_what_nobody_tells_of_is_left_out_and_few_clips_wait_for_more() -> None:
    kept = buffer(PLAIN, encode_batch=8)
    kept.add([group(PLAIN, captioned=False), group(PLAIN)])
    assert not kept.ring_buffers
    kept.add([group(PLAIN)])
    assert kept.clips == 8 and kept.sizes_with(17) == {SIZE}


def test_batches_weigh_one_on_average_and_say_what_they_show() -> None:
    kept = buffer(replace(PLAIN, motion_weight=2.0), features=lambda pixels: pixels[:, :2, ::4])
    kept.add([group(PLAIN)])
    batch = kept.sample(SIZE, 17, 6)
    assert batch.clean.shape == batch.known_latents.shape == (6, 4, 5, 4, 4)
    assert batch.loss_weight.mean().item() == pytest.approx(1, abs=1e-3)
    assert batch.slots.shape == (6, 2, 3) and set(batch.slots.flatten().tolist()) <= {0, 1, 2, 3, 10, 11, 12, 13}
    assert batch.features is not None and batch.features.shape == (6, 2, 5, 64, 64)


def test_the_oldest_clips_make_room() -> None:
    ring = RingBuffer(capacity=4)
    for start in range(0, 9, 3):
        ring.add({"x": torch.arange(start, start + 3)})
    assert len(ring) == 4 and ring.rows["x"].tolist() == [8, 5, 6, 7]


def test_clips_without_holes_see_themselves() -> None:
    kept = buffer(PLAIN)
    kept.add([group(PLAIN)])
    rows = rows_of(kept, 17)
    assert torch.equal(rows["clean"], rows["seen"]) and not rows["midway"].any() and not rows["known"].any()


def test_one_film_becomes_the_other_between_its_ends() -> None:
    share = dissolve_weights(hole_masks.hole_tensor([(5, 13, 0, 8, 0, 8)]), 17)[0]
    assert not share[:5].any() and (share[13:] == 1).all()
    assert (share[4:14].diff() > 0).all()


def test_changes_are_nothing_where_nothing_moves() -> None:
    still = torch.randn(2, 4, 1, 3, 3).expand(-1, -1, 4, -1, -1).clone()
    still[0, :, 2:] += 5
    found = temporal_change(still)
    assert found[0, 0, 2].min() == 1 and found.sum() == 9
