"""The camera: its view of each backdrop layer, and how it moves the actors on the picture.

Far layers move less than near ones. Pans and tilts leave the actors at their places on the picture, as if the camera
kept up with them; a zoom scales them too; a following camera keeps the first actor in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minitrain.worlds.motions import Pose

PARALLAX = (0.35, 0.65, 1.0)  # far, middle, near
MOVE_FRAMES = 32  # frames in which a tilt or a zoom runs its course
ZOOM_RATIO = 1.5  # of a whole zoom: as much as the pictures are wider than the canvas
PAN_SPEED = 2.0  # 128ths of the short side, a frame


@dataclass(frozen=True)
class View:
    """The view of one layer in one frame: the shift of its centre in 128ths of the short side, and its
    magnification."""

    x: float
    y: float
    zoom: float = 1.0


def views(
    camera: str, times: Sequence[int], height: float, width: float, *, layered: bool, speed: float = 0.0
) -> list[list[View]]:
    """For each layer, one view a frame. speed: of the followed actor to the right, a frame."""
    return [
        [_view(camera, t, height, width, depth, speed) for t in times] for depth in (PARALLAX if layered else (1.0,))
    ]


def _view(camera: str, t: float, height: float, width: float, depth: float, speed: float) -> View:
    direction = -1 if camera.endswith(("left", "up")) else 1
    if camera.startswith("pan"):
        return View(depth * direction * (PAN_SPEED * t - width / 4), 0.0)
    if camera.startswith("tilt"):
        return View(0.0, depth * direction * height / 2 * (min(t / MOVE_FRAMES, 1) - 0.5))
    if camera == "follow":
        return View(depth * speed * t, 0.0)
    return View(0.0, 0.0, ZOOM_RATIO ** (depth * (_zoom_progress(camera, t) - 1)))


def _zoom_progress(camera: str, t: float) -> float:
    u = min(t / MOVE_FRAMES, 1)
    return u if camera == "zoom-in" else 1 - u


def to_picture(camera: str, pose: Pose, t: float, height: float, width: float, speed: float) -> Pose:
    """Transform a pose from the shot to the picture."""
    if camera == "follow":
        return Pose(pose.x - speed * t, pose.y, pose.side, pose.angle)
    if not camera.startswith("zoom"):
        return pose
    scale = 0.8 * ZOOM_RATIO ** _zoom_progress(camera, t)
    x, y = width / 2 + scale * (pose.x - width / 2), height * 0.6 + scale * (pose.y - height * 0.6)
    return Pose(x, y, scale * pose.side, pose.angle)
