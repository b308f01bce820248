"""Films and masks as people bring them: parts, odd containers, damaged files, what is no film at all."""

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from sora import media
from sora.errors import InputError, UsageError
from sora.plan.clip import Clip

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SINE = ["-f", "lavfi", "-i", "sine=d=6"]
NTSC = 24000 / 1001


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, arguments)], check=True)


def numbered(frames: int, height: int = 16, width: int = 32) -> np.ndarray:
    """Frames that tell their number: 8 bars, black or white, are its bits, lowest first."""
    bits = (np.arange(frames)[:, None] >> np.arange(8)) & 1
    columns = np.arange(width) * 8 // width
    return np.repeat((bits[:, columns] * 255).astype(np.uint8)[:, None, :, None], height, axis=1).repeat(3, axis=3)


def numbers(clip: Clip) -> list[int]:
    """What ``numbered`` frames say."""
    width = clip.size[1]
    bars = clip.frames_FYXC[:, clip.size[0] // 2, (np.arange(8) * width + width // 2) // 8, 1] > 127
    return (bars @ (1 << np.arange(8))).tolist()


def source(folder: Path, frames: int = 144, fps: float = 24.0, height: int = 16, width: int = 32) -> Path:
    return media.write_clip(folder / "source.mkv", Clip(numbered(frames, height, width), fps))


def only_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# Parts of a film

H264 = "-c:v libx264 -pix_fmt yuv444p -qp 0 -g 48 -bf 3"
ENCODINGS = {
    "a.mp4": H264,
    "sound.mp4": f"{H264} -c:a aac",
    "sound.mkv": f"{H264} -c:a aac",
    "open.mkv": f"{H264} -x264-params open-gop=1:bframes=6:b-pyramid=normal",
    "a.mov": "-c:v mpeg4 -q:v 1 -bf 2 -g 60",
    "a.webm": "-c:v libvpx-vp9 -b:v 1M -g 50 -cpu-used 8 -deadline realtime",
    "a.avi": "-c:v mpeg4 -q:v 1 -g 50",
    "a.ts": f"{H264} -c:a aac",
    "a.h264": H264,
}


@pytest.mark.parametrize(("name", "fps"), [*((name, 24.0) for name in ENCODINGS), ("sound.mkv", NTSC)])
def test_a_part_is_the_slice_of_a_full_read(tmp_path: Path, name: str, fps: float) -> None:
    made = tmp_path / name
    sound = SINE if "-c:a" in ENCODINGS[name] else []
    ffmpeg("-i", source(tmp_path, fps=fps), *sound, *ENCODINGS[name].split(), made)
    full = media.read_clip(made)
    if made.suffix == ".h264":  # a bare stream may not say its rate
        fps = full.fps
    assert numbers(full) == list(range(144)) and full.fps == pytest.approx(fps)
    for first, last in ((7, 8), (71, 80), (143, 144)):
        part = media.read_clip(made, start=first / fps, end=last / fps)
        assert np.array_equal(part.frames_FYXC, full[first:last].frames_FYXC), (first, last)


@pytest.mark.parametrize("name", ["c.mkv", "c.gif", "c.webp", "f"])
def test_a_part_holds_the_frames_whose_time_lies_in_it(tmp_path: Path, name: str) -> None:
    path = media.write_clip(tmp_path / name, Clip(numbered(12), 10.0), '{"fps":10}')
    assert numbers(media.read_clip(path, start=0.3, end=0.7)) == [3, 4, 5, 6]
    assert numbers(media.read_clip(path, start=0.21, end=0.41)) == [3, 4]
    assert numbers(media.read_clip(path, start=1.05, end=99)) == [11]
    assert numbers(media.read_clip(path, end=float("inf"))) == list(range(12))


def test_parts_that_are_none_are_usage_errors(tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "c.mkv", Clip(numbered(12), 10.0))
    cases = {
        (0.5, 0.5): "not before", (0.6, 0.5): "not before", (1.2, None): "1.2 s long", (5, 9): "1.2 s long",
        (-1, None): "0 or more", (None, -1): "0 or more", (float("nan"), None): "0 or more", (None, 0): "no frame",
        (0.51, 0.59): "0.1 s apart",
    }  # fmt: skip
    for (start, end), said in cases.items():
        with pytest.raises(UsageError, match=said) as caught:
            media.read_clip(path, start=start, end=end)
        only_line(caught)


def test_a_film_too_long_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sora.media.read.MAX_CLIP_BYTES", 24 * 16 * 32 * 3)
    path = source(tmp_path)

    def decode(*_) -> None:
        raise AssertionError("decoded")

    with monkeypatch.context() as patch:
        patch.setattr("sora.media.frames.rgb_frames", decode)
        with pytest.raises(InputError, match=r"6.00 s long, at most 1 s of 32x16 .* --start and --end"):
            media.read_clip(path)
        with pytest.raises(InputError, match="closer together"):
            media.read_clip(path, start=1, end=2.2)
    assert numbers(media.read_clip(path, start=1, end=2)) == list(range(24, 48))


# Films as cameras and programs leave them


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_varying_rate_becomes_constant_and_keeps_time(tmp_path: Path, name: str) -> None:
    """Frames 0 to 9 stand for 0.1 s each, 10 to 29 for 0.05 s."""
    made = tmp_path / name
    times = "setpts='if(lt(N,10),N*0.1,1+(N-10)*0.05)/TB'"
    ffmpeg("-i", source(tmp_path, 30), "-vf", times, "-fps_mode", "vfr", *H264.split(), made)
    clip = media.read_clip(made)
    info = media.probe(made)
    assert (info.frames, info.fps) == (len(clip), clip.fps) and clip.seconds == pytest.approx(2, abs=0.1)
    said = numbers(clip)
    for second, number in ((0.06, 0), (0.56, 5), (1.02, 10), (1.52, 20), (1.92, 28)):
        assert abs(said[int(second * clip.fps)] - number) <= 1
    part = media.read_clip(made, start=1, end=1.5)
    assert abs(numbers(part)[0] - 10) <= 1 and part.seconds == pytest.approx(0.5, abs=1 / clip.fps)


def retimed(folder: Path, times: str) -> Path:
    """60 frames, shown at the times of an expression in milliseconds."""
    made = folder / "retimed.mkv"
    exact = ["-enc_time_base", "1/1000", "-fps_mode", "vfr"]
    ffmpeg("-i", source(folder, 60), "-vf", f"settb=1/1000,setpts='{times}'", *exact, *H264.split(), made)
    return made


def test_a_recorder_that_claims_a_thousand_frames_a_second_is_not_believed(tmp_path: Path) -> None:
    made = retimed(tmp_path, "floor(N*33.4+mod(N*37,23))")
    data = bytearray(made.read_bytes())
    at = data.index(b"\x23\xe3\x83")  # DefaultDuration, which browsers leave out
    data[at : at + 8] = b"\xec\x86" + bytes(6)
    made.write_bytes(data)
    assert b"1k tbr" in subprocess.run([FFMPEG, "-i", made], capture_output=True).stderr
    clip = media.read_clip(made)
    assert 25 <= clip.fps <= 45 and clip.seconds == pytest.approx(2, abs=0.1)
    assert abs(numbers(clip)[len(clip) // 2] - 30) <= 2


def test_a_rate_that_is_claimed_too_low_loses_no_frame(tmp_path: Path) -> None:
    clip = media.read_clip(retimed(tmp_path, "N*1000/30"))
    assert clip.fps == 30 and numbers(clip) == list(range(60))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_part_of_a_turned_film_is_turned(tmp_path: Path, turn: int) -> None:
    frames = np.zeros((96, 16, 32, 3), np.uint8)
    frames[:, :8, :8] = 255  # top left
    flat = media.write_clip(tmp_path / "flat.mp4", Clip(frames, 24.0))
    ffmpeg("-display_rotation", str(turn), "-i", flat, "-c", "copy", tmp_path / "turned.mp4")
    clip = media.read_clip(tmp_path / "turned.mp4", start=3)
    assert len(clip) == 24 and clip.size == ((16, 32) if turn == 180 else (32, 16))
    y, x = {90: (-4, 4), 180: (-4, -4), 270: (4, -4)}[turn]  # counter-clockwise
    assert clip.frames_FYXC[:, y, x].min() > 200 and clip.frames_FYXC[:, -y, -x].max() < 50


@pytest.mark.parametrize("name", ["odd.mkv", "odd.mp4"])
def test_odd_sizes_with_sound_are_read(tmp_path: Path, name: str) -> None:
    ffmpeg("-i", source(tmp_path, 48, height=17, width=33), *SINE, "-shortest", *H264.split(), tmp_path / name)
    clip = media.read_clip(tmp_path / name)
    assert clip.frames_FYXC.shape == (48, 17, 33, 3) and numbers(clip) == list(range(48))
    info = media.probe(tmp_path / name)
    assert info.sound and (info.width, info.height, info.frames) == (33, 17, 48)


def test_oblong_pixels_become_square(tmp_path: Path) -> None:
    ffmpeg("-i", source(tmp_path, 8), "-vf", "setsar=16/11", *H264.split(), tmp_path / "a.mp4")
    clip = media.read_clip(tmp_path / "a.mp4")
    assert clip.size == (16, 47) and numbers(clip) == list(range(8)) and media.probe(tmp_path / "a.mp4").width == 47


def test_a_film_that_begins_after_its_sound_keeps_every_frame(tmp_path: Path) -> None:
    """Encoders put the picture behind the first block of sound: half a frame at 24 a second."""
    made = tmp_path / "late.mkv"
    ffmpeg("-itsoffset", "0.0208", "-i", source(tmp_path, 48), *SINE, "-shortest", *H264.split(), "-c:a", "flac", made)
    assert numbers(media.read_clip(made)) == list(range(48))
    assert numbers(media.read_clip(made, start=1)) == list(range(24, 48))


def test_what_an_edit_list_leaves_out_is_left_out(tmp_path: Path) -> None:
    ffmpeg("-i", source(tmp_path), *H264.split(), tmp_path / "a.mp4")
    ffmpeg("-ss", "1", "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "cut.mp4")  # inside a group of pictures
    clip = media.read_clip(tmp_path / "cut.mp4")
    assert numbers(clip) == list(range(24, 144)) and media.probe(tmp_path / "cut.mp4").frames == 120
    assert numbers(media.read_clip(tmp_path / "cut.mp4", start=4)) == list(range(120, 144))


def test_a_moving_png_is_read(tmp_path: Path) -> None:
    first, *rest = [Image.fromarray(f) for f in numbered(5)]
    first.save(tmp_path / "a.png", save_all=True, append_images=rest, duration=100)
    clip = media.read_clip(tmp_path / "a.png")
    assert numbers(clip) == [0, 1, 2, 3, 4] and clip.fps == 10


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv"])
def test_of_a_damaged_film_what_can_be_decoded_is_read(tmp_path: Path, name: str) -> None:
    whole = tmp_path / f"whole{name[-4:]}"
    noise = ["-vf", "noise=alls=20:allf=t", "-movflags", "+faststart"]
    ffmpeg("-i", source(tmp_path, 96, height=64, width=64), *noise, "-c:v", "libx264", whole)
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    clip = media.read_clip(tmp_path / name)
    assert 10 < len(clip) < 96 and numbers(clip)[:10] == list(range(10))


# Folders


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_a_folder_of_jpegs_is_a_clip(tmp_path: Path, suffix: str) -> None:
    for n, frame in enumerate(numbered(12)):
        Image.fromarray(frame).save(tmp_path / f"{n}{suffix}", "JPEG")
    assert numbers(media.read_clip(tmp_path)) == list(range(12))
    info = media.probe(tmp_path)
    assert (info.kind, info.codec, info.frames, info.sound) == ("folder", "jpeg", 12, False)
    Image.new("RGB", (9, 9)).save(tmp_path / "cover.png")  # the fewer are passed over
    assert numbers(media.read_clip(tmp_path, start=0.25)) == list(range(6, 12))


# What is no film


def test_addresses_are_to_be_downloaded_first(tmp_path: Path) -> None:
    for address in ("http://example.org/a.mp4", "https://example.org/a.mp4", "rtsp://10.0.0.1:554/live", "s3://b/a"):
        for given in (address, Path(address)):
            with pytest.raises(InputError, match=rf"^{re.escape(address)} is a network address.*download it first"):
                media.read_clip(given)


def test_playlists_and_texts_are_called_by_their_name(tmp_path: Path) -> None:
    cases = {
        "a.m3u8": "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "b.mp4": "\n#EXTM3U\na.ts\n",
        "list.txt": "ffconcat version 1.0\nfile a.mkv\n", "a.mpd": '<?xml version="1.0"?>\n<MPD></MPD>',
    }  # fmt: skip
    for name, text in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="is a playlist") as caught:
            media.read_clip(tmp_path / name)
        only_line(caught)
    (tmp_path / "film.mp4").write_text("file 'a.mkv'\n" * 100)
    with pytest.raises(InputError, match="is a text file"):
        media.read_clip(tmp_path / "film.mp4")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.m4a", "a.ogg", "a.mkv"])
def test_sound_alone_is_called_sound(tmp_path: Path, name: str) -> None:
    ffmpeg(*SINE, "-t", "0.5", tmp_path / name)
    for ask in (media.read_clip, media.probe):
        with pytest.raises(InputError, match="holds sound but no picture") as caught:
            ask(tmp_path / name)
        only_line(caught)


@pytest.mark.parametrize("name", ["z.mp4", "z.mkv", "z.avi", "z.webm", "z.mov"])
def test_a_film_without_a_frame_is_refused(tmp_path: Path, name: str) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=s=32x32", "-frames:v", "0", tmp_path / name)
    for ask in (media.read_clip, media.probe):
        with pytest.raises(InputError) as caught:
            ask(tmp_path / name)
        assert name in only_line(caught)


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"holds no .png or .jpg files"):
        media.read_clip(tmp_path)
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(InputError, match=r"1.png is not a picture"):
        media.read_clip(tmp_path)


# Masks


def left_half(mode: str = "L", height: int = 20, width: int = 40) -> Image.Image:
    image = Image.new("L", (width, height), 0)
    image.paste(255, (0, 0, width // 2, height))
    return image.convert(mode)


HALF = np.repeat(np.arange(16)[None] < 8, 8, axis=0)


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P", "RGBA", "LA"])
def test_one_picture_masks_every_frame(tmp_path: Path, mode: str) -> None:
    left_half(mode).save(tmp_path / "m.png")
    mask = media.read_mask(tmp_path / "m.png", 5, (8, 16))
    assert mask.dtype == bool and mask.shape == (5, 8, 16) and (mask == HALF).all()


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 30)])
def test_one_colour_on_transparent_masks_where_it_is(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    image = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    image.paste((*colour, 255), (0, 0, 20, 20))
    image.save(tmp_path / "m.png")
    assert (media.read_mask(tmp_path / "m.png", 1, (8, 16)) == HALF).all()


def test_white_counts_and_not_transparent_where_both_are_there(tmp_path: Path) -> None:
    image = Image.new("RGBA", (40, 20), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 20, 20))
    image.paste((0, 0, 0, 255), (20, 0, 30, 20))
    image.save(tmp_path / "m.png")
    assert (media.read_mask(tmp_path / "m.png", 1, (8, 16)) == HALF).all()


@pytest.mark.parametrize("name", ["m.mp4", "m.mkv", "m.gif", "m.webp", "m"])
def test_a_film_masks_frame_by_frame(tmp_path: Path, name: str) -> None:
    path = media.write_clip(tmp_path / name, Clip(numbered(6), 8.0))
    longer, shorter = media.read_mask(path, 9, (16, 32)), media.read_mask(path, 4, (16, 32))
    expected = numbered(6)[..., 0] > 127
    assert np.array_equal(longer[:6], expected) and (longer[6:] == expected[5]).all()
    assert np.array_equal(shorter, expected[:4])


def test_masks_that_mark_nothing_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "grey.png")
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 255)).save(tmp_path / "black.png")
    for name in ("grey.png", "clear.png", "black.png"):
        with pytest.raises(InputError, match="marks nothing") as caught:
            media.read_mask(tmp_path / name, 3, (8, 8))
        only_line(caught)
    (tmp_path / "noise.png").write_bytes(bytes(range(256)))
    with pytest.raises(InputError):
        media.read_mask(tmp_path / "noise.png", 3, (8, 8))
