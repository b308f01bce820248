"""What the larger world holds: its subjects, settings, films of two, lasting events, cameras, cuts and styles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from minitrain.scene import CAMERAS, EVENTS, HOURS, MOTIONS, RELATIONS, STYLES, WEATHERS, Actor, Film, Shot
from minitrain.worlds import WORLDS, draw_film, render
from minitrain.worlds.motions import TRAJECTORIES
from minitrain.worlds.relations import SIZE_RANGES
from minitrain.worlds.segments import cut_frame
from minitrain.worlds.settings import SETTINGS, backdrop
from minitrain.worlds.sprites import SPRITE_SIDE, sprite
from minitrain.worlds.styles import apply_style
from minitrain.worlds.subjects import GLYPHS, KINDS, SUBJECTS, UNSEEN

LARGE = WORLDS["large"]


def film(motion: str, subject: str = "red ball", **changes: object) -> Film:
    return Film((replace(Shot("meadow", (Actor(subject, motion, "right", 0.4),), 5), **changes),))  # type: ignore[arg-type]


def two(relation: str, motion: str = "still", other: str = "still") -> Film:
    (least, _), (small, _) = SIZE_RANGES[relation]
    actors = (Actor("blue square", motion, "right", least), Actor("red ball", other, "right", small))
    return Film((Shot("meadow", actors, 3, relation=relation),))


def middle(mass_FYX: Tensor) -> tuple[Tensor, Tensor]:
    mass, places = mass_FYX.float(), torch.arange(float(mass_FYX.shape[-1]))
    area = mass.sum(dim=(1, 2)).clamp_min(1)
    return (mass * places).sum(dim=(1, 2)) / area, (mass * places[:, None]).sum(dim=(1, 2)) / area


def test_more_than_a_hundred_and_twenty_subjects_and_all_names_are_their_own() -> None:
    assert len(GLYPHS) >= 120
    assert {s.kind for s in SUBJECTS.values()} == set(KINDS)
    for names in ([n for s in SUBJECTS.values() for n in s.names], [n for s in SUBJECTS.values() for n in s.zh]):
        assert len(names) == len(set(names))
    assert all(s.zh and s.verbs for s in SUBJECTS.values())


def test_a_subject_for_teaching_is_in_no_world() -> None:
    assert UNSEEN and not any(set(UNSEEN) & set(world.subjects) for world in WORLDS.values())


def test_every_subject_is_drawn_and_no_two_look_alike() -> None:
    try:
        looks = {key: np.asarray(sprite(key).resize((24, 24)), np.int16) for key in (*SUBJECTS, *UNSEEN)}
    except OSError:
        pytest.skip("the emoji font is not installed")
    assert sprite("cat").size == (SPRITE_SIDE, SPRITE_SIDE)
    assert all((look[..., 3] > 128).mean() > 0.08 for look in looks.values())
    stacked = np.stack(list(looks.values()))
    stacked = stacked * (stacked[..., 3:] > 128)
    for i, look in enumerate(stacked[:-1]):
        assert np.abs(stacked[i + 1 :] - look).mean(axis=(1, 2, 3)).min() > 4, list(looks)[i]


def test_settings_have_three_layers_and_differ_by_hour_and_variation() -> None:
    for setting in SETTINGS:
        layers = backdrop(setting, SETTINGS[setting].hours[0], 1, 72, 72, 48, layered=True)
        alpha = [np.asarray(layer)[..., 3].mean() for layer in layers]
        assert alpha[0] == 255 and all(0 < a < 255 for a in alpha[1:]), setting
        looks = [
            np.asarray(backdrop(setting, h, 1, 48, 80, 48, layered=False)[0], int) for h in SETTINGS[setting].hours
        ]
        other = np.asarray(backdrop(setting, SETTINGS[setting].hours[0], 2, 48, 80, 48, layered=False)[0], int)
        assert looks[0].shape == (48, 80, 4), setting
        assert all(np.abs(look - looks[0]).mean() > 4 for look in (*looks[1:], other)), setting


def test_the_world_is_as_large_as_its_lists() -> None:
    assert len(SETTINGS) >= 16
    assert set(TRAJECTORIES) == set(MOTIONS)
    films = [draw_film(LARGE, seed) for seed in range(1500)]
    shots = [f.shots[0] for f in films]
    assert {s.relation for s in shots} == {"", *RELATIONS}
    assert {s.event for s in shots} == {"", *EVENTS}
    assert {s.camera for s in shots} == set(CAMERAS)
    assert {s.weather for s in shots} == set(WEATHERS)
    assert {s.hour for s in shots} == set(HOURS)
    assert {s.actors[0].motion for s in shots} == set(MOTIONS)
    assert {f.style for f in films} == set(STYLES)
    assert 0.25 < sum(len(s.actors) == 2 for s in shots) / 1500 < 0.35
    assert 0.08 < sum(len(f.shots) == 2 for f in films) / 1500 < 0.16


def test_no_camera_is_mistaken_for_a_motion() -> None:
    for shot in (draw_film(LARGE, seed).shots[0] for seed in range(800)):
        motion = shot.actors[0].motion
        assert not (shot.camera.startswith("pan") and motion.endswith(("left", "right", "still")))
        assert not (shot.camera.startswith("tilt") and motion in ("up", "down", "fall", "still"))
        assert not (shot.camera.startswith("zoom") and motion in ("grow", "shrink"))


def test_any_film_can_be_rendered_at_any_shape_and_length() -> None:
    films = [draw_film(LARGE, seed) for seed in range(18)]
    for height, width in ((48, 48), (48, 85), (85, 48)):
        assert render(films, 5, height, width, first=20).frames_BFCYX.shape == (18, 5, 3, height, width)
    assert render(films[:4], 1, 48, 48).frames_BFCYX.shape[1] == 1


@pytest.mark.parametrize("motion", ["walk-right", "swim-right", "arc-right", "roll-right"])
def test_travellers_travel(motion: str) -> None:
    right, left = film(motion), film(motion.replace("right", "left"))
    assert (middle(render([right], 9, 128, 128).cover_BFYX[0])[0].diff() > 1).all()
    assert (middle(render([left], 9, 128, 128).cover_BFYX[0])[0].diff() < -1).all()


def test_who_enters_stays_and_who_leaves_is_gone() -> None:
    def seen(motion: str) -> Tensor:
        return render([film(motion)], 25, 64, 64).cover_BFYX[0].float().mean(dim=(1, 2))

    entered, left = seen("enter-left"), seen("leave-right")
    assert entered[0] < 1 < 20 < entered[-1]
    assert left[0] > 20 and left[-1] == 0


def test_behind_hides_the_second_for_a_while_and_shows_it_again() -> None:
    shown = render([two("behind", other="right")], 17, 128, 128)
    second = shown.second_BFYX[0].float().mean(dim=(1, 2))
    assert second.min() < 0.05 * second.max() < 0.2 * second[-1] + 0.2 * second[0]
    assert torch.equal(shown.cover_BFYX[0, 0], shown.cover_BFYX[0, 8])


def test_where_the_second_actor_is() -> None:
    side_by_side, above = render([two("beside")], 1, 128, 128), render([two("above")], 1, 128, 128)
    assert (middle(side_by_side.cover_BFYX[0])[0] - middle(side_by_side.second_BFYX[0])[0]).abs() > 30
    assert (middle(above.cover_BFYX[0])[1] - middle(above.second_BFYX[0])[1]) > 30
    orbit = render([two("orbits")], 17, 128, 128)
    x, y = middle(orbit.second_BFYX[0])
    angle = torch.atan2(y - middle(orbit.cover_BFYX[0])[1], x - middle(orbit.cover_BFYX[0])[0])
    assert len(set((angle // 1.5708).tolist())) == 4
    follows = render([two("follows", "walk-right", "walk-right")], 9, 128, 128)
    assert (middle(follows.cover_BFYX[0])[0] - middle(follows.second_BFYX[0])[0] > 20).all()


def test_paint_stays_where_the_brush_was() -> None:
    plain = render([film("right", "paintbrush")], 17, 128, 128)
    painted = render([film("right", "paintbrush", event="stroke")], 17, 128, 128)
    still = painted.frames_BFCYX[0].float()
    fresh = (still - still[:1]).abs().amax(dim=1) > 30
    free = (painted.cover_BFYX[0] == 0) & (painted.cover_BFYX[0, 0] == 0)
    amount = (fresh & free).sum(dim=(1, 2))
    assert amount[16] > amount[8] > 50
    assert plain.frames_BFCYX.shape == painted.frames_BFCYX.shape


def test_a_bite_stays_bitten() -> None:
    area = render([film("still", "red ball", event="bites")], 25, 128, 128).cover_BFYX[0].float().mean(dim=(1, 2))
    assert (area.diff() <= 0).all()
    assert area[-1] < 0.75 * area[0]
    assert area[0] == area[3] > area[4] == area[7]


@pytest.mark.parametrize("camera", CAMERAS[1:])
def test_a_moving_camera_moves_the_backdrop(camera: str) -> None:
    shown = render([film("walk-right", setting="village", camera=camera)], 9, 64, 64)
    away = (shown.cover_BFYX[0, 0] == 0) & (shown.cover_BFYX[0, 8] == 0)
    change = (shown.frames_BFCYX[0, 8].float() - shown.frames_BFCYX[0, 0].float()).abs().amax(dim=0)
    assert change[away].mean() > 4


def test_a_following_camera_keeps_the_subject_in_the_middle() -> None:
    x, _ = middle(render([film("left", camera="follow")], 33, 128, 128).cover_BFYX[0])
    assert ((x - 63.5).abs() < 2).all()


def test_a_cut_falls_between_two_latent_frames() -> None:
    shot = film("still").shots[0]
    cut = Film((shot, replace(shot, setting="moon", hour="night")))
    for length in (17, 33, 65):
        assert cut_frame(length) % 4 == 1 and abs(cut_frame(length) - length / 2) <= 2
        frames = render([cut], length, 32, 32).frames_BFCYX[0].float()
        changes = (frames[1:] - frames[:-1]).abs().mean(dim=(1, 2, 3))
        assert changes.argmax() + 1 == cut_frame(length)
    later = render([cut], 8, 32, 32, first=9, length=17).frames_BFCYX[0]
    assert torch.equal(later, render([cut], 17, 32, 32).frames_BFCYX[0, 9:])


@pytest.mark.parametrize("style", STYLES[1:])
def test_styles_change_the_hand_and_nothing_else(style: str) -> None:
    flat = render([film("still")], 2, 64, 96).frames_BFCYX[0]
    drawn = apply_style(flat, style)
    assert drawn.shape == flat.shape and drawn.dtype == torch.uint8
    assert (drawn.float() - flat.float()).abs().mean() > 5
    assert torch.equal(drawn[0], drawn[1])
