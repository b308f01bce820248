"""Files: what is written is what is read back, with the recipe inside; failures leave nothing behind."""

import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from zlib import crc32

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageDraw

from sora import media
from sora.errors import InputError, SoraError, UsageError
from sora.media import encoder_thread
from sora.media.encoder_thread import EncoderThread
from sora.plan.clip import Clip

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
CLIPS = ["c.mp4", "c.mkv", "c.gif", "c.webp", "frames", "dotted.name/"]
STILLS = ["s.png", "s.jpg", "s.JPEG"]
NASTY = ["\"q\" 's' = ; # \\ \\\\ [STREAM]", "line\nend\r\n", "🎈 中文 é", "]]>&<a>", "%03d ${x}", ";FFMETADATA1\na=b"]


def film(frames: int = 6, height: int = 64, width: int = 96) -> np.ndarray:
    """A cartoon: a meadow, flat saturated red and blue corners, a ball that moves; drawn large and made smaller."""
    made = []
    for n in range(frames):
        image = Image.new("RGB", (4 * width, 4 * height), (120, 190, 110))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 0, width, height), fill=(255, 0, 0))
        draw.rectangle((3 * width, 0, 4 * width, height), fill=(0, 0, 255))
        draw.ellipse((width + 8 * n, height, 2 * width + 8 * n, height + width), fill=(240, 160, 60))
        made.append(np.asarray(image.resize((width, height), Image.Resampling.BOX)))
    return np.stack(made)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2)))


def recipe() -> str:
    return json.dumps({"prompt": NASTY, "fps": 8.0}, ensure_ascii=False, indent=1)


def left_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def facts(path: Path) -> dict[str, str]:
    """Codec, pixel format and colour tags of the video stream, by ffprobe or by ffmpeg's own log."""
    if ffprobe := shutil.which("ffprobe"):
        keys = "codec_name,pix_fmt,color_range,color_space,color_transfer,color_primaries,r_frame_rate"
        ask = [ffprobe, "-v", "error", "-select_streams", "v", "-show_entries", f"stream={keys}", "-of", "json"]
        stream = json.loads(subprocess.run([*ask, str(path)], capture_output=True, check=True).stdout)["streams"][0]
        rate = stream["r_frame_rate"]
        colour = [stream[f"color_{k}"] for k in ("space", "primaries", "transfer")]
        return {"codec": stream["codec_name"], "pix_fmt": stream["pix_fmt"], "rate": rate,
                "range": stream["color_range"], "colour": "/".join(colour)}  # fmt: skip
    log = subprocess.run([FFMPEG, "-hide_banner", "-i", str(path)], capture_output=True).stderr.decode()
    found = re.search(r"Video: (\w+).*?, (yuv\w+)\((\w+), ([\w/]+).*?, ([\d.]+) fps", log)
    assert found, log
    colour = found[4] if "/" in found[4] else "/".join([found[4]] * 3)
    return {"codec": found[1], "pix_fmt": found[2], "rate": f"{found[5]}/1", "range": found[3], "colour": colour}


def test_mp4_is_what_browsers_play(tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "c.mp4", Clip(film(), 8.0))
    assert facts(path) == {
        "codec": "h264", "pix_fmt": "yuv420p", "rate": "8/1", "range": "tv", "colour": "bt709/bt709/bt709",
    }  # fmt: skip
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")  # starts to play before it is all there


def test_mp4_keeps_the_picture_and_its_colours(tmp_path: Path) -> None:
    frames = film()
    back = media.read_clip(media.write_clip(tmp_path / "c.mp4", Clip(frames, 8.0)))
    assert back.frames_FYXC.shape == frames.shape and back.fps == 8.0
    assert psnr(back.frames_FYXC, frames) >= 32
    # A 601 matrix on either side would move these by 20 levels and more.
    for column in (slice(0, 16), slice(80, 96)):
        patch = (slice(None), slice(0, 10), column)
        assert np.abs(back.frames_FYXC[patch].mean((0, 1, 2)) - frames[patch].mean((0, 1, 2))).max() <= 3


def test_mp4_pixels_are_converted_with_the_709_matrix(tmp_path: Path) -> None:
    """The luma of pure red is 63 by bt709 and 81 by bt601, whatever a reader makes of the tags."""
    red = np.zeros((2, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    path = media.write_clip(tmp_path / "red.mp4", Clip(red, 8.0))
    raw = subprocess.run([FFMPEG, "-v", "error", "-i", path, "-f", "rawvideo", "-"], capture_output=True, check=True)
    assert abs(np.frombuffer(raw.stdout, np.uint8)[:256].mean() - 63) <= 1


@pytest.mark.parametrize("name", ["c.mkv", "frames"])
@pytest.mark.parametrize("size", [(64, 96), (33, 17), (1, 1)])
def test_lossless_kinds_come_back_bit_for_bit(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    back = media.read_clip(media.write_clip(tmp_path / name, Clip(frames, 8.0), recipe()))
    assert np.array_equal(back.frames_FYXC, frames) and back.fps == 8.0


@pytest.mark.parametrize("name", CLIPS)
def test_frames_rate_size_and_recipe_come_back(tmp_path: Path, name: str) -> None:
    target = f"{tmp_path}/{name}"
    path = media.write_clip(target, Clip(film(7), 8.0), recipe())
    info = media.probe(path)
    assert (info.frames, info.width, info.height, info.fps, info.seconds) == (7, 96, 64, 8.0, 0.875)
    assert info.recipe == media.read_recipe(path) == recipe()
    assert info.kind == {".mp4": "video", ".mkv": "video", "": "folder"}.get(path.suffix, "animation") or path.is_dir()
    clip = media.read_clip(path)
    assert len(clip) == 7 and clip.fps == 8.0 and psnr(clip.frames_FYXC, film(7)) > 27
    assert left_in(tmp_path) == [path.name]


@pytest.mark.parametrize("name", CLIPS[:4])
def test_a_clip_where_nothing_moves_keeps_its_frames(tmp_path: Path, name: str) -> None:
    still = np.repeat(film(1), 5, axis=0)
    assert len(media.read_clip(media.write_clip(tmp_path / name, Clip(still, 24.0)))) == 5


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv"])
@pytest.mark.parametrize("fps", [24000 / 1001, 29.97, 12.5, 60, 1])
def test_videos_keep_fractional_rates(tmp_path: Path, name: str, fps: float) -> None:
    path = media.write_clip(tmp_path / name, Clip(film(5, 16, 16), fps))
    assert media.probe(path).fps == pytest.approx(fps, rel=1e-5)
    assert len(media.read_clip(path)) == 5


@pytest.mark.parametrize("name", STILLS)
def test_a_still_and_its_recipe_come_back(tmp_path: Path, name: str) -> None:
    path = media.write_clip(tmp_path / name, Clip(film(1), 8.0), recipe())
    assert psnr(media.read_image(path), film(1)[0]) > 40
    info = media.probe(path)
    assert (info.kind, info.frames, info.width, info.height, info.recipe) == ("image", 1, 96, 64, recipe())
    with pytest.raises(InputError, match="still"):
        media.read_clip(path)


def test_a_still_holds_one_frame(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one frame"):
        media.write_clip(tmp_path / "s.png", Clip(film(2), 8.0))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv", "c.gif", "c.webp", "s.png", "s.jpg", "f"])
def test_a_recipe_larger_than_an_argument_or_a_segment_survives(tmp_path: Path, name: str) -> None:
    long = json.dumps({"prompt": "🎈=" * 60_000, "negative": ""}, ensure_ascii=False)
    path = media.write_clip(tmp_path / name, Clip(film(1 if name[0] == "s" else 2, 16, 16), 8.0), long)
    assert media.read_recipe(path) == long


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv", "c.gif", "c.webp", "s.png", "s.jpg", "f"])
def test_files_without_a_recipe_have_none(tmp_path: Path, name: str) -> None:
    path = media.write_clip(tmp_path / name, Clip(film(1 if name[0] == "s" else 2, 16, 16), 8.0))
    assert media.read_recipe(path) is None


def test_other_programs_comments_are_no_recipe(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.gif", comment=b"Made with GIMP")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", comment=b"Made with GIMP")
    assert media.read_recipe(tmp_path / "a.gif") is media.read_recipe(tmp_path / "a.jpg") is None


@pytest.mark.parametrize("name", ["-i.mp4", "a:b.mp4", "%03d.mkv", "a b'\"#=;\\.gif", "中文🎈.mp4", "-.png", "UP.MP4"])
def test_odd_names_work_relative_to_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    media.write_clip(name, Clip(film(1 if name.endswith("png") else 2), 8.0), recipe())
    assert left_in(tmp_path) == [name]
    assert media.probe(name).recipe == recipe()
    if not name.endswith("png"):
        assert len(media.read_clip(name)) == 2


# Writing goes wrong


@pytest.mark.parametrize("name", [*CLIPS, "s.png"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_nothing_is_left_when_the_block_raises(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    with pytest.raises(error), media.writer(f"{tmp_path}/{name}", 8.0, (64, 96), recipe()) as w:
        w.write(film(1))
        raise error("the painter stopped")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", [*CLIPS, "s.png"])
def test_a_file_without_frames_is_not_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no frames"), media.writer(f"{tmp_path}/{name}", 8.0, (64, 96)):
        pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("when", ["while frames come", "at the end"])
def test_nothing_is_left_when_the_encoder_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Spy(subprocess.Popen):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Spy)
    with (
        pytest.raises(InputError, match="encoder stopped: the system killed it") as caught,
        media.writer(tmp_path / "c.mp4", 8.0, (64, 96)) as w,
    ):
        w.write(film(1))
        started[0].kill()
        started[0].wait()
        for _ in range(40 if when == "while frames come" else 0):
            w.write(film(4))
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["c.mkv", "c.mp4", "c.webp", "frames/"])
def test_a_thread_of_its_own_changes_nothing_in_the_file(tmp_path: Path, name: str) -> None:
    frames, made = film(9), []
    for overlap in (True, False):
        (folder := tmp_path / str(overlap)).mkdir()
        with media.writer(f"{folder}/{name}", 8.0, (64, 96), recipe(), overlap=overlap) as w:
            for n in range(9):
                frame = frames[n : n + 1].copy()
                w.write(frame)
                frame[:] = 0  # who paints may use the room again
        made.append(media.read_clip(w.path).frames_FYXC)
    assert np.array_equal(*made)
    assert psnr(made[0], frames) > 27


class Stuck:
    """An encoder that takes no frame until it is let go, and counts those it took."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.go, self.error, self.taken, self.abandoned = threading.Event(), error, 0, False

    def write(self, frame_YXC: np.ndarray) -> None:
        self.go.wait()
        if self.error:
            raise self.error
        self.taken += 1

    def close(self) -> None:
        assert self.taken == 3

    def abandon(self) -> None:
        self.abandoned = True
        self.go.set()


FRAME = np.zeros((2, 2, 3), np.uint8)


def test_a_relay_takes_frames_while_the_encoder_is_busy_and_closes_when_it_is_done() -> None:
    encoder = Stuck()
    behind = EncoderThread(encoder, FRAME.nbytes)
    for _ in range(3):
        behind.write(FRAME)
    assert encoder.taken == 0
    encoder.go.set()
    behind.close()
    behind.abandon()
    assert encoder.taken == 3


def test_a_relay_waits_where_too_much_is_held() -> None:
    encoder = Stuck()
    behind = EncoderThread(encoder, encoder_thread.WAITING)
    writer = threading.Thread(target=lambda: [behind.write(FRAME) for _ in range(9)], daemon=True)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    encoder.go.set()
    writer.join(10)
    assert not writer.is_alive()


@pytest.mark.parametrize("ending", ["write", "close"])
def test_a_relay_says_what_went_wrong(ending: str) -> None:
    encoder = Stuck(OSError(28, "No space left on device"))
    encoder.go.set()
    behind = EncoderThread(encoder, FRAME.nbytes)
    behind.write(FRAME)
    with pytest.raises(OSError, match="No space"):
        if ending == "close":
            behind.close()
        for _ in range(10_000):  # more than may wait: after a failure nobody is held up
            behind.write(FRAME)
            time.sleep(0.001)
    behind.abandon()
    assert encoder.abandoned


def test_a_relay_that_is_abandoned_lets_go_of_frames_that_wait() -> None:
    encoder, before = Stuck(), set(threading.enumerate())  # of which others may end meanwhile
    behind = EncoderThread(encoder, FRAME.nbytes)
    for _ in range(50):
        behind.write(FRAME)
    behind.abandon()
    assert encoder.taken <= 1
    assert not set(threading.enumerate()) - before


def test_frames_of_another_shape_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    for bad in (film()[:, :10], film().astype(np.float32), film()[0]):
        with pytest.raises(ValueError, match="expected uint8"), media.writer(tmp_path / "c.mkv", 8.0, (64, 96)) as w:
            w.write(bad)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", [*CLIPS, "s.png"])
def test_what_exists_is_replaced_only_by_force(tmp_path: Path, name: str) -> None:
    target = f"{tmp_path}/{name}"
    clip = Clip(film(1 if name == "s.png" else 3), 8.0)
    path = media.write_clip(target, clip, '{"n":1}')
    with pytest.raises(UsageError, match="exists already"):
        media.write_clip(target, clip, '{"n":2}')
    assert media.read_recipe(path) == '{"n":1}'
    media.write_clip(target, clip, '{"n":2}', force=True)
    assert media.read_recipe(path) == '{"n":2}'
    assert left_in(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["c.mkv", "c.d/"])
@pytest.mark.parametrize("links", [True, False])
def test_a_name_taken_during_the_work_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, links: bool
) -> None:
    if not links:  # as on file systems without hard links
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    target = tmp_path / name
    with media.writer(f"{tmp_path}/{name}", 8.0, (64, 96)) as w:
        w.write(film(2))
        target.mkdir() if name.endswith("/") else target.write_text("theirs")
    assert target.is_dir() or target.read_text() == "theirs"
    assert w.path == target.with_stem("c-2")
    assert len(media.read_clip(w.path)) == 2
    assert len(left_in(tmp_path)) == 2


def test_force_never_replaces_a_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="thesis"):
        media.write_clip(tmp_path / "home", Clip(film(), 8.0), force=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("force", [True, False])
def test_check_target_refuses_before_the_work(tmp_path: Path, force: bool) -> None:
    (tmp_path / "d.mp4").mkdir()
    (tmp_path / "file").write_text("x")
    usage = ["c.avi", "d.mp4", "file", "file/", "a\0.mp4"]
    cases = dict.fromkeys(usage, UsageError) | dict.fromkeys(
        ["none/c.mp4", "file/c.mp4", "x" * 252 + ".mp4"], InputError
    )
    for name, error in cases.items():
        with pytest.raises(error) as caught:
            media.check_target(f"{tmp_path}/{name}", force)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UsageError):
        media.check_target("", force)
    media.check_target(tmp_path / "good.mp4", force)
    assert left_in(tmp_path) == ["d.mp4", "file"]


WRITING = """
import os, signal, sys
import numpy as np
from sora import media
frames = np.random.default_rng(1).integers(0, 256, (8, 480, 640, 3), dtype=np.uint8)
with media.writer(sys.argv[1], 8.0, (480, 640)) as file:
    for _ in range(4):
        file.write(frames)
    (encoder,) = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    print(encoder, flush=True)
    os.kill(int(encoder), signal.SIGSTOP)  # it would never end by itself
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv(1), as Linux has it")
def test_an_encoder_dies_with_its_parent(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITING, f"{tmp_path}/c.mp4"], capture_output=True, text=True)
    encoder, deadline = int(done.stdout), time.monotonic() + 60
    while (status := Path(f"/proc/{encoder}/stat")).exists() and status.read_text().split()[2] != "Z":
        if time.monotonic() > deadline:
            os.kill(encoder, signal.SIGKILL)
            pytest.fail("the encoder is still there")
        time.sleep(0.01)
    with media.writer(tmp_path / "next.png", 8.0, (4, 4)) as file:
        file.write(np.zeros((1, 4, 4, 3), np.uint8))
    assert left_in(tmp_path) == ["next.png"]


LIMITED = """
import resource, sys
import numpy as np
from sora import media
from sora.errors import InputError
from sora.plan.clip import Clip
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
frames = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
try:
    media.write_clip(sys.argv[1], Clip(frames, 8.0))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["c.mp4", "c.webp", "c.gif", "film/"])
def test_what_the_system_does_not_write_is_explained_in_one_line(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", LIMITED, f"{tmp_path}/{name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "`ulimit -f` allows; make it smaller, or raise the limit" in done.stdout and not done.stderr
    assert len(done.stdout.splitlines()) == 1 and left_in(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write, root included")
def test_a_folder_that_cannot_be_written_is_an_input_error() -> None:
    with pytest.raises(InputError, match="cannot write into /proc"):
        media.check_target("/proc/c.mp4")


def test_odd_sizes_are_refused_for_mp4_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="96x62 or 98x64, or write"):
        media.check_size("c.mp4", (63, 97), 8.0)
    with pytest.raises(UsageError, match="50 frames a second"):
        media.check_size("c.gif", (64, 96), 60)
    media.check_size("c.mkv", (63, 97), 8.0)
    with pytest.raises(UsageError):
        media.write_clip(tmp_path / "c.mp4", Clip(film(1, 63, 97), 8.0))
    assert left_in(tmp_path) == []


def test_unique_path_counts_up(tmp_path: Path) -> None:
    for expected in ("a.mp4", "a-2.mp4", "a-3.mp4"):
        path = media.unique_path(tmp_path, "a", ".mp4")
        assert path.name == expected
        path.touch()
    (tmp_path / "b.mp4").symlink_to("nowhere")
    assert media.unique_path(tmp_path, "b", ".mp4").name == "b-2.mp4"


# Reading images


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I", "F", "YCbCr"])
def test_every_mode_of_a_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.full((5, 7), 65535, np.uint16 if mode == "I;16" else np.int32), mode=None)
    elif mode == "F":
        image = Image.fromarray(np.ones((5, 7), np.float32))
    else:
        image = Image.new("RGB", (7, 5), "white").convert("RGBA" if mode == "LA" else "RGB").convert(mode)
    assert image.mode == mode
    image.save(tmp_path / "a.tiff")
    assert (media.read_image(tmp_path / "a.tiff") == 255).all()
    assert media.read_image(tmp_path / "a.tiff").shape == (5, 7, 3)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(tmp_path / "a.png")
    assert (media.read_image(tmp_path / "a.png") == 128).all()


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (media.read_image(tmp_path / "a.png") == 255).all()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "b.png", transparency=(255, 0, 0))
    assert (media.read_image(tmp_path / "b.png") == 255).all()


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown turned right
    image = Image.new("RGB", (20, 10), "black")
    image.paste("white", (0, 0, 10, 10))
    image.save(tmp_path / "a.png", exif=exif)
    turned = media.read_image(tmp_path / "a.png")
    assert turned.shape == (20, 10, 3) and turned[0].min() == 255 and turned[-1].max() == 0
    assert (media.probe(tmp_path / "a.png").width, media.probe(tmp_path / "a.png").height) == (10, 20)


def test_of_a_moving_picture_the_first_frame_is_read(tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "c.webp", Clip(film(), 8.0))
    assert psnr(media.read_image(path), film(1)[0]) > 27


def bomb() -> bytes:
    """A PNG that claims to be 20000 x 20000."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", crc32(header)) + b"\0\0\0\4IDAT1234"
    )


def truncated(fmt: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, fmt)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


BAD_IMAGES = {
    "empty": b"", "text": b"not a picture", "bomb": bomb(), "png": truncated("PNG"), "jpeg": truncated("JPEG"),
    "webp": truncated("WEBP"), "gif": b"GIF89a\x01\0\x01", "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_pictures_that_cannot_be_read_are_input_errors(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(BAD_IMAGES[name])
    for ask in (media.read_image, media.read_clip):
        with pytest.raises(InputError) as caught:
            ask(tmp_path / "a.png")
        assert len(str(caught.value).splitlines()) == 1 and "a.png" in str(caught.value)


def test_large_pictures_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bomb())
    with pytest.raises(InputError, match="megapixels"):
        media.read_image(tmp_path / "a.png")


@pytest.mark.parametrize("ask", [media.read_image, media.read_clip, media.probe, media.read_recipe])
@pytest.mark.parametrize("bad", ["none.png", "a\0b", "none/none.mp4", "x" * 300, "/dev/zero"])
def test_what_is_not_there_is_an_input_error(tmp_path: Path, ask, bad: str) -> None:
    with pytest.raises(InputError) as caught:
        ask(tmp_path / bad)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        media.read_image(tmp_path)


# Reading clips


def test_a_video_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    flat = media.write_clip(tmp_path / "flat.mp4", Clip(film(3), 8.0))
    turned = tmp_path / "turned.mp4"
    command = [FFMPEG, "-v", "error", "-display_rotation", "90", "-i", flat, "-c", "copy", turned]
    subprocess.run(command, check=True)
    info, clip = media.probe(turned), media.read_clip(turned)
    assert (info.width, info.height) == (64, 96) and clip.size == (96, 64)


def test_other_containers_and_codecs_are_read(tmp_path: Path) -> None:
    source = media.write_clip(tmp_path / "c.mkv", Clip(film(4), 8.0))
    for name, codec in (("a.avi", "mjpeg"), ("a.mov", "mpeg4")):
        command = [FFMPEG, "-v", "error", "-i", source, "-c:v", codec, "-q:v", "2", tmp_path / name]
        subprocess.run(command, check=True)
        clip = media.read_clip(tmp_path / name)
        assert clip.frames_FYXC.shape == (4, 64, 96, 3) and clip.fps == 8.0
        assert media.probe(tmp_path / name).codec == codec


def test_animations_of_varying_rate_get_a_constant_one(tmp_path: Path) -> None:
    first, *rest = [Image.fromarray(f) for f in film(3)]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=[100, 300, 100])
    clip = media.read_clip(tmp_path / "a.gif")
    assert (len(clip), clip.fps) == (5, 10.0)
    assert media.probe(tmp_path / "a.gif").frames == 5


def test_pngs_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for n in (10, 9, 1):
        Image.new("RGB", (4, 4), (n, n, n)).save(tmp_path / f"frame{n}.png")
    (tmp_path / "notes.txt").write_text("passed over")
    clip = media.read_clip(tmp_path)
    assert clip.frames_FYXC[:, 0, 0, 0].tolist() == [1, 9, 10] and clip.fps == 24.0


def test_folders_that_hold_no_clip_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        media.read_clip(tmp_path)
    for n in (4, 5):
        Image.new("RGB", (n, 4)).save(tmp_path / f"{n}.png")
    with pytest.raises(InputError, match="differ in size"):
        media.read_clip(tmp_path)


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
BAD_CLIPS = {
    "empty": b"", "text": b"plain words\n" * 50, "concat": b"ffconcat version 1.0\nfile c.mkv\n",
    "network": PLAYLIST.replace(b"{}", b"http://127.0.0.1:9/a.ts"), "local": PLAYLIST.replace(b"{}", b"c.mkv"),
    "noise": bytes(range(256)) * 40, "cut": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41\0\0\0\x08free",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CLIPS)
@pytest.mark.parametrize("suffix", [".mp4", ".txt", ".m3u8"])
def test_what_is_no_clip_is_an_input_error_and_opens_nothing_else(tmp_path: Path, name: str, suffix: str) -> None:
    media.write_clip(tmp_path / "c.mkv", Clip(film(1, 16, 16), 8.0))
    bad = tmp_path / f"bad{suffix}"
    bad.write_bytes(BAD_CLIPS[name])
    for ask in (media.read_clip, media.probe):
        with pytest.raises(InputError) as caught:
            ask(bad)
        assert len(str(caught.value).splitlines()) == 1 and "bad" in str(caught.value)


def test_a_sound_file_is_no_clip(tmp_path: Path) -> None:
    sound = tmp_path / "a.mov"
    subprocess.run([FFMPEG, "-v", "error", "-f", "lavfi", "-i", "sine=d=0.1", "-c:a", "pcm_s16le", sound], check=True)
    with pytest.raises(InputError, match="sound but no picture"):
        media.read_clip(sound)


def test_a_clip_too_large_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sora.media.read.MAX_CLIP_BYTES", 3 * 64 * 96 * 3)
    for name in ("c.mkv", "c.gif", "f"):
        path = media.write_clip(tmp_path / name, Clip(film(4), 8.0))
        with pytest.raises(SoraError, match=r"at most 0\.\d+ s"):
            media.read_clip(path)
