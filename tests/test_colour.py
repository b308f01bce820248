"""Colours and transparency of what people bring: HDR, other gamuts and ranges, colour profiles, alpha, HEIC."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sora
from real_files_parts import colour
from real_files_parts import colour_pictures as pictures
from real_files_parts import colour_video as video
from sora import media
from sora.errors import InputError, UsageError
from sora.jobs.delivery import InMemory
from sora.jobs.resolve import resolve
from sora.media import stream
from sora.plan.clip import Clip
from sora.plan.request import from_data, to_data

COLOURS, MUTED = np.array(video.COLOURS), np.array(video.MUTED)


def off(path: Path, expected: np.ndarray = COLOURS) -> int:
    """How far the bars of a film or a picture are from these colours."""
    frame_YXC, _ = colour.read(path)
    return int(np.abs(video.seen(frame_YXC) - expected).max())


def picture(folder: Path, bars: np.ndarray, name: str = "a.png", **options: Any) -> Path:
    Image.fromarray(bars).save(folder / name, **options)
    return folder / name


# Films


@pytest.mark.parametrize(("transfer", "kind"), [("arib-std-b67", "HLG"), ("smpte2084", "PQ")])
def test_hdr_becomes_the_sdr_picture_of_the_scene_and_says_so(tmp_path: Path, transfer: str, kind: str):
    path = video.hdr(tmp_path / "a.mp4", video.bars(), transfer, colour.X265)
    frame_YXC, notes = colour.read(path)
    shown = video.seen(frame_YXC)
    assert shown[0].min() >= 235 and np.abs(shown[1:] - COLOURS[1:]).max() <= 6
    assert notes == [f"{path} is HDR ({kind}); its colours are tone-mapped to SDR"]
    assert media.probe(path).colors == f"bt2020nc, bt2020, {transfer} (HDR, {kind})"


@pytest.mark.parametrize(
    ("matrix", "primaries", "transfer", "pix_fmt"),
    [
        ("smpte170m", "smpte170m", "smpte170m", "yuv444p"),
        ("bt2020nc", "bt2020", "bt2020-10", "yuv444p10"),
        ("bt709", "smpte432", "iec61966-2-1", "yuv444p10"),
    ],
)
def test_other_gamuts_are_converted(tmp_path: Path, matrix: str, primaries: str, transfer: str, pix_fmt: str):
    filters = video.converted(matrix, primaries, transfer, pix_fmt)
    path = video.encode(tmp_path / "a.mkv", video.bars(video.MUTED), filters, "-c:v ffv1")
    assert off(path, MUTED) <= 4


@pytest.mark.parametrize(
    ("filters", "size"),
    [
        ("scale=out_color_matrix=smpte170m,setparams=colorspace=unknown,format=yuv444p", (480, 224)),
        ("scale=480:854:out_color_matrix=smpte170m,setparams=colorspace=unknown,format=yuv444p", (854, 480)),
        ("scale=1280:720:out_color_matrix=bt709,setparams=colorspace=unknown,format=yuv444p", (720, 1280)),
        ("scale=out_color_matrix=bt709:out_range=pc,format=yuvj444p", (96, 224)),
        ("format=gbrp,zscale=m=ycgco:r=tv", (96, 224)),
    ],
)
def test_matrix_and_range_are_what_frames_say_or_what_is_usual(tmp_path: Path, filters: str, size: tuple[int, int]):
    path = video.encode(tmp_path / "a.mkv", video.bars(height=size[0]), filters, "-c:v ffv1", frames=1)
    assert off(path) <= 3


def test_colours_that_nothing_converts_are_named(tmp_path: Path):
    filters = f"format=yuv444p,{video.tagged('ipt-c2', 'bt2020', 'bt709')}"
    _, notes = colour.read(video.encode(tmp_path / "a.mkv", video.bars(), filters, "-c:v ffv1", frames=1))
    assert "does not convert (ipt-c2)" in notes[0]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_what_is_written_says_its_colours(tmp_path: Path, name: str):
    path = media.write_clip(tmp_path / name, Clip(video.bars()[None], 24.0))
    colours = stream.stream(path).colours
    assert (colours.primaries, colours.transfer) == ("bt709", "bt709")


# Pictures


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_pictures_with_a_profile_become_srgb(tmp_path: Path, name: str):
    bars = pictures.in_profile(video.bars(), pictures.DISPLAY_P3)
    options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
    profile = pictures.rgb_profile(pictures.DISPLAY_P3)
    assert off(picture(tmp_path, bars, name, icc_profile=profile, **options)) <= 4


def test_srgb_pictures_are_left_as_they_are(tmp_path: Path):
    assert off(picture(tmp_path, video.bars(), icc_profile=pictures.rgb_profile(pictures.SRGB))) == 0


def test_grey_and_cmyk_pictures_with_a_profile_become_srgb(tmp_path: Path):
    grey, ink = tmp_path / "grey.png", tmp_path / "ink.jpg"
    Image.new("L", (8, 8), 128).save(grey, icc_profile=pictures.grey_profile(1.0))
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(ink, icc_profile=pictures.cmyk_profile(), quality=100)
    assert abs(media.read_image(grey)[4, 4] - 188.0).max() <= 2
    assert abs(media.read_image(ink)[4, 4] - 179.0).max() <= 3


@pytest.mark.parametrize(
    "profile", [b"rubbish" * 40, pictures.rgb_profile(pictures.SRGB)[:200], pictures.cmyk_profile(), bytes(17 << 20)]
)
def test_profiles_that_cannot_be_used_are_ignored_with_a_note(tmp_path: Path, profile: bytes):
    path = picture(tmp_path, video.bars(), "a.webp", lossless=True, icc_profile=profile)
    assert off(path) == 0
    assert "is ignored" in colour.read(path)[1][0]


def test_cases_of_pictures_that_say_their_colours_otherwise(tmp_path: Path):
    for case in [*colour.chunk_cases(), *colour.cmyk_cases(), *colour.adobe_cases()]:
        folder = tmp_path / str(abs(hash(case.name)))
        folder.mkdir()
        outcome = case.attempt(folder)
        assert outcome.right, f"{case.name}: {outcome.got}"


# Transparency


@pytest.mark.parametrize("name", ["prores.mov", "animation.mov", "vp8.webm", "vp9.webm", "hevc.mov"])
def test_a_film_with_alpha_lies_over_white_and_says_so_once(tmp_path: Path, name: str):
    path = video.encode(tmp_path / name, video.half_clear(), *video.ALPHA_CODECS[name])
    frame_YXC, notes = colour.read(path)
    assert np.abs(frame_YXC[24, [8, 56]].astype(int) - [(255, 255, 255), (220, 30, 30)]).max() <= 3
    assert notes == [f"{path} is transparent; it is put over white, change that with --background"]


def test_opaque_alpha_is_not_spoken_of_and_a_mask_keeps_its_rule(tmp_path: Path):
    frame_YXC = video.half_clear()
    clear = video.encode(tmp_path / "clear.mov", frame_YXC, *video.ALPHA_CODECS["animation.mov"])
    mask_FYX = media.read_mask(clear, 3, (48, 64))
    assert mask_FYX[:, :, 32:].all() and not mask_FYX[:, :, :32].any()
    frame_YXC[..., 3] = 255
    opaque = video.encode(tmp_path / "opaque.mov", frame_YXC, *video.ALPHA_CODECS["animation.mov"])
    assert colour.read(opaque)[1] == []


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_moving_pictures_lie_over_the_background(tmp_path: Path, suffix: str):
    frames = [Image.fromarray(each) for each in (video.half_clear(), video.half_clear()[:, ::-1].copy())]
    path = tmp_path / f"a{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, disposal=2, **options)
    clip = media.read_clip(path, background=media.background_of("blue"))
    assert np.abs(clip.frames_FYXC[:, 24, 8].astype(int) - [(0, 0, 255), (220, 30, 30)]).max() <= 5


def test_the_background_is_in_the_request_and_under_every_input(tmp_path: Path):
    film = video.encode(tmp_path / "a.mov", video.half_clear(), *video.ALPHA_CODECS["animation.mov"])
    still = picture(tmp_path, video.half_clear())
    asked = {"prompt": "a cat", "background": "#00ff00"}
    for inputs in ({"verb": "extend", "clip": str(film)}, {"verb": "img2vid", "image": str(still)}):
        resolved = resolve(from_data(asked | inputs, "the request"), InMemory())
        _, known = resolved.plan.known_clips[0]
        assert known.frames_FYXC[0, 24, 4].tolist() == [0, 255, 0]
        assert to_data(resolved.request)["background"] == "#00ff00"
        assert [note for note in resolved.notes if "put over #00ff00" in note]


def test_a_picture_in_memory_lies_over_the_background_too():
    image = Image.fromarray(video.half_clear())
    film = sora.img2vid(image, "a cat", frames=1, steps=1, size="64x48", background="blue")
    assert "the clip in memory is transparent; it is put over blue, change that with background" in film.notes


@pytest.mark.parametrize("text", ["nocolour", "#12345", "#ff000080", "", "rgb(" + "9" * 5000])
def test_what_is_no_colour_is_refused(text: str):
    with pytest.raises(UsageError, match="expected a name as black"):
        media.background_of(text)


# HEIC


def test_photographs_of_telephones_are_read(tmp_path: Path):
    bars = np.rot90(pictures.in_profile(video.bars(), pictures.DISPLAY_P3), -1)
    exif = Image.Exif()
    exif[0x0112] = 6
    path, profile = tmp_path / "a.heic", pictures.rgb_profile(pictures.DISPLAY_P3)
    path.write_bytes(pictures.heic(bars, tile=128, quarter_turns=1, icc=profile, exif=exif.tobytes()))
    assert off(path) <= 6
    info = media.probe(path)
    assert (info.kind, info.codec, info.width, info.height) == ("image", "heif", 224, 96)


def test_heic_that_claims_too_much_or_is_cut_short_is_refused(tmp_path: Path):
    path = tmp_path / "a.heic"
    path.write_bytes(pictures.heic(video.bars(), claims=(30_000, 30_000)))
    with pytest.raises(InputError):
        media.read_image(path)
    whole = pictures.heic(video.bars())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        media.read_image(path)


def test_heic_names_what_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.heic"
    path.write_bytes(pictures.heic(video.bars()))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"needs pillow-heif; pip install 'sora-video\[heif\]'"):
        media.read_image(path)
