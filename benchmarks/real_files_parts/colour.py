"""Colours and transparency: HDR, other gamuts and ranges, colour profiles, alpha, photographs of telephones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from real_files_parts import colour_pictures as pictures
from real_files_parts import colour_video as video
from real_files_parts.case import Case, Outcome, run, says
from sora import media
from sora.errors import InputError
from sora.media import WHITE, Background, stream

X265 = "-c:v libx265 -pix_fmt yuv420p10le -x265-params log-level=none:crf=4 -tag:v hvc1"
YCGCO = "format=gbrp,zscale=m=ycgco:r=tv"
X264 = "-c:v libx264 -qp 4"
HDR_FILES = {
    "h265.mp4": X265,
    "h264 of 10 bits.mp4": "-c:v libx264 -pix_fmt yuv420p10le -qp 4",
    "prores.mov": "-c:v prores_ks -profile:v 3 -pix_fmt yuv422p10le",
    "vp9.webm": "-c:v libvpx-vp9 -pix_fmt yuv420p10le -crf 8 -b:v 0",
    "av1.mkv": "-c:v libsvtav1 -pix_fmt yuv420p10le -crf 12",
}


def cases() -> Iterator[Case]:
    yield from _hdr()
    yield from _gamuts()
    yield from _profiles()
    yield from adobe_cases()
    yield from cmyk_cases()
    yield from chunk_cases()
    yield from _broken_profiles()
    yield from _alpha()
    yield from _backgrounds()
    yield from _heic()


def matches(got: np.ndarray, expected: np.ndarray, within: int) -> Outcome:
    """Whether colours (N, 3) are those expected; what is largest of their differences."""
    off = int(np.abs(got.astype(int) - expected).max())
    worst = int(np.abs(got.astype(int) - expected).max(-1).argmax())
    words = f"off by {off}: {got[worst].tolist()} for {expected[worst].tolist()}" if off > within else f"within {off}"
    return Outcome(words, off <= within)


def read(path: Path, background: Background = WHITE) -> tuple[np.ndarray, list[str]]:
    """(the first frame or the picture, what a person reads of it)."""
    notes: list[str] = []
    if path.suffix in (".png", ".jpg", ".webp", ".avif", ".heic") and not path.name.startswith("moving"):
        return media.read_image(path, background=background, on_note=notes.append), notes
    return media.read_clip(path, background=background, on_note=notes.append).frames_FYXC[0], notes


# HDR


def _hdr() -> Iterator[Case]:
    for transfer, kind in (("arib-std-b67", "HLG"), ("smpte2084", "PQ")):
        for name, codec in HDR_FILES.items():
            yield Case(
                f"HDR, {kind}", name, "white from 235, all else within 6", partial(_hdr_case, transfer, name, codec)
            )
    yield Case("HDR, HLG", "a grey card, 38 % of the signal", "grey 108, within 4", _grey_card)
    yield Case("HDR, PQ", "a note", "says HDR (PQ)", _hdr_note)
    yield Case("HDR, HLG", "extended, its frames in the new film", "those that are read", _extended)
    yield Case("HDR, PQ", "with alpha, ProRes 4444", "off white at half alpha, within 6", _hdr_alpha)


def _hdr_case(transfer: str, name: str, codec: str, folder: Path) -> Outcome:
    frame_YXC, _ = read(video.hdr(folder / name, video.bars(), transfer, codec))
    got, expected = video.seen(frame_YXC), np.array(video.COLOURS)
    if got[0].min() < 235 or np.ptp(got[0]) > 2:
        return Outcome(f"white {got[0].tolist()}", False)
    return matches(got[1:], expected[1:], 6)


def _grey_card(folder: Path) -> Outcome:
    card = np.full((48, 64, 3), 0.38 * 876 + 64)
    card[..., 1:] = 512
    data = (card.transpose(2, 0, 1) + 0.5).astype("<u2").tobytes()
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv444p10le", "-s", "64x48", "-r", "24", "-i", "-"]
    path = folder / "card.mp4"
    video.ffmpeg(*raw, "-vf", video.tagged("bt2020nc", "bt2020", "arib-std-b67"), *X265.split(), path, stdin=data * 3)
    return matches(read(path)[0][24, 32:33], np.full((1, 3), 108), 4)


def _hdr_note(folder: Path) -> Outcome:
    _, notes = read(video.hdr(folder / "a.mp4", video.bars(), "smpte2084", X265))
    return Outcome("; ".join(notes)[-80:], any("HDR (PQ)" in note for note in notes))


def _extended(folder: Path) -> Outcome:
    path = video.hdr(folder / "a.mp4", video.bars(), "arib-std-b67", X265)
    ended = run(folder, *["extend", "a.mp4", "--anyway", "--frames", "2", "--seed", "1", "-o", "b.mkv", "a_meadow"])
    if ended.status:
        return says(ended, 0)
    same = np.array_equal(media.read_clip(folder / "b.mkv").frames_FYXC[:3], media.read_clip(path).frames_FYXC)
    return Outcome("those that are read" if same else "others", same and "HDR (HLG)" in ended.text)


def _hdr_alpha(folder: Path) -> Outcome:
    codec = "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le"
    frame_YXC, _ = read(video.hdr(folder / "a.mov", video.bars(), "smpte2084", codec, alpha=512))
    return matches(video.seen(frame_YXC)[1:], (np.array(video.COLOURS)[1:] + 255) / 2, 6)


# Gamuts, matrices and ranges


def _gamuts() -> Iterator[Case]:
    converted = {
        "BT.601 of 525 lines": ("smpte170m", "smpte170m", "smpte170m", "yuv444p"),
        "BT.601 of 625 lines": ("bt470bg", "bt470bg", "smpte170m", "yuv444p"),
        "BT.2020 in SDR": ("bt2020nc", "bt2020", "bt2020-10", "yuv444p10"),
        "Display P3": ("bt709", "smpte432", "bt709", "yuv444p10"),
        "Display P3 with the curve of sRGB": ("bt709", "smpte432", "iec61966-2-1", "yuv444p10"),
    }
    for name, (matrix, primaries, transfer, pix_fmt) in converted.items():
        codec = f"-c:v libx264 -qp 4 -pix_fmt {pix_fmt}"
        filters = video.converted(matrix, primaries, transfer, pix_fmt)
        yield _video_case("gamut", name, filters, codec, video.MUTED, 4)
    full = "scale=out_color_matrix={}:out_range=pc"
    matrices = {
        "601, named": ("scale=out_color_matrix=smpte170m", 320),
        "601, of SD that names none": ("scale=out_color_matrix=smpte170m,setparams=colorspace=unknown", 320),
        "601, of SD upright": ("scale=out_color_matrix=smpte170m,setparams=colorspace=unknown,transpose", 854),
        "709, of HD that names none": ("scale=1280:720:out_color_matrix=bt709,setparams=colorspace=unknown", 720),
        "709, full range": (full.format("bt709"), 96),
        "601, full range": (full.format("smpte170m"), 96),
    }
    for name, (filters, height) in matrices.items():
        pix_fmt = "yuvj444p" if "full" in name else "yuv444p"
        yield _video_case(
            "matrix and range", name, f"{filters},format={pix_fmt}", "-c:v libx264 -qp 4", video.COLOURS, 3, height
        )
    yield _video_case(
        "matrix and range", "MJPEG", "format=yuvj444p", "-c:v mjpeg -q:v 1", video.COLOURS, 5, suffix=".avi"
    )
    yield _video_case("matrix and range", "RGB in H.264", "format=gbrp", "-c:v libx264rgb -qp 0", video.COLOURS, 1)
    yield _video_case("matrix and range", "YCgCo", YCGCO, X264, video.COLOURS, 4)
    yield Case("written", "an .mp4 and an .mkv", "both tagged bt709", _written_tags)
    yield Case("written", "a .png", "has the chunk sRGB", _written_png)


def _video_case(
    kind: str,
    name: str,
    filters: str,
    codec: str,
    colours: tuple[tuple[int, int, int], ...],
    within: int,
    height: int = 96,
    suffix: str = ".mp4",
) -> Case:
    def attempt(folder: Path) -> Outcome:
        path = video.encode(folder / f"a{suffix}", video.bars(colours, height), filters, codec)
        frame_YXC, _ = read(path)
        upright = frame_YXC.transpose(1, 0, 2) if "transpose" in filters else frame_YXC
        return matches(video.seen(upright), np.array(colours), within)

    return Case(kind, name, f"the colours of its source, within {within}", attempt)


def _written_tags(folder: Path) -> Outcome:
    found: list[str] = []
    for name in ("a.mp4", "a.mkv"):
        path = media.write_clip(folder / name, media.read_clip(_plain(folder)), "")
        found.append(str(stream.stream(path).colours))
    right = all("primaries='bt709', transfer='bt709'" in each for each in found)
    return Outcome("both tagged bt709" if right else "; ".join(found), right)


def _plain(folder: Path) -> Path:
    return video.encode(folder / "plain.mkv", video.bars(), "null", "-c:v ffv1")


def _written_png(folder: Path) -> Outcome:
    clip = media.read_clip(_plain(folder))
    path = media.write_clip(folder / "a.png", clip[:1], "")
    has = b"sRGB" in path.read_bytes()[:100]
    return Outcome("has the chunk sRGB" if has else "has it not", has)


# Pictures with profiles


def _profiles() -> Iterator[Case]:
    p3 = pictures.rgb_profile(pictures.DISPLAY_P3)
    bars = pictures.in_profile(video.bars(), pictures.DISPLAY_P3)
    for name, options in {
        "p3.png": {},
        "p3.jpg": {"quality": 100, "subsampling": 0},
        "p3.webp": {"lossless": True},
        "p3.avif": {"quality": 100, "subsampling": "4:4:4"},
    }.items():
        yield Case("Display P3", name, "its colours in sRGB, within 5", partial(_profiled, name, bars, p3, options))
    yield Case("Display P3", "moving.webp", "its colours in sRGB, within 4", partial(_moving_p3, bars, p3))
    yield Case("Display P3", "a folder of PNGs", "its colours in sRGB, within 4", partial(_folder_p3, bars, p3))
    yield Case("Display P3", "a picture in memory", "its colours in sRGB, within 4", partial(_memory_p3, bars, p3))


def adobe_cases() -> Iterator[Case]:
    adobe = pictures.in_profile(video.bars(video.MUTED), pictures.ADOBE_RGB, 563 / 256)
    icc = pictures.rgb_profile(pictures.ADOBE_RGB, pictures.power_curve(563 / 256))
    jpeg = {"quality": 100, "subsampling": 0}
    attempt = partial(_profiled, "adobe.jpg", adobe, icc, jpeg, expected=np.array(video.MUTED))
    yield Case("Adobe RGB", "JPEG with its profile", "its colours in sRGB, within 5", attempt)
    yield Case("Adobe RGB", "JPEG that Exif calls R03", "its colours in sRGB, within 4", partial(_adobe_by_exif, adobe))


def cmyk_cases() -> Iterator[Case]:
    yield Case("grey profile", "linear grey", "188 for half the light, within 2", _linear_grey)
    yield Case("CMYK", "JPEG with a profile", "a grey of 73 % lightness, 179, within 3", _cmyk)
    yield Case("CMYK", "JPEG without", "a note", _cmyk_without)


def _profiled(
    name: str,
    bars: np.ndarray,
    profile: bytes,
    options: Mapping[str, Any],
    folder: Path,
    *,
    expected: np.ndarray | None = None,
) -> Outcome:
    Image.fromarray(bars).save(folder / name, icc_profile=profile, **options)
    frame_YXC, notes = read(folder / name)
    outcome = matches(video.seen(frame_YXC), np.array(video.COLOURS) if expected is None else expected, 5)
    return outcome if not notes else Outcome("; ".join(notes), False)


def _moving_p3(bars: np.ndarray, profile: bytes, folder: Path) -> Outcome:
    frames = [Image.fromarray(bars), Image.fromarray(bars[::-1, ::-1].copy())]
    frames[0].save(
        folder / "moving.webp",
        save_all=True,
        append_images=frames[1:],
        duration=100,
        lossless=True,
        icc_profile=profile,
    )
    return matches(video.seen(read(folder / "moving.webp")[0]), np.array(video.COLOURS), 4)


def _folder_p3(bars: np.ndarray, profile: bytes, folder: Path) -> Outcome:
    (folder / "f").mkdir()
    for number in range(2):
        Image.fromarray(bars).save(folder / "f" / f"{number}.png", icc_profile=profile)
    return matches(video.seen(read(folder / "f")[0]), np.array(video.COLOURS), 4)


def _memory_p3(bars: np.ndarray, profile: bytes, _: Path) -> Outcome:
    image = Image.fromarray(bars)
    image.info["icc_profile"] = profile
    return matches(video.seen(media.rgb(image)), np.array(video.COLOURS), 4)


def _adobe_by_exif(bars: np.ndarray, folder: Path) -> Outcome:
    # Big-endian: Exif's own directory at 26, with the place of the one for interoperability, which is at 44.
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x8769, 4, 1, 26, 0)
    exif += struct.pack(">HHHIII", 1, 0xA005, 4, 1, 44, 0) + struct.pack(">HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    Image.fromarray(bars).save(folder / "a.jpg", exif=exif, quality=100, subsampling=0)
    return matches(video.seen(read(folder / "a.jpg")[0]), np.array(video.MUTED), 4)


def _linear_grey(folder: Path) -> Outcome:
    Image.new("L", (32, 32), 128).save(folder / "a.png", icc_profile=pictures.grey_profile(1.0))
    return matches(read(folder / "a.png")[0][16, 16:17], np.full((1, 3), 188), 2)


def _cmyk(folder: Path) -> Outcome:
    Image.new("CMYK", (32, 32), (255, 0, 0, 0)).save(folder / "a.jpg", icc_profile=pictures.cmyk_profile(), quality=100)
    return matches(read(folder / "a.jpg")[0][16, 16:17], np.full((1, 3), 179), 3)


def _cmyk_without(folder: Path) -> Outcome:
    Image.new("CMYK", (32, 32), (255, 0, 0, 0)).save(folder / "a.jpg", quality=100)
    _, notes = read(folder / "a.jpg")
    return Outcome("; ".join(notes)[-80:] or "no note", any("CMYK" in note for note in notes))


# Chunks of PNG


def chunk_cases() -> Iterator[Case]:
    p3 = pictures.in_profile(video.bars(), pictures.DISPLAY_P3)
    primaries = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    chrm, gama = (b"cHRM", struct.pack(">8I", *primaries)), (b"gAMA", struct.pack(">I", 45455))
    bright = video.bars(video.MUTED[:6])
    linear = ((bright / 255.0) ** 2.2 * 65535 + 0.5).astype(np.uint16)
    pq = (video.pq((bright / 255.0) ** 2.4 * 203 @ video.TO_2020.T) * 65535 + 0.5).astype(np.uint16)
    yield _png_case("cICP of Display P3", p3, (b"cICP", bytes((12, 13, 0, 1))))
    yield _png_case("cHRM and gAMA of Display P3", p3, gama, chrm)
    yield _png_case(
        "gAMA of linear light, 16 bits", linear, (b"gAMA", struct.pack(">I", 100_000)), within=8, colours=bright
    )
    yield _png_case("cICP of PQ, 16 bits", pq, (b"cICP", bytes((9, 16, 0, 1))), within=12, colours=bright)
    yield _png_case("sRGB beside gAMA and cHRM", video.bars(), (b"sRGB", b"\0"), gama, within=0)
    yield _png_case(
        "gAMA and cHRM that mean nothing", video.bars(), (b"gAMA", bytes(4)), (b"cHRM", bytes(32)), within=0
    )
    deep = video.bars().astype(np.uint16) * 257
    yield _png_case("16 bits", deep, within=0)


def _png_case(
    name: str,
    pixels: np.ndarray,
    *chunks: tuple[bytes, bytes],
    within: int = 4,
    colours: np.ndarray | None = None,
) -> Case:
    """colours: in sRGB, as bars."""
    expected = video.bars() if colours is None else colours
    count = expected.shape[1] // video.BAR

    def attempt(folder: Path) -> Outcome:
        (folder / "a.png").write_bytes(pictures.png(pixels, *chunks))
        return matches(video.seen(read(folder / "a.png")[0], count), video.seen(expected, count), within)

    return Case("PNG's chunks", name, f"its colours in sRGB, within {within}", attempt)


def _broken_profiles() -> Iterator[Case]:
    good = pictures.rgb_profile(pictures.DISPLAY_P3)
    broken = {
        "rubbish": b"rubbish" * 40,
        "cut short": good[:200],
        "its sizes are lies": good[:128] + b"\xff" * (len(good) - 128),
        "of a printer, in RGB": pictures.cmyk_profile(),
        "17 MB": good + bytes(17 << 20),
    }
    for name, profile in broken.items():
        yield Case("broken profile", name, "the numbers as they are, and a note", partial(_ignored, profile))


def _ignored(profile: bytes, folder: Path) -> Outcome:
    Image.fromarray(video.bars()).save(folder / "a.webp", icc_profile=profile, lossless=True)
    frame_YXC, notes = read(folder / "a.webp")
    outcome = matches(video.seen(frame_YXC), np.array(video.COLOURS), 0)
    return outcome if any("ignored" in note for note in notes) else Outcome(f"notes: {notes}", False)


# Alpha


def _alpha() -> Iterator[Case]:
    for name, (filters, codec) in video.ALPHA_CODECS.items():
        yield Case("alpha in video", name, "white, then red; a note", partial(_alpha_video, name, filters, codec))
    for name, mode in {
        "rgba.png": "RGBA",
        "la.png": "LA",
        "palette.png": "P",
        "a.webp": "RGBA",
        "a.avif": "RGBA",
    }.items():
        yield Case(
            "alpha in pictures", name, "the background, then the picture; a note", partial(_alpha_picture, name, mode)
        )
    for suffix in (".gif", ".webp", ".png"):
        attempt = partial(_alpha_moving, f"moving{suffix}")
        yield Case("alpha in moving pictures", suffix, "the background, then red; a note", attempt)
    yield Case("alpha in video", "that is opaque", "no note", _opaque)
    yield Case("alpha in video", "as a mask", "its own rule: what is opaque", _alpha_mask)


def _laid_over(
    frame_YXC: np.ndarray, notes: list[str], under: tuple[int, int, int], over: tuple[int, int, int]
) -> Outcome:
    height, width = frame_YXC.shape[:2]
    got = frame_YXC[height // 2, [width // 4, 3 * width // 4]]
    outcome = matches(got, np.array([under, over]), 3)
    spoken = [note for note in notes if "--background" in note]
    return outcome if len(spoken) == 1 else Outcome(f"{len(spoken)} notes", False)


def _alpha_video(name: str, filters: str, codec: str, folder: Path) -> Outcome:
    path = video.encode(folder / name, video.half_clear(), filters, codec)
    return _laid_over(*read(path), (255, 255, 255), (220, 30, 30))


BLUE = Background("blue", (0, 0, 255))


def _alpha_picture(name: str, mode: str, folder: Path) -> Outcome:
    image = Image.fromarray(video.half_clear())
    colour = (220, 30, 30) if mode != "LA" else (87, 87, 87)
    if mode == "P":
        image = image.quantize(4)
    image = image if image.mode == mode else image.convert(mode)
    lossless: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    image.save(folder / name, **lossless)
    return _laid_over(*read(folder / name, BLUE), (0, 0, 255), colour)


def _alpha_moving(name: str, folder: Path) -> Outcome:
    first, second = video.half_clear(), video.half_clear()
    second[:8] = (30, 30, 220, 255)
    frames = [Image.fromarray(each) for each in (first, second)]
    lossless: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(folder / name, save_all=True, append_images=frames[1:], duration=100, disposal=2, **lossless)
    return _laid_over(*read(folder / name, BLUE), (0, 0, 255), (220, 30, 30))


def _opaque(folder: Path) -> Outcome:
    frame_YXC = video.half_clear()
    frame_YXC[..., 3] = 255
    _, notes = read(video.encode(folder / "a.mov", frame_YXC, "format=argb", "-c:v qtrle"))
    return Outcome("; ".join(notes) or "no note", not notes)


def _alpha_mask(folder: Path) -> Outcome:
    path = video.encode(folder / "a.mov", video.half_clear(), "format=argb", "-c:v qtrle")
    mask_FYX = media.read_mask(path, 3, (48, 64))
    right = bool(mask_FYX[:, :, 32:].all() and not mask_FYX[:, :, :32].any())
    return Outcome("its own rule: what is opaque" if right else f"{mask_FYX.mean():.0%} of the pixels", right)


def _backgrounds() -> Iterator[Case]:
    yield Case("--background", "of a clip, painted again", "the same frames, over green", _remade)
    yield Case(
        "--background",
        "of a picture",
        "says what it is put over",
        partial(_painted, "hsl(120,100%,50%)", 0, "put over hsl"),
    )
    for colour in ("nocolour", "#12345", "#ff000080", ""):
        yield Case(
            "--background", repr(colour), "exit 2, says what is expected", partial(_painted, colour, 2, "expected")
        )


def _remade(folder: Path) -> Outcome:
    video.encode(folder / "a.mov", video.half_clear(), "format=argb", "-c:v qtrle")
    ended = run(
        folder, *["extend", "a.mov", "--anyway", "--frames", "2", "--background", "#00ff00", "-o", "b.mkv", "a_meadow"]
    )
    again = run(folder, *["remake", "b.mkv", "-o", "c.mkv"])
    if ended.status or again.status:
        return says(again if ended.status == 0 else ended, 0)
    first, second = (media.read_clip(folder / name).frames_FYXC for name in ("b.mkv", "c.mkv"))
    right = np.array_equal(first, second) and first[0, 24, 8].tolist() == [0, 255, 0]
    return Outcome("the same frames, over green" if right else f"{first[0, 24, 8].tolist()}", right)


def _painted(colour: str, status: int, word: str, folder: Path) -> Outcome:
    Image.fromarray(video.half_clear()).save(folder / "a.png")
    return says(
        run(folder, "img2vid", "a.png", "--frames", "2", "--anyway", "--background", colour, "a_cat"), status, word
    )


# HEIC


def _heic() -> Iterator[Case]:
    p3 = {"icc": pictures.rgb_profile(pictures.DISPLAY_P3)}
    p3_bars = pictures.in_profile(video.bars(), pictures.DISPLAY_P3)
    turned = Image.Exif()
    turned[0x0112] = 6
    options: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "one picture": (video.bars(), {}),
        "a grid of tiles": (video.bars(height=200), {"tile": 128}),
        "turned by its own box": (np.rot90(video.bars(), -1), {"quarter_turns": 1}),
        "turned, and Exif says so too": (np.rot90(video.bars(), -1), {"quarter_turns": 1, "exif": turned.tobytes()}),
        "Display P3": (p3_bars, p3),
        "a grid in Display P3, turned": (np.rot90(p3_bars, -1), {"tile": 128, "quarter_turns": 1, **p3}),
        "10 bits": (video.bars(), {"pix_fmt": "yuv420p10le"}),
    }
    for name, (bars, settings) in options.items():
        yield Case("HEIC", name, "its colours in sRGB, within 6", partial(_heic_case, bars, settings))
    yield Case("HEIC", "cut short", "an input error", partial(_heic_refused, lambda data: data[: len(data) // 2]))
    claims = partial(pictures.heic, video.bars(), claims=(30_000, 30_000))
    yield Case("HEIC", "that claims 900 megapixels", "an input error", partial(_heic_refused, lambda _: claims()))
    yield Case("HEIC", "set in motion", "exit 0", _heic_moved)
    yield Case("HEIC", "without pillow-heif", "names the extra", _heic_without)


def _heic_case(bars: np.ndarray, settings: Mapping[str, Any], folder: Path) -> Outcome:
    path = folder / "a.heic"
    path.write_bytes(pictures.heic(np.ascontiguousarray(bars), **settings))
    return matches(video.seen(read(path)[0]), np.array(video.COLOURS), 6)


def _heic_refused(damaged: Callable[[bytes], bytes], folder: Path) -> Outcome:
    path = folder / "a.heic"
    path.write_bytes(damaged(pictures.heic(video.bars())))
    try:
        media.read_image(path)
    except InputError as error:
        return Outcome(f"an input error: {str(error)[-60:]}", len(str(error).splitlines()) == 1)
    return Outcome("read", False)


def _heic_moved(folder: Path) -> Outcome:
    (folder / "a.heic").write_bytes(pictures.heic(video.bars()))
    return says(run(folder, *["img2vid", "a.heic", "--frames", "2", "--anyway", "a_cat"]), 0)


def _heic_without(folder: Path) -> Outcome:
    (folder / "a.heic").write_bytes(pictures.heic(video.bars()))
    (folder / "hidden").mkdir()
    (folder / "hidden" / "pillow_heif.py").write_text("raise ImportError\n")
    hidden = {"PYTHONPATH": f"{folder / 'hidden'}:{Path(media.__file__).parents[2]}"}
    return says(run(folder, *["img2vid", "a.heic", "--frames", "2", "a_cat"], more=hidden), 3, "sora-video[heif]")
