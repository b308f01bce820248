"""An endless world of captioned cartoon clips: one subject, one setting, one motion, a little camera and weather.

A scene is drawn from a seed and renders the same pixels every time. Scenes whose (subject, setting, motion) hash into
the held-out tenth are never trained on.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from sora.training.scenery import SETTINGS, backdrop
from sora.training.sprites import GLYPHS, SUBJECTS, sprite

MOTIONS = ("left", "right", "up", "down", "bounce", "spin", "grow", "shrink", "still")
CAMERAS = ("static", "pan-left", "pan-right")
FPS = 8.0
TRAVEL = 16  # frames (two seconds) in which a motion runs its course
STRIDE, LATTICE_SIDE = 16, 64  # pixels, of worlds on a lattice


@dataclass(frozen=True)
class World:
    """What scenes are drawn from. panning and snowing: shares of the scenes with a moving camera, with snowfall.
    lattice: one size of sprite, starting on a lattice of STRIDE pixels and back on it every fourth frame. A latent
    frame then shows a subject in few ways instead of endlessly many, which a small training can learn."""

    subjects: tuple[str, ...]
    settings: tuple[str, ...] = tuple(SETTINGS)
    motions: tuple[str, ...] = MOTIONS
    panning: float = 0.1
    snowing: float = 0.06
    lattice: bool = False


FIRST = World(subjects=tuple(SUBJECTS))
SMALL = World(
    subjects=(
        *("balloon", "car", "sailboat", "rocket", "turtle", "fish", "elephant", "chick"),
        *("red ball", "blue ball", "yellow ball", "purple ball"),
    ),
    lattice=True,
)
WORLDS = {"first": FIRST, "small": SMALL}


@dataclass(frozen=True)
class Scene:
    """What happens. faces: "left" or "right", where the subject looks. seed: fixes every remaining detail."""

    subject: str
    setting: str
    motion: str
    camera: str
    snow: bool
    faces: str
    seed: int
    lattice: bool = False


def held_out(subject: str, setting: str, motion: str) -> bool:
    """Whether this combination belongs to the tenth that is never trained on."""
    return zlib.crc32(f"{subject}|{setting}|{motion}".encode()) % 10 == 0


def draw_scene(world: World, seed: int, *, held: bool | None = None) -> Scene:
    """A scene from a seed. held: only held-out combinations, only the others, or either."""
    rng = Random(seed)
    while True:
        subject = _draw_subject(world, rng)
        setting, motion = rng.choice(world.settings), rng.choice(world.motions)
        if held is None or held_out(subject, setting, motion) == held:
            break
    # A moving camera would turn "still" and the sideways motions into one another.
    pans = motion in ("up", "down", "bounce", "spin") and rng.random() < world.panning * len(MOTIONS) / 4
    return Scene(
        subject=subject,
        setting=setting,
        motion=motion,
        camera=rng.choice(CAMERAS[1:]) if pans else CAMERAS[0],
        snow=rng.random() < world.snowing,
        faces=motion if motion in ("left", "right") else "left" if world.lattice else rng.choice(("left", "right")),
        seed=rng.getrandbits(48),
        lattice=world.lattice,
    )


def _draw_subject(world: World, rng: Random) -> str:
    glyphs = [s for s in world.subjects if s in GLYPHS]
    shapes = [s for s in world.subjects if s not in GLYPHS]
    return rng.choice(glyphs if glyphs and (not shapes or rng.random() < 0.75) else shapes)


def mirrored(scene: Scene) -> Scene:
    """The same scene with the subject looking the other way, for a judge that must read motion and not looks."""
    return replace(scene, faces="right" if scene.faces == "left" else "left")


@dataclass(frozen=True)
class Pose:
    """Where the sprite is in one frame: centre in pixels, side in pixels, angle in degrees."""

    x: float
    y: float
    side: float
    angle: float = 0.0


def poses(scene: Scene, times: range, height: int, width: int, rng: Random) -> list[Pose]:
    """The subject's path, one pose for each of the times, counted in frames."""
    if scene.lattice:
        return _lattice_poses(scene.motion, times, height, width, rng)
    side = min(height, width) * rng.uniform(0.45, 0.6)
    half = side * 0.5
    x = rng.uniform(half, width - half)
    y = rng.uniform(max(half, height * 0.42), max(half, height - half))
    gap, phase, turn = rng.uniform(0.06, 0.22), rng.uniform(0, 1), rng.choice((-1, 1)) * rng.uniform(180, 270)
    return [_pose(scene.motion, t / TRAVEL, x, y, side, height, width, gap, phase, turn) for t in times]


def _pose(
    motion: str,
    u: float,
    x: float,
    y: float,
    side: float,
    height: int,
    width: int,
    gap: float,
    phase: float,
    turn: float,
) -> Pose:
    """The pose at u, 1 being the end of the motion's course."""
    low, travel = side * 0.35, 1 - 2 * gap
    run_x = low + (width - 2 * low) * (gap + travel * u)
    run_y = low + (height - 2 * low) * (gap + travel * u)
    if motion == "right":
        return Pose(run_x, y, side)
    if motion == "left":
        return Pose(width - run_x, y, side)
    if motion == "down":
        return Pose(x, run_y, side)
    if motion == "up":
        return Pose(x, height - run_y, side)
    if motion == "bounce":
        rise = abs(math.sin(math.pi * (1.25 * u + phase)))
        return Pose(x, height - side * 0.5 - rise * (height - side) * 0.6, side)
    if motion == "spin":
        return Pose(x, y, side, turn * u)
    if motion == "grow":
        return Pose(x, y, side * min(1.4, 0.45 + 0.8 * u))
    if motion == "shrink":
        return Pose(x, y, side * max(0.4, 1.25 - 0.8 * u))
    return Pose(x, y, side)


def _lattice_poses(motion: str, times: range, height: int, width: int, rng: Random) -> list[Pose]:
    """Paths of a sprite LATTICE_SIDE wide: whole strides in four frames, hops of eight, a turn in sixteen."""
    run_x, run_y = (min(TRAVEL * 4, (size - LATTICE_SIDE) // 32 * 32) for size in (width, height))
    x = STRIDE * rng.randint(0, (width - LATTICE_SIDE - (run_x if motion in ("left", "right") else 0)) // STRIDE)
    room_y = (height - LATTICE_SIDE - (run_y if motion in ("up", "down") else 0)) // STRIDE
    y = STRIDE * (rng.randint(0, room_y) if motion in ("up", "down") else room_y - rng.randint(0, min(1, room_y)))
    turn = rng.choice((-1, 1)) * 360 / TRAVEL
    return [_lattice_pose(motion, t, x + LATTICE_SIDE / 2, y + LATTICE_SIDE / 2, run_x, run_y, turn) for t in times]


def _lattice_pose(motion: str, t: int, x: float, y: float, run_x: int, run_y: int, turn: float) -> Pose:
    """The pose at frame t of a course that begins at the left or the top."""
    side, u = LATTICE_SIDE, t / TRAVEL
    if motion in ("left", "right"):
        return Pose(x + run_x * (u if motion == "right" else 1 - u), y, side)
    if motion in ("up", "down"):
        return Pose(x, y + run_y * (u if motion == "down" else 1 - u), side)
    if motion == "bounce":
        return Pose(x, y - 2 * STRIDE * (1 - (1 - t % 8 / 4) ** 2), side)
    if motion == "spin":
        return Pose(x, y, side, turn * t)
    if motion in ("grow", "shrink"):
        end = 4 * STRIDE * (u if motion == "grow" else 1 - u)
        return Pose(x, y, min(max(side / 2 + end, 24), 1.75 * side))
    return Pose(x, y, side)


def render(scene: Scene, frames: int, height: int, width: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(frames_FYXC uint8, coverage_FYX uint8: the subject's opacity), from frame ``first`` of the scene on."""
    rng = Random(scene.seed)
    speed = 2.0 if scene.lattice else rng.uniform(1.5, 3.0) * width / 128
    speed *= scene.camera != "static"
    times = range(first, first + frames)
    margin = math.ceil(speed * max(0, times[-1]))
    back = backdrop(scene.setting, height, width + margin, rng)
    path = poses(scene, times, height, width, rng)
    around = scene.lattice and scene.motion in ("left", "right", "up", "down")
    flakes = [(rng.random(), rng.random(), rng.uniform(0.5, 1)) for _ in range(24)] if scene.snow else []
    film = np.empty((frames, height, width, 3), np.uint8)
    cover = np.empty((frames, height, width), np.uint8)
    looks: dict[tuple[float, float], Image.Image] = {}
    for i, (t, pose) in enumerate(zip(times, path, strict=True)):
        left = round(speed * t) if scene.camera == "pan-right" else margin - round(speed * t)
        frame = back.crop((left, 0, left + width, height))
        shade = Image.new("L", (width, height))
        for place in _round_the_edge(pose, height, width) if around else (pose,):
            _stamp(frame, shade, _look(scene, pose, looks), place)
        _let_snow(frame, flakes, t)
        film[i], cover[i] = np.asarray(frame), np.asarray(shade)
    return film, cover


def _round_the_edge(pose: Pose, height: int, width: int) -> tuple[Pose, ...]:
    """A travelling sprite comes back in where it goes out, so that a long film never loses its subject."""
    x, y, half = pose.x % width, pose.y % height, pose.side / 2
    columns = (x, x + width if x < half else x - width) if not half <= x <= width - half else (x,)
    rows = (y, y + height if y < half else y - height) if not half <= y <= height - half else (y,)
    return tuple(replace(pose, x=column, y=row) for column in columns for row in rows)


def _look(scene: Scene, pose: Pose, looks: dict[tuple[float, float], Image.Image]) -> Image.Image:
    """The sprite at a pose's size and angle, kept for the next frame that needs the same."""
    key = (round(pose.side), pose.angle)
    if key not in looks:
        picture = sprite(scene.subject)
        if SUBJECTS[scene.subject].faces not in ("", scene.faces):
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if pose.angle:
            picture = picture.rotate(pose.angle, Image.Resampling.BICUBIC, expand=False)
        looks[key] = picture.resize((key[0], key[0]), Image.Resampling.BILINEAR)
    return looks[key]


def _stamp(frame: Image.Image, shade: Image.Image, look: Image.Image, pose: Pose) -> None:
    corner = (round(pose.x - look.width / 2), round(pose.y - look.height / 2))
    alpha = look.getchannel("A")
    frame.paste(look, corner, alpha)
    shade.paste(255, corner, alpha)


def _let_snow(frame: Image.Image, flakes: list[tuple[float, float, float]], t: int) -> None:
    if not flakes:
        return
    pen, r = ImageDraw.Draw(frame), frame.height * 0.014
    for fx, fy, fall in flakes:
        x = (fx + 0.02 * math.sin(t * 0.4 + fx * 9)) % 1 * frame.width
        y = (fy + fall * t / 20) % 1 * frame.height
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255))
