"""Streams as recorders and joiners leave them: frames that are missing, and frames that change midway."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from real_files_parts.numbered import H264, combing, ffmpeg, film, interlaced, joined, number_of
from sora import media
from sora.errors import InputError
from sora.plan.clip import Clip

VP8 = ("-c:v", "libvpx", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", "8", "-g", "12")
SIZE = (48, 64)


def numbers(clip: Clip) -> list[int]:
    return [number_of(frame) for frame in clip.frames_FYXC]


def shown(places: int, dropped: tuple[int, ...]) -> list[int]:
    """What a player shows at each place: the last frame that there is."""
    kept = [place for place in range(places) if place not in dropped]
    return [max(each for each in kept if each <= place) for place in range(kept[0], kept[-1] + 1)]


KINDS = {
    "mp4": (".mp4", H264, "24"),
    "fragmented": (".mp4", (*H264, "-movflags", "frag_keyframe+empty_moov"), "30000/1001"),
    "mkv": (".mkv", H264, "24000/1001"),
    "webm": (".webm", VP8, "30"),
    "ts": (".ts", H264, "25"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dropped", [(5,), (1, 15), (16,), (0, 6, 7)], ids=str)
def test_every_place_of_a_stream_with_gaps_is_there(tmp_path: Path, kind: str, dropped: tuple[int, ...]) -> None:
    suffix, encode, rate = KINDS[kind]
    made = film(tmp_path / f"a{suffix}", range(17), dropped=dropped, rate=rate, encode=encode)
    clip = media.read_clip(made)
    assert numbers(clip) == shown(17, dropped) and media.probe(made).frames == len(clip)
    count, _, per = rate.partition("/")
    assert clip.fps == pytest.approx(int(count) / int(per or 1), rel=1e-3)


def test_gaps_between_frames_that_come_early_and_late_do_not_change_the_rate(tmp_path: Path) -> None:
    """As a phone's: 6 ms off, and a clock of 1 ms."""
    kept = [place for place in range(48) if place not in (1, 9, 20, 21, 40)]
    off = {place: (place * 37 % 13) - 6 for place in kept}
    times = "+".join(f"eq(N\\,{n})*{round(place * 100 / 3) + off[place] + 6}" for n, place in enumerate(kept))
    exact = ("-enc_time_base", "1/1000", *H264)
    clip = media.read_clip(film(tmp_path / "a.mp4", kept, filters=f"settb=1/1000,setpts={times}", encode=exact))
    assert clip.fps == pytest.approx(30, rel=2e-3) and numbers(clip) == shown(48, (1, 9, 20, 21, 40))


def test_a_recording_begins_with_the_first_frame_that_can_be_decoded(tmp_path: Path) -> None:
    """What was cut out of a broadcast begins midway, with frames that lack those before them."""
    encode = (*H264, "-x264-params", "open-gop=1:keyint=12", "-bf", "2")
    made = film(tmp_path / "a.ts", range(48), encode=encode)
    data = made.read_bytes()
    made.write_bytes(data[: 3 * 188] + data[len(data) // 752 * 188 :])
    clip = media.read_clip(made)
    said = numbers(clip)
    assert said[0] in (12, 24, 36) and said == list(range(said[0], 48)) and media.probe(made).frames == len(clip)


@pytest.mark.parametrize(
    ("second", "size"),
    [
        ({"size": (96, 128)}, "128x96"),
        ({"size": (24, 32)}, "32x24"),
        ({"encode": (*H264, "-pix_fmt", "yuv444p")}, ""),
        ({"encode": (*H264, "-color_range", "pc"), "filters": "scale=out_range=pc"}, ""),
        ({"encode": (*H264, "-colorspace", "bt709"), "filters": "scale=out_color_matrix=bt709"}, ""),
    ],
    ids=["larger", "smaller", "pixel format", "range", "matrix"],
)
@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_a_stream_that_changes_midway_goes_on(tmp_path: Path, second: dict[str, Any], size: str, suffix: str) -> None:
    settings = {"size": SIZE, **second}
    parts = [film(tmp_path / "a.ts", range(12), size=SIZE), film(tmp_path / "b.ts", range(12, 24), **settings)]
    made, notes = joined(tmp_path / f"both{suffix}", parts), list[str]()
    clip = media.read_clip(made, on_note=notes.append)
    assert numbers(clip) == list(range(24)) and clip.size == SIZE and clip.fps == 24
    assert [f"size midway, to {size};" in note for note in notes] == ([True] if size else [])
    assert all(abs(np.median(frame[frame > 128]) - 235) < 4 for frame in clip.frames_FYXC[1:])
    assert numbers(media.read_clip(made, start=0.75)) == list(range(18, 24))


@pytest.mark.parametrize("change", [{"size": (64, 48)}, {"size": SIZE, "filters": "setsar=9/16"}], ids=["size", "sar"])
def test_a_picture_of_another_shape_keeps_it(tmp_path: Path, change: dict[str, Any]) -> None:
    """A phone that is turned while it records: black lies left and right of 3:4 in 4:3."""
    changes: tuple[dict[str, Any], ...] = ({"size": SIZE}, change)
    parts = [film(tmp_path / f"{n}.ts", [255] * 12, **each) for n, each in enumerate(changes)]
    clip = media.read_clip(joined(tmp_path / "both.mkv", parts))
    assert clip.size == SIZE and len(clip) == 24 and clip.frames_FYXC[0].min() > 200
    last = clip.frames_FYXC[-1]
    assert last[:, 16:48].min() > 200 and last[:, :10].max() < 8 and last[:, 54:].max() < 8


def test_what_is_turned_and_changes_midway_is_spoken_of(tmp_path: Path) -> None:
    parts = [film(tmp_path / f"{n}.ts", range(12), size=size) for n, size in enumerate((SIZE, (96, 128)))]
    ffmpeg("-display_rotation", "90", "-i", joined(tmp_path / "a.mp4", parts), "-c", "copy", tmp_path / "turned.mp4")
    notes = list[str]()
    clip = media.read_clip(tmp_path / "turned.mp4", on_note=notes.append)
    assert clip.size == (64, 48) and len(clip) == 24 and "turned and changes midway" in notes[0]


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".webm"])
def test_files_joined_byte_by_byte_are_read_to_their_end(tmp_path: Path, suffix: str) -> None:
    encode = VP8 if suffix == ".webm" else H264
    parts = [film(tmp_path / f"{n}{suffix}", range(24 * n, 24 * n + 24), encode=encode) for n in range(2)]
    made, notes = tmp_path / f"all{suffix}", list[str]()
    made.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert numbers(media.read_clip(made, on_note=notes.append)) == list(range(48))
    assert numbers(media.read_clip(made, start=1.5)) == list(range(36, 48))
    assert ["joined byte by byte" in note for note in notes] == [True] * (suffix != ".ts")


X264_FIELDS = (*H264, "-flags", "+ildct+ilme")
FIELDS = {
    "h264.ts": X264_FIELDS,
    "h264.mp4": X264_FIELDS,
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ildct+ilme"),
    "prores.mov": ("-c:v", "prores_ks", "-flags", "+ildct"),
    "mjpeg.mov": ("-c:v", "mjpeg", "-q:v", "2"),  # the container alone knows of fields
}


@pytest.mark.parametrize("top_first", [True, False])
@pytest.mark.parametrize("name", FIELDS)
def test_fields_become_whole_frames(tmp_path: Path, name: str, top_first: bool) -> None:
    made, notes = interlaced(tmp_path / name, 12, FIELDS[name], top_first=top_first), list[str]()
    clip = media.read_clip(made, on_note=notes.append)
    assert len(clip) == 12 and clip.fps == 25 and combing(clip.frames_FYXC) < 1
    assert "is interlaced" in notes[0] and "--no-deinterlace" in notes[0]
    notes.clear()
    assert combing(media.read_clip(made, deinterlace=False, on_note=notes.append).frames_FYXC) > 20 and not notes


def test_fields_of_which_nothing_is_said_are_left_and_spoken_of(tmp_path: Path) -> None:
    made, notes = interlaced(tmp_path / "a.mp4", 24, H264, top_first=False), list[str]()
    assert combing(media.read_clip(made, on_note=notes.append).frames_FYXC) > 20
    assert len(notes) == 1 and "looks interlaced" in notes[0] and "--deinterlace" in notes[0]
    notes.clear()
    assert combing(media.read_clip(made, deinterlace=True, on_note=notes.append).frames_FYXC) < 1 and not notes


def test_whole_frames_are_not_taken_for_fields(tmp_path: Path) -> None:
    notes = list[str]()
    media.read_clip(film(tmp_path / "a.mp4", range(48)), on_note=notes.append)
    assert notes == []


def cut_off(path: Path, share: float) -> Path:
    """The same file, of which the end has not come."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize(
    ("name", "encode"),
    [("a.mp4", (*H264, "-movflags", "+faststart")), ("a.mkv", H264), ("a.webm", VP8), ("a.avi", ("-c:v", "mjpeg"))],
)
def test_of_half_a_download_it_is_said_how_much_is_there(tmp_path: Path, name: str, encode: tuple[str, ...]) -> None:
    made, notes = cut_off(film(tmp_path / name, range(96), encode=encode), 0.6), list[str]()
    clip, info = media.read_clip(made, on_note=notes.append), media.probe(made)
    assert numbers(clip) == list(range(len(clip))) and 20 < len(clip) < 96 and info.frames == len(clip)
    total = "" if name == "a.avi" else "of about 96 "  # its index is at its end
    assert notes == [f"{made} is incomplete: {info.incomplete}"]
    assert f"{len(clip)} {total}" in notes[0] or not total


def test_a_download_without_its_index_is_incomplete(tmp_path: Path) -> None:
    made = cut_off(film(tmp_path / "a.mp4", range(48)), 0.6)
    for read in (media.read_clip, media.probe, media.sound_tracks):
        with pytest.raises(InputError, match="incomplete: its index"):
            read(made)


@pytest.mark.parametrize("suffix", [".part", ".crdownload", ".download"])
def test_the_names_of_downloads_that_go_on_are_known(tmp_path: Path, suffix: str) -> None:
    made, notes = film(tmp_path / "a.mp4", range(48)), list[str]()
    whole = made.rename(f"{made}{suffix}")
    media.read_clip(whole, on_note=notes.append)
    assert len(notes) == 1 and "still being downloaded" in notes[0]
    with pytest.raises(InputError, match="incomplete: its name says that it is still being downloaded"):
        media.read_clip(cut_off(whole, 0.6))


def test_frames_that_are_broken_midway_are_spoken_of(tmp_path: Path) -> None:
    made, notes = film(tmp_path / "a.mp4", range(96)), list[str]()
    data = bytearray(made.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    made.write_bytes(data)
    media.read_clip(made, on_note=notes.append)
    assert len(notes) == 1 and "is damaged" in notes[0]
