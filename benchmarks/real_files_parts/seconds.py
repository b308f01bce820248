"""Clips of rates that no model paints at, pictures of shapes that no film has, and seams of films that go on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from PIL import Image

import sora
from minitrain import video_metrics
from real_files_parts.case import Case, Outcome, run
from sora import media
from sora.plan.clip import Clip

NTSC_FILM, NTSC = 24000 / 1001, 30000 / 1001
CLIP_FRAMES = 20
PIXELS = 256 * 256  # of mini's films
WORDS = "a red ball moves to the right in the snow"
JUMP = 1.6  # times the median step of the clip


def painted(verb: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    """A film, quickly."""
    return verb(*inputs, **{"steps": 1, "seed": 1} | options)


def clip_of(fps: float, frames: int = CLIP_FRAMES) -> Clip:
    """A red square on grey that goes to the right at 24 pixels a second."""
    pictures = np.full((frames, 48, 64, 3), 120, np.uint8)
    for n in range(frames):
        pictures[n, 16:32, 4 + round(24 * n / fps) :][:, :16] = (200, 30, 30)
    return Clip(pictures, fps)


def written(folder: Path, fps: float, frames: int = CLIP_FRAMES) -> Path:
    return media.write_clip(folder / "clip.mkv", clip_of(fps, frames))


def lengths(made: Any, frames: int, fps: float, *own: tuple[int, np.ndarray]) -> Outcome:
    """Whether a film has so many frames at that rate, holds the clips' own at their places, and none of it stands still
    or is missing."""
    kept = [bool(np.array_equal(made.frames[at : at + len(clip)], clip)) for at, clip in own]
    got = f"{len(made)} frames at {made.fps:g}" + (", own frames as they were" if all(kept) and own else "")
    got += "" if all(kept) else ", own frames changed"
    return Outcome(got, len(made) == frames and abs(made.fps - fps) < 1e-3 and all(kept))


def words_of(frames: int, fps: float, own: bool = True) -> str:
    return f"{frames} frames at {fps:g}" + (", own frames as they were" if own else "")


def extended(fps: float, seconds: float, backward: bool, folder: Path) -> Outcome:
    path, clip = written(folder, fps), clip_of(fps).frames_FYXC
    made = painted(sora.extend, path, WORDS, seconds=seconds, backward=backward)
    added = round(seconds * fps)
    return lengths(made, CLIP_FRAMES + added, fps, (added if backward else 0, clip))


def by_default(verb: str, fps: float, folder: Path) -> Outcome:
    """How long what is painted is where no length is asked for: two seconds and a little at most."""
    path = str(written(folder, fps))
    argv = [verb, path, path] if verb == "bridge" else [verb, path]
    reported = json.loads(run(folder, *argv, "--dry-run", "--json").out)
    added = int(reported["film"].split()[0]) - CLIP_FRAMES * argv.count(path)
    seconds = added / fps
    return Outcome("2 s to 4 s" if 2 <= round(seconds, 2) <= 4 else f"{seconds:.2f} s", 2 <= round(seconds, 2) <= 4)


def looped(fps: float, folder: Path) -> Outcome:
    path = written(folder, fps)
    made = painted(sora.loop, path, prompt=WORDS, frames=45)
    return lengths(made, CLIP_FRAMES + 45, fps, (0, clip_of(fps).frames_FYXC))


def bridged(fps: float, folder: Path) -> Outcome:
    path, clip = written(folder, fps), clip_of(fps).frames_FYXC
    made = painted(sora.bridge, path, path, WORDS, frames=31)
    return lengths(made, 2 * CLIP_FRAMES + 31, fps, (0, clip), (CLIP_FRAMES + 31, clip))


def repainted(fps: float, folder: Path) -> Outcome:
    path, clip = written(folder, fps), clip_of(fps).frames_FYXC
    made = painted(sora.edit, path, WORDS, frame_range="5:13")
    return lengths(made, CLIP_FRAMES, fps, (0, clip[:5]), (13, clip[13:]))


def generated(fps: float, frames: int, more: dict[str, Any], folder: Path) -> Outcome:  # noqa: ARG001
    return lengths(painted(sora.generate, WORDS, fps=fps, size="64x48", **more), frames, fps)


def circled(fps: float, seconds: float, folder: Path) -> Outcome:  # noqa: ARG001
    made = painted(sora.loop, prompt=WORDS, fps=fps, seconds=seconds, size="64x48")
    return lengths(made, round(fps * seconds), fps)


def set_in_motion(fps: float, seconds: float, folder: Path) -> Outcome:  # noqa: ARG001
    first, last = clip_of(fps).frames_FYXC[[0, -1]]
    made = painted(sora.img2vid, first, WORDS, last_image=last, fps=fps, seconds=seconds, size="64x48")
    frames = round(fps * seconds)
    return lengths(made, frames, fps, (0, first[None]), (frames - 1, last[None]))


def no_frame_twice(fps: float, folder: Path) -> Outcome:  # noqa: ARG001
    """Repeated frames are what judders."""
    made = sora.generate(WORDS, fps=fps, seconds=2, seed=1)
    still = int((video_metrics.frame_differences(made.frames) < 0.02).sum())
    return Outcome(f"{still} frames shown twice", still == 0)


def same_speed(fps: float, folder: Path) -> Outcome:  # noqa: ARG001
    """After as many seconds a film shows the same at any rate, since the same is painted."""
    usual, other = (painted(sora.generate, WORDS, seconds=2, steps=4, **more) for more in ({}, {"fps": fps}))
    count = round(1.5 * fps)
    off = np.abs(usual.frames[12].astype(int) - other.frames[count]).mean()
    away = np.abs(usual.frames[12].astype(int) - usual.frames[8]).mean()
    return Outcome("the same after 1.5 s" if off < 0.5 * away else f"{off:.1f} levels off", bool(off < 0.5 * away))


def sounding(folder: Path) -> Outcome:
    """A clip with a tone, begun two seconds earlier: silence, then the tone."""
    silent, loud, film = written(folder, 30), folder / "loud.mkv", folder / "film.mkv"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    tone = f"-f lavfi -i sine=frequency=440:duration={CLIP_FRAMES / 30} -c:v copy -c:a flac"
    subprocess.run([*ffmpeg, "-i", silent, *tone.split(), loud], check=True)
    ended = run(folder, "extend", str(loud), WORDS, "--backward", "--seconds", "2", "--steps", "1", "-o", str(film))
    raw = subprocess.run([*ffmpeg, "-i", film, "-ar", "8000", "-ac", "1", "-f", "s16le", "-"], capture_output=True)
    loud_samples = np.abs(np.frombuffer(raw.stdout, np.int16).astype(int)) > 200
    begins = float(loud_samples.argmax()) / 8000 if loud_samples.any() else -1.0
    return Outcome(f"exit {ended.status}, sound from {begins:.1f} s on", round(begins, 1) == 2 and ended.status == 0)


def painted_from(width: int, height: int, turned: bool, argv: tuple[str, ...], folder: Path) -> Outcome:
    """The size that a photo's film has, as a dry run says it: of the picture's shape, about mini's number of pixels."""
    photo = folder / "photo.jpg"
    exif = Image.Exif()
    if turned:
        exif[0x112] = 6  # the camera was held upright
    Image.effect_noise((width, height), 40).convert("RGB").save(photo, exif=exif)
    reported = json.loads(run(folder, "img2vid", str(photo), WORDS, *argv, "--dry-run", "--json").out)
    size = reported["film"].split(" of ")[1].split()[0]
    across, down = map(int, size.split("x"))
    is_noted = any("the film " + size in note for note in reported["notes"])
    shape = "portrait" if down > 1.15 * across else "landscape" if across > 1.15 * down else "square"
    usual = 0.7 < across * down / PIXELS < 1.4 and across % 16 == down % 16 == 0
    at_most = max(across / down, down / across) <= 4
    got = f"{shape}, {'usual' if usual else size} size, {'said' if is_noted else 'unsaid'}"
    return Outcome(got if at_most else f"{got}, too long", at_most)


def photo(expected: str, name: str, width: int, height: int, turned: bool = False, argv: tuple[str, ...] = ()) -> Case:
    def attempt(folder: Path) -> Outcome:
        outcome = painted_from(width, height, turned, argv, folder)
        return Outcome(outcome.got, outcome.right and outcome.got == expected)

    return Case("a picture of any shape", name, expected, attempt)


def seam(prompt: str, seed: int, folder: Path) -> Outcome:  # noqa: ARG001
    clip = sora.generate(prompt, seed=seed)
    steps = video_metrics.frame_differences(sora.extend(clip, seed=seed).frames)
    ratio = steps[len(clip) - 1] / max(1.0, float(np.median(steps[: len(clip) - 1])))
    got = f"at most {JUMP} times the steps inside"
    return Outcome(got if ratio <= JUMP else f"{ratio:.2f} times", bool(ratio <= JUMP))


def cases() -> Iterator[Case]:
    def case(kind: str, name: str, expected: str, attempt: Callable[[Path], Outcome]) -> Case:
        return Case(kind, name, expected, attempt)

    rated = "a clip of another rate"
    for fps in (30.0, 25.0, 60.0, NTSC_FILM, NTSC, 50.0, 15.0, 12.0, 10.0, 5.0):
        frames = CLIP_FRAMES + round(2 * fps)
        name = f"{fps:.5g} fps, 2 s on"
        yield case(rated, name, words_of(frames, fps), partial(extended, fps, 2.0, False))
    for fps in (30.0, 24.0, 12.0):
        frames = CLIP_FRAMES + round(1.3 * fps)
        yield case(rated, f"{fps:g} fps, 1.3 s before", words_of(frames, fps), partial(extended, fps, 1.3, True))
    yield case(rated, "30 fps, 7 s on", words_of(CLIP_FRAMES + 210, 30), partial(extended, 30.0, 7.0, False))
    yield case(rated, "30 fps, looped", words_of(CLIP_FRAMES + 45, 30), partial(looped, 30.0))
    yield case(rated, "25 fps, bridged", words_of(2 * CLIP_FRAMES + 31, 25), partial(bridged, 25.0))
    yield case(rated, "30 fps, frames 5 to 12 repainted", words_of(CLIP_FRAMES, 30), partial(repainted, 30.0))
    yield case(rated, "30 fps, with a tone, 2 s before", "exit 0, sound from 2.0 s on", sounding)
    for verb, fps in (("extend", 30.0), ("loop", 25.0), ("bridge", 60.0), ("bridge", 8.0)):
        yield case("no length asked for", f"{verb} at {fps:g} fps", "2 s to 4 s", partial(by_default, verb, fps))
    asked = "a rate asked for"
    yield case(asked, "24 fps, 2 s", words_of(48, 24, own=False), partial(generated, 24.0, 48, {"seconds": 2}))
    yield case(asked, "30 fps, 7 frames", words_of(7, 30, own=False), partial(generated, 30.0, 7, {"frames": 7}))
    two = {"then": ["a balloon rises"], "seconds": 4}
    yield case(asked, "25 fps, two shots", words_of(100, 25, own=False), partial(generated, 25.0, 100, two))
    yield case(asked, "30 fps, an endless loop of 2.2 s", words_of(66, 30, own=False), partial(circled, 30.0, 2.2))
    yield case(asked, "25 fps, from picture to picture", words_of(50, 25), partial(set_in_motion, 25.0, 2.0))
    yield case(asked, "30 fps, no judder", "0 frames shown twice", partial(no_frame_twice, 30.0))
    yield case(asked, "24 fps, as fast as ever", "the same after 1.5 s", partial(same_speed, 24.0))
    yield photo("portrait, usual size, said", "a phone's portrait", 1512, 2016)
    yield photo("portrait, usual size, said", "lying, and turned by its Exif", 2016, 1512, turned=True)
    yield photo("landscape, usual size, said", "a panorama, 8 to 1", 4000, 500)
    yield photo("portrait, usual size, said", "a scroll, 1 to 10", 200, 2000)
    yield photo("square, usual size, said", "one pixel", 1, 1)
    yield photo("square, usual size, said", "a portrait, --aspect 1:1", 600, 800, argv=("--aspect", "1:1"))
    yield photo("landscape, 640x360 size, said", "a portrait, --size 640x360", 600, 800, argv=("--size", "640x360"))
    near = f"at most {JUMP} times the steps inside"
    for subject in (
        "a red ball bounces in the desert",
        "a car moves to the left in the city",
        "a duck falls at the lake",
    ):
        yield case("a seam in a film of one's own", subject, near, partial(seam, subject, 0))
