"""Clips as cameras, recorders, broadcasters and browsers leave them: gaps, changes midway, fields, tracks, half
downloads. Frames say their own numbers, so that each is judged for itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from real_files_parts import numbered
from real_files_parts.case import Case, Outcome, run, says
from real_files_parts.numbered import H264, film, interlaced, joined
from sora import media
from sora.media import Sound

VP8 = ("-c:v", "libvpx", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", "8", "-g", "12")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "12")
FIELDS = ("-flags", "+ildct+ilme")
PROMPT = "a red ball"


def cases() -> Iterator[Case]:
    yield from _gaps()
    yield from _changes()
    yield from _interlaced()
    yield from _sound()
    yield from _incomplete()


def _shown(
    path: Path, wanted: Sequence[int], *, fps: float = 24.0, note: str = "", start: float | None = None
) -> Outcome:
    """Whether a clip's frames say these numbers at this rate, and whether a note on it holds these words."""
    notes = list[str]()
    clip = media.read_clip(path, start=start, on_note=notes.append)
    found = [numbered.number_of(frame) for frame in clip.frames_FYXC]
    wrong = next((place for place, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), None)
    noted = any(note in each for each in notes) if note else not notes
    got = f"{len(found)} frames at {clip.fps:.5g}" + ("" if wrong is None else f", {found[wrong]} at {wrong}")
    got += "" if noted else f", notes {notes}"
    return Outcome(got, found == list(wanted) and abs(clip.fps - fps) < 0.01 * fps and noted)


def _gaps() -> Iterator[Case]:
    def attempt(suffix: str, encode: Sequence[str], rate: str, dropped: tuple[int, ...]) -> Callable[[Path], Outcome]:
        kept = [place for place in range(17) if place not in dropped]
        wanted = [max(each for each in kept if each <= place) for place in range(kept[0], kept[-1] + 1)]
        count, _, per = rate.partition("/")

        def tried(folder: Path) -> Outcome:
            made = film(folder / f"a{suffix}", range(17), rate=rate, dropped=dropped, encode=encode)
            return _shown(made, wanted, fps=int(count) / int(per or 1))

        return tried

    fragmented = (*H264, "-movflags", "frag_keyframe+empty_moov")
    rows: tuple[tuple[str, str, Sequence[str], str, tuple[int, ...]], ...] = (
        ("mp4, one in the middle", ".mp4", H264, "24", (5,)),
        ("mp4, both ends", ".mp4", H264, "30000/1001", (0, 16)),
        ("mkv, the second and the last but one", ".mkv", H264, "24000/1001", (1, 15)),
        ("fragmented mp4, the second", ".mp4", fragmented, "30", (1,)),
        ("fragmented mp4, whole", ".mp4", fragmented, "24", ()),
        ("webm, several", ".webm", VP8, "30", (3, 4, 9, 12)),
        ("ts, a run", ".ts", H264, "25", (6, 7, 8, 9)),
        ("avi, one", ".avi", ("-c:v", "mjpeg"), "60", (15,)),
    )
    for name, suffix, encode, rate, dropped in rows:
        first, last = int(0 in dropped), 16 - int(16 in dropped)
        expected = f"{last - first + 1} frames, each the one a player shows"
        yield Case("dropped frames", name, expected, attempt(suffix, encode, rate, dropped))
    yield Case("dropped frames", "mkv of a phone, 6 ms off", "48 frames at 30", _phone)


def _phone(folder: Path) -> Outcome:
    dropped = (1, 9, 20, 21, 40)
    kept = [place for place in range(48) if place not in dropped]
    times = "+".join(f"eq(N\\,{n})*{round(at * 100 / 3) + at * 37 % 13}" for n, at in enumerate(kept))
    encode = ("-enc_time_base", "1/1000", *H264)
    made = film(folder / "a.mkv", kept, filters=f"settb=1/1000,setpts={times}", encode=encode)
    return _shown(made, [max(each for each in kept if each <= at) for at in range(48)], fps=30)


def _changes() -> Iterator[Case]:
    def attempt(suffix: str, note: str = "", encode: Sequence[str] = H264, **second: Any) -> Callable[[Path], Outcome]:
        def tried(folder: Path) -> Outcome:
            kind = suffix if encode is not H264 else ".ts"
            first = film(folder / f"a{kind}", range(20), encode=encode)
            settings: dict[str, Any] = {"encode": encode, **second}
            parts = [first, film(folder / f"b{kind}", range(20, 40), **settings)]
            return _shown(joined(folder / f"c{suffix}", parts), range(40), note=note)

        return tried

    expected, size = "40 frames at 24, none frozen", "40 frames at 24, and a note on the size"
    larger = {"size": (96, 128), "note": "size midway, to 128x96"}
    yield Case("changes midway", "ts, larger", size, attempt(".ts", **larger))
    yield Case("changes midway", "mp4, larger", size, attempt(".mp4", **larger))
    yield Case("changes midway", "mkv, smaller", size, attempt(".mkv", "to 32x24", size=(24, 32)))
    yield Case("changes midway", "webm of a call", size, attempt(".webm", "to 128x96", VP8, size=(96, 128)))
    yield Case("changes midway", "ts, 4:4:4", expected, attempt(".ts", **_encoded("yuv444p")))
    yield Case("changes midway", "mkv, 10 bits", expected, attempt(".mkv", **_encoded("yuv420p10le")))
    full = {"encode": (*H264, "-color_range", "pc"), "filters": "scale=out_range=pc"}
    yield Case("changes midway", "mp4, full range", expected, attempt(".mp4", **full))
    matrix = {"encode": (*H264, "-colorspace", "bt709"), "filters": "scale=out_color_matrix=bt709"}
    yield Case("changes midway", "ts, bt709", expected, attempt(".ts", **matrix))
    yield Case("changes midway", "mkv, turned upright", "black left and right, nothing squeezed", _turned)
    yield Case("changes midway", "mkv, joined byte by byte", "40 frames at 24, and a note", _byte_by_byte)
    yield Case("changes midway", "ts, the part behind the change", "frames 30 to 39", _behind)


def _encoded(pixel_format: str) -> dict[str, Any]:
    return {"encode": (*H264, "-pix_fmt", pixel_format)}


def _turned(folder: Path) -> Outcome:
    parts = [film(folder / f"{n}.ts", [255] * 12, size=size) for n, size in enumerate(((48, 64), (64, 48)))]
    last = media.read_clip(joined(folder / "c.mkv", parts)).frames_FYXC[-1]
    middle, sides = int(last[:, 16:48].min()), int(max(last[:, :10].max(), last[:, 54:].max()))
    return Outcome(f"{middle} in the middle, {sides} at the sides", middle > 200 and sides < 8)


def _byte_by_byte(folder: Path) -> Outcome:
    parts = [film(folder / f"{n}.mkv", range(20 * n, 20 * n + 20)) for n in range(2)]
    (folder / "c.mkv").write_bytes(b"".join(part.read_bytes() for part in parts))
    return _shown(folder / "c.mkv", range(40), note="joined byte by byte")


def _behind(folder: Path) -> Outcome:
    parts = [film(folder / "a.ts", range(20)), film(folder / "b.ts", range(20, 40), size=(96, 128))]
    return _shown(joined(folder / "c.ts", parts), range(30, 40), note="size midway", start=30 / 24)


def _interlaced() -> Iterator[Case]:
    def attempt(
        name: str, encode: Sequence[str], top_first: bool, combed: bool, words: str, deinterlace: bool | None = None
    ) -> Callable[[Path], Outcome]:
        def tried(folder: Path) -> Outcome:
            notes = list[str]()
            made = interlaced(folder / name, 16, encode, top_first=top_first)
            clip = media.read_clip(made, on_note=notes.append, deinterlace=deinterlace)
            found = numbered.combing(clip.frames_FYXC)
            noted = any(words in each for each in notes) if words else not notes
            right = (found > 20) == combed and (combed or found < 1.5) and noted and (len(clip), clip.fps) == (16, 25)
            return Outcome(f"{len(clip)} frames, combing {found:.2f}, {notes or 'no note'}"[:160], right)

        return tried

    whole, says_so = "16 whole frames at 25, and a note", "is interlaced"
    h264 = (*H264, *FIELDS)
    yield Case("interlaced", "ts, top first", whole, attempt("a.ts", h264, True, False, says_so))
    yield Case("interlaced", "mp4, bottom first", whole, attempt("a.mp4", h264, False, False, says_so))
    yield Case("interlaced", "mpg", whole, attempt("a.mpg", (*MPEG2, *FIELDS), True, False, says_so))
    prores = ("-c:v", "prores_ks", "-flags", "+ildct")
    yield Case("interlaced", "mov, ProRes", whole, attempt("a.mov", prores, True, False, says_so))
    mjpeg = ("-c:v", "mjpeg", "-q:v", "2")
    yield Case("interlaced", "mov that alone says so", whole, attempt("a.mov", mjpeg, True, False, says_so))
    combed, looks_so = "combed as it is, and a note", "looks interlaced"
    yield Case("interlaced", "mp4 that does not say so", combed, attempt("a.mp4", H264, False, True, looks_so))
    options = {"deinterlace": True}
    yield Case(
        "interlaced", "the same with --deinterlace", "whole frames", attempt("a.mp4", H264, False, False, "", **options)
    )
    options = {"deinterlace": False}
    yield Case("interlaced", "ts with --no-deinterlace", "combed", attempt("a.ts", h264, True, True, "", **options))
    yield Case("interlaced", "sora info", "interlaced: true", _info_says_interlaced)
    yield Case("interlaced", "the command line", "a note", _command_says_interlaced)


def _info_says_interlaced(folder: Path) -> Outcome:
    interlaced(folder / "a.ts", 8, (*H264, *FIELDS))
    facts = json.loads(run(folder, "info", "a.ts", "--json").out)
    return Outcome(f"interlaced: {json.dumps(facts['interlaced'])}", facts["interlaced"] is True)


def _command_says_interlaced(folder: Path) -> Outcome:
    interlaced(folder / "a.ts", 8, (*H264, *FIELDS))
    return says(run(folder, "extend", "a.ts", PROMPT, "--dry-run"), 0, "a.ts is interlaced", "--no-deinterlace")


def _with_tracks(path: Path, tones: Sequence[int], layout: str, default: int) -> Path:
    """A film of 2 s with a sound track of each tone, in Hz."""
    channels = {"mono": 1, "5.1": 6, "7.1": 8, "22.2": 24}[layout]
    inputs, marks = list[str](), list[str]()
    for n, hz in enumerate(tones):
        tone = "|".join([f"0.4*sin(2*PI*{hz}*t)"] * channels)
        inputs += ["-f", "lavfi", "-i", f"aevalsrc={tone}:c={layout}:d=2"]
        marks += ["-map", str(n + 1), f"-disposition:a:{n}", "default" if n == default else "0"]
    codec = "aac" if path.suffix == ".mp4" else "pcm_s16le"
    numbered.ffmpeg(
        *(
            "-f",
            "lavfi",
            "-i",
            "color=s=64x48:r=8:d=2",
            *inputs,
            "-map",
            "0",
            *marks,
            "-c:a",
            codec,
            "-strict",
            "-1",
            path,
        )
    )
    return path


def _sounded(source: Path, made: Path) -> tuple[str, float]:
    """(the layout, the loudest Hz) of a film with a second of another's sound."""
    with media.writer(made, 8.0, (48, 64), sounds=[Sound(source, 0.5, 1, 0)]) as writer:
        writer.write(np.zeros((8, 48, 64, 3), np.uint8))
    raw = made.with_suffix(".raw")
    numbered.ffmpeg("-i", made, "-ac", "1", "-ar", "48000", "-f", "f32le", raw)
    samples = np.fromfile(raw, np.float32)
    loudest = np.fft.rfftfreq(len(samples), 1 / 48_000)[np.abs(np.fft.rfft(samples)).argmax()]
    return media.probe(made).sound_tracks[0].layout, float(loudest)


def _sound() -> Iterator[Case]:
    def attempt(source: str, made: str, layout: str, wanted: str, default: int, hz: int) -> Callable[[Path], Outcome]:
        def tried(folder: Path) -> Outcome:
            film = _with_tracks(folder / source, (400, 800)[: 1 + (layout == "mono")], layout, default)
            found, loudest = _sounded(film, folder / made)
            return Outcome(f"{found}, {loudest:.0f} Hz", found == wanted and abs(loudest - hz) < 10)

        return tried

    default = "stereo, 800 Hz"
    yield Case(
        "sound tracks", "mp4, the second is the default", default, attempt("a.mp4", "c.mp4", "mono", "stereo", 1, 800)
    )
    yield Case(
        "sound tracks", "mkv, the second is the default", default, attempt("a.mkv", "c.mkv", "mono", "stereo", 1, 800)
    )
    yield Case(
        "sound tracks", "mkv without a default", "stereo, 400 Hz", attempt("a.mkv", "c.mkv", "mono", "stereo", 9, 400)
    )
    for suffix in (".mp4", ".mkv"):
        for layout in ("5.1", "7.1"):
            kept = f"{layout}, 400 Hz"
            yield Case(
                "sound tracks", f"{layout} in {suffix}", kept, attempt("a.mkv", f"c{suffix}", layout, layout, 0, 400)
            )
    yield Case("sound tracks", "22.2", "stereo, 400 Hz", attempt("a.mkv", "c.mp4", "22.2", "stereo", 0, 400))
    yield Case("sound tracks", "22.2, the command line", "a note", _command_says_mixed_down)
    yield Case("sound tracks", "two, the command line", "a note", _command_says_tracks)
    yield Case("sound tracks", "two, sora info", "2 tracks, default 2", _info_says_tracks)


def _command_says_mixed_down(folder: Path) -> Outcome:
    _with_tracks(folder / "a.mkv", (400,), "22.2", 0)
    ended = run(folder, "extend", "a.mkv", PROMPT, "--dry-run", "-o", "c.mp4")
    return says(ended, 0, "the sound of a.mkv, 22.2, is mixed down to stereo")


def _command_says_tracks(folder: Path) -> Outcome:
    _with_tracks(folder / "a.mp4", (400, 800), "mono", 1)
    return says(run(folder, "extend", "a.mp4", PROMPT, "--dry-run"), 0, "2 sound tracks; number 2", "its default")


def _info_says_tracks(folder: Path) -> Outcome:
    _with_tracks(folder / "a.mp4", (400, 800), "mono", 1)
    found = json.loads(run(folder, "info", "a.mp4", "--json").out)["sound_tracks"]
    defaults = [n + 1 for n, track in enumerate(found) if track["default"]]
    return Outcome(f"{len(found)} tracks, default {defaults}", len(found) == 2 and defaults == [2])


def _incomplete() -> Iterator[Case]:
    def cut(name: str, encode: Sequence[str], renamed: str, share: float = 0.6) -> Callable[[Path], Path]:
        def made(folder: Path) -> Path:
            whole = film(folder / name, range(96), encode=encode).read_bytes()
            (folder / renamed).write_bytes(whole[: int(len(whole) * share)])
            return folder / renamed

        return made

    def refused(make: Callable[[Path], Path], *words: str) -> Callable[[Path], Outcome]:
        return lambda folder: says(run(folder, "extend", make(folder).name, PROMPT), 3, *words)

    def noted(make: Callable[[Path], Path], words: str) -> Callable[[Path], Outcome]:
        def tried(folder: Path) -> Outcome:
            notes, path = list[str](), make(folder)
            clip = media.read_clip(path, on_note=notes.append)
            words_here = words.replace("N", str(len(clip)))
            in_order = [numbered.number_of(frame) for frame in clip.frames_FYXC] == list(range(len(clip)))
            right = in_order and any(words_here in note for note in notes) and media.probe(path).frames == len(clip)
            return Outcome(f"{len(clip)} frames, {notes or 'no note'}"[:160], right)

        return tried

    first = (*H264, "-movflags", "+faststart")
    yield Case(
        "incomplete", "mp4 whose index comes last", "exit 3", refused(cut("a.mp4", H264, "b.mp4"), "incomplete", "moov")
    )
    yield Case(
        "incomplete", "the same as .part", "exit 3", refused(cut("a.mp4", H264, "a.mp4.part"), "being downloaded")
    )
    kind, count = "incomplete", "incomplete: N of about 96 frames"
    yield Case(kind, "mp4 whose index comes first", count, noted(cut("a.mp4", first, "b.mp4"), count))
    yield Case(kind, "mkv", count, noted(cut("a.mkv", H264, "b.mkv"), count))
    yield Case(kind, "webm", count, noted(cut("a.webm", VP8, "b.webm"), count))
    yield Case(kind, "flv", count, noted(cut("a.flv", H264, "b.flv"), count))
    named = "its name says that it is still being downloaded"
    yield Case(kind, "a whole .crdownload", named, noted(cut("a.mp4", H264, "a.crdownload", 1), named))
    yield Case(kind, "next to nothing of an mkv", "exit 3", refused(cut("a.mkv", H264, "b.mkv", 0.02), "b.mkv"))
