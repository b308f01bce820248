"""Control clips: the signals that are computed, and which of their frames a film follows at which moment."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import sora
from conftest import Footage, Studio
from sora import media
from sora.engine.resizing import crop_canvas
from sora.engine.timeline import Timeline
from sora.errors import SoraError
from sora.jobs import control
from sora.jobs.arguments import values_of
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.media.control import SIGNALS, flow_picture
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.crop import crop_around
from sora.plan.plan import Control, Format, Plan
from sora.plan.request import Request
from sora.plan.verbs import VERBS as VERB_ROWS
from test_hostile_media import HOSTILE, y4m

VACE, SIDE = "wan2.1-vace-1.3b", 32
STEP = 2  # grey levels from one frame of a rising clip to the next


# --- signals -----------------------------------------------------------------------------------------------------


def disc(inside: tuple[int, int, int], outside: tuple[int, int, int], x: float = 48, side: int = 96) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    is_inside = (rows - side / 2) ** 2 + (columns - x) ** 2 < (side / 4) ** 2
    return np.where(is_inside[..., None], inside, outside).astype(np.uint8)


@pytest.mark.parametrize(
    "colours", [((255, 90, 0), (110, 110, 170)), ((30, 30, 30), (0, 0, 0)), ((250,) * 3, (220,) * 3)]
)
def test_edges_are_black_lines_on_white_around_what_differs(colours: Any) -> None:
    """In colours alone, in the dark and in the light."""
    (lines_YXC,) = media.control_signal(disc(*colours)[None], "edges")
    assert set(np.unique(lines_YXC)) == {0, 255}
    rows, columns = np.nonzero(lines_YXC[..., 0] == 0)
    assert np.abs(np.hypot(rows - 48, columns - 48) - 24).max() < 3
    assert 100 < len(rows) < 400


def test_noise_has_no_edges() -> None:
    noise = np.random.default_rng(0).integers(120, 136, (1, 96, 96, 3)).astype(np.uint8)
    assert (media.control_signal(noise, "edges") == 255).mean() > 0.99


def test_lines_are_as_wide_in_a_larger_picture() -> None:
    small, large = (
        media.control_signal(disc((255, 0, 0), (0, 0, 0), side / 2, side)[None], "edges") for side in (256, 768)
    )
    assert (large == 0).mean() == pytest.approx((small == 0).mean(), rel=0.25)


def test_grey_is_luma_in_every_channel() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3)).astype(np.uint8)
    grey = media.control_signal(frames, "grey")
    assert np.array_equal(grey, grey[..., :1].repeat(3, axis=-1))
    wanted = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])
    assert np.abs(grey[..., 0].astype(int) - wanted).max() <= 1


@given(st.floats(0, 2 * np.pi), st.floats(1, 100))
@settings(max_examples=50)
def test_the_colour_wheel(angle: float, speed: float) -> None:
    """The hue says where to, the paleness how fast: the fastest has a full colour, what stands still is white, and half
    as fast is half as far from white."""
    flow = np.array([[1.0, 0.5, 0.0]])[..., None] * speed * np.array([np.cos(angle), np.sin(angle)])
    fast, slow, still = flow_picture(flow)[0].astype(int)
    assert fast.min() <= 1 and fast.max() >= 254 and tuple(still) == (255, 255, 255)
    assert np.abs((255 - slow) * 2 - (255 - fast)).max() <= 2


@pytest.mark.parametrize(
    ("move", "strong", "weak"),
    [((0, 4), (0,), (1, 2)), ((4, 0), (0, 1), (2,)), ((0, -4), (1, 2), (0,)), ((-4, 0), (2,), (1,))],
    ids=["right is red", "down is yellow", "left is cyan", "up is blue"],
)
def test_flow_shows_what_moves_where_to(move: tuple[int, int], strong: Any, weak: Any) -> None:
    ground = cv2.GaussianBlur(np.random.default_rng(0).random((160, 160, 3)), (0, 0), 3)
    ground = ((ground - ground.min()) / (ground.max() - ground.min()) * 255).astype(np.uint8)
    thing = ground[:48, :48][::-1]
    frames = np.stack([ground] * 4)
    for n, frame in enumerate(frames):
        frame[56 + n * move[0] : 104 + n * move[0], 56 + n * move[1] : 104 + n * move[1]] = thing
    flow = media.control_signal(frames, "flow").astype(float)
    assert np.array_equal(flow[0], flow[1])
    middle = flow[2, 72:88, 72:88].mean((0, 1))
    assert middle[list(strong)].min() > 200 and middle[list(weak)].max() < 110
    assert flow[2, :30].min() > 200  # the ground


def test_flow_of_what_stands_still_is_white_and_threads_do_not_count() -> None:
    still = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    still[1:] = still[0]
    assert (media.control_signal(still, "flow") >= 254).all()
    moving, before = np.stack([disc((255, 0, 0), (0, 60, 0), x) for x in (40, 44, 49)]), cv2.getNumThreads()
    made = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        made.append(media.control_signal(moving, "flow"))
        assert cv2.getNumThreads() == threads
    cv2.setNumThreads(before)
    assert np.array_equal(*made)


def test_a_signal_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="two frames"):
        media.control_signal(np.zeros((1, 8, 8, 3), np.uint8), "flow")
    with pytest.raises(ValueError, match=", ".join(SIGNALS)):
        media.control_signal(np.zeros((1, 8, 8, 3), np.uint8), "pose")


# --- which frame when --------------------------------------------------------------------------------------------


def rising(path: Path, frames: int, fps: float, size: tuple[int, int] = (SIDE, SIDE)) -> str:
    """A clip whose frame k is even grey of level STEP * k."""
    levels = (STEP * np.arange(frames)).astype(np.uint8)[:, None, None, None]
    return str(media.write_clip(path, Clip(np.broadcast_to(levels, (frames, *size, 3)).copy(), fps)))


def resolved(verb: str, path: str | None, **more: Any) -> ResolvedRequest:
    if verb == "generate":
        more = {"size": f"{SIDE}x{SIDE}", **more}
    asked: dict[str, Any] = {"verb": verb, "prompt": "a cat", "model": VACE, "control": path, **more}
    return resolve(Request(**asked))


def followed(plan: Plan) -> np.ndarray:
    """The number of the control clip's frame that each frame of the plan follows."""
    assert plan.control is not None and len(plan.control.clip) == plan.frames
    return plan.control.clip.frames_FYXC[:, 0, 0, 0].astype(int) // STEP


def painted(plan: Plan) -> np.ndarray:
    return np.array(sorted(n for window in plan.windows for n in window.kept))


@pytest.fixture
def clips(footage: Footage) -> dict[str, str]:
    return {"a": str(footage("a.mkv", 24, (SIDE, SIDE), 16.0)), "b": str(footage("b.mkv", 24, (SIDE, SIDE), 16.0))}


VERBS: dict[str, tuple[str, dict[str, Any], int]] = {
    "generate": ("generate", {"frames": 40}, 0),
    "shots": ("generate", {"frames": 40, "then": ("a dog",)}, 0),
    "edit": ("edit", {"clip": "a"}, 0),
    "frames of an edit": ("edit", {"clip": "a", "frame_range": "8:20"}, 0),
    "extend": ("extend", {"clip": "a", "frames": 30}, 24),
    "extend backward": ("extend", {"clip": "a", "frames": 30, "backward": True}, 0),
    "loop": ("loop", {"clip": "a", "frames": 30}, 24),
    "bridge": ("bridge", {"clip": "a", "clip_b": "b", "frames": 30}, 24),
}
"""verb, its request, the film's frame with which the control clip begins."""


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_begins_its_control_clip_where_it_should(name: str, clips: dict[str, str], tmp_path: Path) -> None:
    verb, request, begin = VERBS[name]
    files = {key: clips[value] for key, value in request.items() if key in ("clip", "clip_b")}
    plan = resolved(verb, rising(tmp_path / "c.mkv", 100, 16.0), **request | files).plan
    assert np.array_equal(followed(plan)[painted(plan)], painted(plan) - begin)
    assert plan.control is not None and plan.control.frames == range(plan.frames)


@pytest.mark.parametrize("fps", [8.0, 24.0, 50.0])
def test_a_clip_of_another_rate_keeps_its_time(fps: float, tmp_path: Path) -> None:
    plan = resolved("generate", rising(tmp_path / "c.mkv", 100, fps), frames=32).plan
    moments = np.arange(32) / 16
    assert np.abs(followed(plan) / fps - moments).max() <= 0.5 / fps + 1e-9


@pytest.mark.parametrize(("verb", "fps"), [("generate", 8.0), ("generate", 30.0), ("extend", 25.0)])
def test_a_film_of_another_rate_follows_at_the_right_moment(verb: str, fps: float, tmp_path: Path) -> None:
    request: dict[str, Any] = {"frames": 60, "fps": fps}
    if verb == "extend":
        request = {"frames": 60, "clip": str(rising(tmp_path / "a.mkv", 24, fps))}
    done = resolved(verb, rising(tmp_path / "c.mkv", 120, fps), **request)
    plan = done.plan
    assert plan.retiming is not None and plan.film_fps == fps
    (stretch,) = plan.retiming.stretches
    begin = 24 if verb == "extend" else 0
    for n in painted(plan):  # within half a frame of the film
        moment = stretch.film.start - stretch.lead + (n - stretch.painted.start) / float(stretch.step)
        assert abs(followed(plan)[n] - (moment - begin)) <= 0.5 + 1e-6


def test_a_short_clip_holds_its_last_frame_and_a_long_one_is_cut(tmp_path: Path) -> None:
    short = resolved("generate", rising(tmp_path / "c.mkv", 16, 16.0), frames=40)
    assert np.array_equal(followed(short.plan), np.minimum(np.arange(40), 15))
    assert any("ends after 1 s, 1.5 s too early; its last frame holds" in note for note in short.notes)
    long = resolved("generate", rising(tmp_path / "d.mkv", 100, 16.0), frames=40)
    assert any("is 6.25 s long; its first 2.5 s are used" in note for note in long.notes)
    assert resolved("generate", rising(tmp_path / "e.mkv", 40, 16.0), frames=40).notes == ()


def test_a_picture_holds_for_all_frames_and_takes_no_more_memory(tmp_path: Path) -> None:
    Image.fromarray(np.full((SIDE, SIDE, 3), 77, np.uint8)).save(tmp_path / "c.png")
    plan = resolved("generate", str(tmp_path / "c.png"), frames=100).plan
    assert plan.control is not None and (plan.control.clip.frames_FYXC == 77).all()
    assert plan.control.clip.frames_FYXC.strides[0] == 0


@pytest.mark.parametrize(("asked", "wanted"), [("8:16", range(8, 16)), ("8:", range(8, 40)), (":-4", range(36))])
def test_a_stretch_of_the_film_follows(asked: str, wanted: range, tmp_path: Path) -> None:
    done = resolved("generate", rising(tmp_path / "c.mkv", 60, 16.0), frames=40, control_frames=asked)
    assert done.plan.control is not None and done.plan.control.frames == wanted
    assert np.array_equal(followed(done.plan)[wanted.start : wanted.stop], wanted)


def test_a_stretch_of_a_film_of_another_rate(tmp_path: Path) -> None:
    done = resolved("generate", rising(tmp_path / "c.mkv", 60, 30.0), frames=60, fps=30.0, control_frames="20:40")
    assert done.plan.control is not None
    begin, stop = done.plan.control.frames.start, done.plan.control.frames.stop
    assert abs(begin / 16 - 20 / 30) <= 0.5 / 16 + 0.5 / 30 and abs(stop / 16 - 40 / 30) <= 0.5 / 16 + 0.5 / 30


@pytest.mark.parametrize("verb", ["generate", "img2vid"])
def test_a_film_is_as_long_as_its_control_clip(verb: str, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(tmp_path / "a.png")
    image = {"image": str(tmp_path / "a.png")} if verb == "img2vid" else {}
    done = resolved(verb, rising(tmp_path / "c.mkv", 75, 25.0), size=f"{SIDE}x{SIDE}", **image)
    assert (done.plan.film_frames, done.plan.film_fps) == (48, 16)
    assert resolved(verb, str(tmp_path / "c.mkv"), seconds=1.0, size="32x32", **image).plan.film_frames == 16


def test_a_film_takes_the_shape_of_its_control_clip(tmp_path: Path) -> None:
    path = rising(tmp_path / "c.mkv", 5, 16.0, (64, 36))
    height, width = resolved("generate", path, size=None).size
    assert height / width == pytest.approx(16 / 9, rel=0.02)
    square = resolved("generate", path, size=None, aspect="1:1", frames=5)
    assert square.size[0] == square.size[1] and any("the middle 56% of it is used" in note for note in square.notes)


def test_a_long_control_clip_makes_a_minute(tmp_path: Path) -> None:
    clip = Clip(np.zeros((130, SIDE, SIDE, 3), np.uint8), 2.0)
    media.write_clip(tmp_path / "c.mkv", clip)
    done = resolved("generate", str(tmp_path / "c.mkv"))
    assert done.plan.film_frames == 16 * control.MAX_SECONDS
    assert any("65 s long; the film follows its first 60 s, --seconds asks for more" in note for note in done.notes)


def test_computed_signals_are_of_the_films_size_and_rate(tmp_path: Path) -> None:
    moving = np.stack([disc((255, 0, 0), (0, 60, 0), x) for x in range(30, 62)])
    path = str(media.write_clip(tmp_path / "c.mkv", Clip(moving, 32.0)))
    for kind in SIGNALS:
        plan = resolved("generate", path, control_kind=kind, size="64x64", frames=16).plan
        fitted = Clip(moving[::2], 16.0).fitted(64, 64)
        assert plan.control is not None
        assert np.array_equal(plan.control.clip.frames_FYXC, media.control_signal(fitted.frames_FYXC, kind))


# --- what the model is shown -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["generate", "loop"])
def test_every_window_follows_its_own_stretch(verb: str, clips: dict[str, str], tmp_path: Path) -> None:
    request: dict[str, Any] = {"frames": 120, "control_frames": "100:"}
    request |= {"clip": clips["a"]} if verb == "loop" else {}
    done = resolved(verb, rising(tmp_path / "c.mkv", 124, 16.0), **request, control_strength="0.5")
    begin, plan = 24 if verb == "loop" else 0, done.plan
    assert len(plan.windows) > 1
    timeline = Timeline(plan)
    for window in plan.windows:
        span = range(window.first, window.first + window.frames)
        guides = timeline._guides(window)  # of the canvas, whose frames are yet to be painted
        assert guides.control_FCYX is not None and guides.controlled_F is not None
        shown = guides.control_FCYX[:, 0, 0, 0].numpy() // STEP
        for n, frame in enumerate(span):
            if frame in window.kept:
                assert shown[n] == frame - begin and bool(guides.controlled_F[n]) == (frame >= 100)
            elif verb == "generate" and frame >= plan.frames:  # it only fills up the grid, and follows the last frame
                assert shown[n] == 119 and guides.controlled_F[n]
        assert guides.scales == (0.5,)


def test_a_region_sees_its_part_of_the_control_clip() -> None:
    size, noise = (96, 160), np.random.default_rng(0).integers(0, 256, (5, 96, 160, 3)).astype(np.uint8)
    paint_FYX = np.zeros((1, *size), bool)
    paint_FYX[:, 40:64, 100:132] = True
    crop = crop_around(paint_FYX, 0.5)
    assert crop is not None
    form = Format(size, crop.size, 16.0, window=5, context=1, context_after=0, time=4)
    clip = Clip(np.zeros_like(noise), 16.0)
    plan = operations.edit(clip, "", format=form, strength=1.0, paint_FYX=paint_FYX, crop=crop)
    plan = replace(plan, control=Control(Clip(noise, 16.0), range(5)))
    canvas = crop_canvas(Timeline(plan).canvas_for(plan.windows[0]), crop)
    assert canvas.guides.control_FCYX is not None
    rows, columns = crop.slices
    assert noise[:, rows, columns].shape[1:3] == crop.size < size
    assert np.array_equal(canvas.guides.control_FCYX.permute(0, 2, 3, 1).numpy(), noise[:, rows, columns])


# --- files of every kind -----------------------------------------------------------------------------------------


def refusal(request: Request) -> str:
    with pytest.raises(SoraError) as refused:
        resolve(request)
    return str(refused.value)


def written(folder: Path) -> dict[str, Path]:
    """Files that cannot be read as a clip."""
    whole = media.write_clip(folder / "whole.mkv", Clip(np.zeros((5, SIDE, SIDE, 3), np.uint8), 16.0)).read_bytes()
    contents = {name: data for name, (data, _) in HOSTILE.items()}
    contents |= {"cut.mkv": whole[:100], "empty.mkv": b"", "words.mp4": b"words", "huge.y4m": y4m(20000, 20000, 1)}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    tone = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "sine=duration=0.2"]
    subprocess.run([*tone, str(folder / "tone.m4a")], check=True)
    (folder / "no pictures").mkdir()
    return {name: folder / name for name in (*contents, "tone.m4a", "no pictures", "missing.mkv")}


def test_what_cannot_be_read_is_refused_as_any_clip_is(tmp_path: Path) -> None:
    for name, path in written(tmp_path).items():
        message = refusal(Request(verb="generate", prompt="a", model=VACE, control=str(path), size="32x32"))
        assert str(path) in message and len(message.splitlines()) == 1, name
        if not name.endswith(".png"):  # a still is no clip to extend
            assert message == refusal(Request(verb="extend", prompt="a", model=VACE, clip=str(path))), name


def test_a_clip_without_its_end_is_followed_as_far_as_it_goes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3)).astype(np.uint8)
    data = media.write_clip(tmp_path / "whole.mkv", Clip(noise, 16.0)).read_bytes()
    (tmp_path / "part.mkv").write_bytes(data[: len(data) // 2])
    done = resolved("generate", str(tmp_path / "part.mkv"), size="64x64", frames=32)
    assert any("is incomplete" in note for note in done.notes) and any("holds" in note for note in done.notes)
    assert done.plan.control is not None
    assert np.array_equal(done.plan.control.clip.frames_FYXC[:8], noise[:8])


def test_transparency_lies_over_the_background(tmp_path: Path) -> None:
    clear = [Image.new("RGBA", (SIDE, SIDE), (9, 9, n, 0)) for n in range(3)]
    clear[0].save(tmp_path / "c.webp", save_all=True, append_images=clear[1:], duration=62, lossless=True, exact=True)
    white = resolved("generate", str(tmp_path / "c.webp"), frames=3)
    assert any("is transparent; it is put over white, change that with --background" in note for note in white.notes)
    black = resolved("generate", str(tmp_path / "c.webp"), frames=3, background="black")
    for done, level in ((white, 255), (black, 0)):
        assert done.plan.control is not None and (done.plan.control.clip.frames_FYXC == level).all()


@pytest.mark.parametrize("kind", ["folder", "gif", "one frame"])
def test_every_kind_of_clip_is_followed(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), (n * 50,) * 3) for n in range(4)]
    path = tmp_path / ("c.gif" if kind == "gif" else "c")
    if kind == "folder":
        path.mkdir()
        for n, frame in enumerate(frames):
            frame.save(path / f"{n}.png")
    elif kind == "gif":
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    else:
        path = media.write_clip(tmp_path / "c.mkv", Clip(np.asarray(frames[1])[None], 25.0))
    done = resolved("generate", str(path), frames=5)
    assert done.plan.control is not None
    levels = done.plan.control.clip.frames_FYXC[:, 0, 0, 0].tolist()
    assert levels == ([50] * 5 if kind == "one frame" else [0, 100, 150, 150, 150])


# --- what is refused, and what else is noted ---------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"control": "CLIP", "model": "mini"}, f"choose a --model of {VACE}"),
    ({"control": "CLIP", "model": "wan2.2-t2v-a14b"}, f"choose a --model of {VACE}"),
    ({"control_kind": "edges"}, "add --control FILE"),
    ({"control_frames": "1:2"}, "add --control FILE"),
    ({"control_strength": "1"}, "add --control FILE"),
    ({"control": "CLIP", "control_kind": "canny"}, "expected as-is, edges, grey, flow, pose, depth"),
    ({"control": "CLIP", "control_strength": "11"}, "expected 0 to 10"),
    ({"control": "CLIP", "control_strength": "-1"}, "is no weight"),
    ({"control": "CLIP", "control_strength": "nan"}, "is no weight"),
    ({"control": "CLIP", "control_strength": "1,"}, "is no weight"),
    ({"control": "CLIP", "control_strength": "1,2,3"}, "has 3 numbers; expected one, or 15"),
    ({"control": "CLIP", "control_frames": "5"}, "--control-frames '5' is no stretch"),
    ({"control": "CLIP", "control_frames": "99:"}, "--control-frames 99: holds no frame of the film, which has 6"),
    ({"control": "PICTURE", "control_kind": "flow"}, "in which nothing moves; --control-kind flow needs a clip"),
    ({"control": "CLIP", "verb": "loop", "prompt": "a cat"}, "a loop from words has no beginning"),
    ({"background": "black"}, "--background lies under a control clip"),
]


@pytest.mark.parametrize(("request_", "fragment"), REFUSED, ids=[fragment for _, fragment in REFUSED])
def test_what_control_cannot_do_is_refused(
    request_: dict[str, Any], fragment: str, footage: Footage, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(tmp_path / "c.png")
    names = {"CLIP": str(footage("c.mkv", 6, (SIDE, SIDE), 16.0)), "PICTURE": str(tmp_path / "c.png")}
    asked: dict[str, Any] = {"verb": "generate", "prompt": "a cat", "model": VACE, "size": "32x32", **request_}
    named: dict[str, Any] = {name: names.get(value, value) for name, value in asked.items()}
    message = refusal(Request(**named))
    assert fragment in message and len(message.splitlines()) == 1


def test_a_weight_of_references_alone(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(tmp_path / "r.png")
    shown: dict[str, Any] = {"references": (str(tmp_path / "r.png"),), "size": "32x32"}
    for verb, more in (("generate", shown), ("image", shown), ("generate", {"then": ("a dog",), "size": "32x32"})):
        asked: dict[str, Any] = {"verb": verb, "prompt": "a cat", "model": VACE, "control_strength": "0.5", **more}
        assert resolve(Request(**asked)).plan.guide_scales == (0.5,)
        asked["control_strength"] = "12"
        assert "expected 0 to 10" in refusal(Request(**asked))


def test_without_opencv_what_is_computed_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rising(tmp_path / "c.mkv", 5, 16.0)
    monkeypatch.setattr("sora.media.control.find_spec", lambda name: None)
    for kind in control.COMPUTED:
        asked: dict[str, Any] = {"prompt": "a", "model": VACE, "control": path, "control_kind": kind}
        assert "pip install 'sora-video[control]'" in refusal(Request(verb="generate", **asked))
    assert resolved("generate", path, control_kind="pose").plan.control is not None


@pytest.mark.parametrize("kind", control.DRAWN)
def test_a_note_says_that_poses_and_depth_must_be_drawn_already(kind: str, tmp_path: Path) -> None:
    done = resolved("generate", rising(tmp_path / "c.mkv", 5, 16.0), control_kind=kind)
    assert sum(f"is taken for a {kind} signal as it is" in note for note in done.notes) == 1
    assert done.request.control_kind == kind


def test_an_edit_with_a_control_clip_keeps_nothing_else_unless_it_says_so(clips: dict[str, str]) -> None:
    whole = resolved("edit", clips["a"], clip=clips["a"])
    assert whole.plan.source is None and whole.request.strength == 1
    part = resolved("edit", clips["a"], clip=clips["a"], strength=0.6)
    assert part.plan.source is not None and part.plan.source.strength == 0.6 and part.plan.control is not None


def test_keywords_of_python_are_numbers_pairs_and_arrays(stand_in: list[str], footage: Footage) -> None:
    noise = media.read_clip(footage("c.mkv", 6, (SIDE, SIDE), 24.0))
    for source in (noise, noise.frames_FYXC, [Image.fromarray(frame) for frame in noise.frames_FYXC]):
        with pytest.raises(sora.UsageError, match=r"^mini cannot follow a control clip; leave control out"):
            sora.generate("a cat", control=source, control_strength=[1, 0.25], control_frames=(1, None))
    row = VERB_ROWS["generate"]
    given = {"control_strength": [1, 0.25, 1e-7], "control_frames": (1, None)}
    assert values_of(row, given) == {"control_strength": "1,0.25,0.0000001", "control_frames": "1:"}
    assert values_of(row, {"control_strength": 2}) == {"control_strength": "2"}
    for wrong in ([], ["1"], True, object()):
        with pytest.raises(sora.UsageError, match="control_strength"):
            values_of(row, {"control_strength": wrong})


def test_models_say_whether_they_can(studio: Studio) -> None:
    facts = {name: json.loads(studio("models", "show", name, "--json").stdout) for name in (VACE, "mini")}
    assert facts[VACE]["control"] and facts[VACE]["control_layers"] == 15
    assert not facts["mini"]["control"] and "control" not in studio("models", "show", "mini").stdout
    assert "a clip or a picture, by 15 layers" in studio("models", "show", VACE).stdout
