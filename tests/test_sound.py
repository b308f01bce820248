"""Sound from other films: it is heard in the right second, the pictures stay as they are."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio_ffmpeg
import numpy as np
import pytest

from sora import media
from sora.errors import InputError
from sora.media import Sound
from sora.plan.clip import Clip

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RATE = 48_000
RECIPE = json.dumps({"prompt": "é = ; # \\ 中\n", "fps": 8})


def ffmpeg(*arguments: str | Path) -> bytes:
    return subprocess.run([FFMPEG, "-v", "error", *map(str, arguments)], check=True, capture_output=True).stdout


def heard(path: Path) -> np.ndarray:
    """Samples (S, 2) from -1 to 1, as a player plays them."""
    raw = ffmpeg("-i", path, "-map", "0:a:0", "-ac", "2", "-ar", str(RATE), "-f", "f32le", "-")
    return np.frombuffer(raw, np.float32).reshape(-1, 2)


def loudness(samples: np.ndarray, start: float, end: float) -> float:
    part = samples[round(start * RATE) : round(end * RATE)]
    return float(np.sqrt((part**2).mean()))


def pitch(samples: np.ndarray, start: float, end: float) -> float:
    """The loudest frequency, in Hz."""
    part = samples[round(start * RATE) : round(end * RATE), 0]
    return float(np.fft.rfftfreq(len(part), 1 / RATE)[np.abs(np.fft.rfft(part)).argmax()])


def sung(folder: Path, name: str, *tones: tuple[float, float, float]) -> Path:
    """A film of 6 s whose sound, in one channel, holds tones (start, end, Hz) of rms 0.35 and silence elsewhere."""
    made = folder / name
    made.write_bytes(_sung(made.suffix, tones))
    return made


@cache
def _sung(suffix: str, tones: tuple[tuple[float, float, float], ...]) -> bytes:
    expression = "+".join(f"0.5*sin(2*PI*{hz}*t)*between(t,{start},{end})" for start, end, hz in tones)
    sound = ["-f", "lavfi", "-i", f"aevalsrc='{expression}':s=44100:d=6"]
    with TemporaryDirectory() as folder:
        made = Path(folder, f"made{suffix}")
        ffmpeg("-f", "lavfi", "-i", "color=s=32x32:r=8:d=6", *sound, "-g", "16", made)
        return made.read_bytes()


def frames(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 48, 3), np.uint8)


def painted(path: Path, count: int, fps: float, *sounds: Sound) -> Path:
    with media.writer(path, fps, (32, 48), RECIPE, sounds=sounds) as w:
        w.write(frames(count))
    return w.path


def pictures(path: Path) -> bytes:
    """Times and checksums of the packets of the picture."""
    listing = ffmpeg("-i", path, "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-")
    return b"\n".join(line for line in listing.splitlines() if not line.startswith(b"#software"))


@pytest.mark.parametrize(("source", "suffix"), [("a.mp4", ".mkv"), ("a.mkv", ".mp4"), ("a.ts", ".mkv")])
def test_a_stretch_is_heard_where_it_was_laid(tmp_path: Path, source: str, suffix: str) -> None:
    film = sung(tmp_path, source, (3, 3.5, 440), (3.5, 4, 880))
    path = painted(tmp_path / f"c{suffix}", 40, 8.0, Sound(film, 2.5, 1.25, 1.0))
    samples = heard(path)
    assert abs(len(samples) - 5 * RATE) <= 1024
    assert loudness(samples, 0, 1.45) < 0.005 and loudness(samples, 2.3, 5) < 0.005
    assert loudness(samples, 1.55, 2.2) > 0.3
    assert pitch(samples, 1.55, 1.95) == pytest.approx(440, abs=5)
    assert pitch(samples, 2.05, 2.2) == pytest.approx(880, abs=10)
    begin = np.flatnonzero(np.abs(samples[:, 0]) > 0.1)[0] / RATE
    # The sound of a transport stream says nothing of its encoder's delay, 481 samples.
    assert begin == pytest.approx(1.5, abs=0.015 if source == "a.ts" else 0.003)


@pytest.mark.parametrize(("suffix", "fps"), [(".mp4", 24000 / 1001), (".mkv", 8.0)])
def test_the_pictures_and_the_recipe_stay_as_they_are(tmp_path: Path, suffix: str, fps: float) -> None:
    film = sung(tmp_path, "a.mp4", (0, 6, 440))
    silent = painted(tmp_path / f"silent{suffix}", 31, fps)
    path = painted(tmp_path / f"c{suffix}", 31, fps, Sound(film, 0, 6, 0))
    assert pictures(path) == pictures(silent)
    info = media.probe(path)
    assert info.sound and not media.probe(silent).sound
    assert (info.frames, info.recipe) == (31, RECIPE) and info.fps == pytest.approx(fps)
    assert media.sound_tracks(path) and not media.sound_tracks(silent)
    assert abs(len(heard(path)) - 31 / fps * RATE) <= 1024
    log = subprocess.run([FFMPEG, "-i", path], capture_output=True).stderr.decode()
    assert re.search(r"Audio: aac .*48000 Hz, stereo" if suffix == ".mp4" else r"Audio: flac, 48000 Hz, stereo", log)
    if suffix == ".mp4":
        data = path.read_bytes()
        assert "bt709" in log and 0 < data.index(b"moov") < data.index(b"mdat")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", f"c{suffix}", f"silent{suffix}"]


def test_two_films_are_heard_at_their_places(tmp_path: Path) -> None:
    a, b = sung(tmp_path, "a.mp4", (0, 6, 440)), sung(tmp_path, "b.mkv", (0, 6, 880))
    path = painted(tmp_path / "c.mkv", 40, 8.0, Sound(a, 4, 2, 0), Sound(b, 0, 9, 3))
    samples = heard(path)
    assert len(samples) == 5 * RATE
    assert loudness(samples, 0.05, 1.95) > 0.3 and pitch(samples, 0.1, 1.9) == pytest.approx(440, abs=2)
    assert loudness(samples, 2.05, 2.95) < 0.005
    assert loudness(samples, 3.05, 5) > 0.3 and pitch(samples, 3.1, 4.9) == pytest.approx(880, abs=2)


def test_two_channels_stay_two(tmp_path: Path) -> None:
    left = "aevalsrc='0.5*sin(2*PI*440*t)|0':s=48000:d=2"
    ffmpeg("-f", "lavfi", "-i", "color=s=32x32:r=8:d=2", "-f", "lavfi", "-i", left, "-c:a", "flac", tmp_path / "a.mkv")
    samples = heard(painted(tmp_path / "c.mkv", 16, 8.0, Sound(tmp_path / "a.mkv", 0, 2, 0)))
    assert loudness(samples[:, 0], 0.1, 1.9) == pytest.approx(0.354, abs=0.01) and not samples[:, 1].any()


def test_past_the_end_of_the_sound_is_silence(tmp_path: Path) -> None:
    film = sung(tmp_path, "a.mp4", (0, 6, 440))
    path = painted(tmp_path / "c.mkv", 24, 8.0, Sound(film, 5, 3, 1), Sound(film, 50, 1, 0), Sound(film, 0, 1, 50))
    samples = heard(path)
    assert len(samples) == 3 * RATE and loudness(samples, 0, 0.99) == 0
    assert loudness(samples, 1.05, 1.9) > 0.3 and loudness(samples, 2.1, 3) < 0.005


def test_sound_and_picture_of_a_film_that_begins_late_stay_together(tmp_path: Path) -> None:
    """The picture begins half a second after the sound; the tone comes a second after the picture begins."""
    film, late = sung(tmp_path, "a.mkv", (1.5, 6, 440)), tmp_path / "late.mkv"
    ffmpeg("-itsoffset", "0.5", "-i", film, "-i", film, "-map", "0:v", "-map", "1:a", "-c", "copy", late)
    for start in (0.0, 0.75):
        path = painted(tmp_path / f"{start}.mkv", 16, 8.0, Sound(late, start, 2, 0))
        begin = np.flatnonzero(np.abs(heard(path)[:, 0]) > 0.1)[0] / RATE
        assert begin == pytest.approx(1 - start, abs=0.003)


@pytest.mark.parametrize("name", ["c.gif", "c.webp", "c.png", "frames"])
def test_other_kinds_of_file_are_silent(tmp_path: Path, name: str) -> None:
    film = sung(tmp_path, "a.mp4", (0, 6, 440))
    path = painted(tmp_path / name, 1, 8.0, Sound(film, 0, 1, 0))
    assert not media.probe(path).sound and not media.sound_tracks(path)


def test_a_film_without_sound_is_refused_before_the_work(tmp_path: Path) -> None:
    silent = media.write_clip(tmp_path / "silent.mp4", Clip(frames(2), 8.0))
    for source, said in ((silent, "holds no sound"), (tmp_path / "none.mp4", "check the name")):
        with (
            pytest.raises(InputError, match=said),
            media.writer(tmp_path / "c.mp4", 8.0, (32, 48), sounds=[Sound(source, 0, 1, 0)]),
        ):
            raise AssertionError("the work began")
    assert [p.name for p in tmp_path.iterdir()] == ["silent.mp4"]


def test_the_source_may_go_while_the_work_runs(tmp_path: Path) -> None:
    film = sung(tmp_path, "a.mp4", (0, 6, 440))
    with media.writer(film, 8.0, (32, 48), force=True, sounds=[Sound(film, 0, 2, 0)]) as w:
        film.write_bytes(b"gone")
        w.write(frames(16))
    assert loudness(heard(film), 0.1, 1.9) > 0.3


def test_stretches_without_length_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    for start, length, at in ((-1, 1, 0), (0, 0, 0), (0, 1, -1), (0, float("nan"), 0), (0, float("inf"), 0)):
        with pytest.raises(ValueError, match="a stretch of sound"):
            Sound(tmp_path, start, length, at)


def test_what_cannot_be_heard_or_read(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", tmp_path / "a.wav")
    assert media.sound_tracks(tmp_path / "a.wav") and not media.sound_tracks(tmp_path)
    (tmp_path / "a.txt").write_text("plain words\n" * 9)
    for bad in ("a.txt", "none.mp4"):
        with pytest.raises(InputError):
            media.sound_tracks(tmp_path / bad)


def tracks(path: Path, *hz: int, default: int | None, layout: str = "mono") -> Path:
    """A film of 2 s with a sound track of each of these tones."""
    made = [
        f"-f lavfi -i aevalsrc={'|'.join([f'0.5*sin(2*PI*{each}*t)'] * CHANNELS[layout])}:c={layout}:d=2" for each in hz
    ]
    inputs = [word for each in made for word in each.split()]
    maps = [word for n in range(len(hz) + 1) for word in ("-map", str(n))]
    marks = [
        word
        for n in range(len(hz))
        for word in (
            f"-disposition:a:{n}",
            "default" if n == default else "0",
            f"-metadata:s:a:{n}",
            f"language={LANGUAGES[n]}",
        )
    ]
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "color=s=32x32:r=8:d=2",
        *inputs,
        *maps,
        *marks,
        *(["-c:a", "flac"] if path.suffix == ".mkv" else []),
        path,
    )
    return path


LANGUAGES = ("eng", "deu")
CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6, "5.1(side)": 6, "7.1": 8}


@pytest.mark.parametrize(("name", "default", "hz"), [("a.mp4", 1, 880), ("a.mkv", 1, 880), ("a.mkv", None, 440)])
def test_of_several_tracks_the_default_is_kept(tmp_path: Path, name: str, default: int | None, hz: int) -> None:
    film = tracks(tmp_path / name, 440, 880, default=default)
    assert pitch(heard(painted(tmp_path / "c.mkv", 16, 8.0, Sound(film, 0, 2, 0))), 0.5, 1.5) == pytest.approx(
        hz, abs=5
    )
    found = media.probe(film).sound_tracks
    assert [(t.language, t.default) for t in found] == [("eng", False), ("deu", default == 1)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("layout", ["5.1", "5.1(side)", "7.1"])
def test_surround_stays_as_it_is(tmp_path: Path, suffix: str, layout: str) -> None:
    film = tracks(tmp_path / "a.mkv", 440, default=0, layout=layout)
    made = painted(tmp_path / f"c{suffix}", 16, 8.0, Sound(film, 0, 1, 0.5))
    kept = "5.1" if suffix == ".mp4" and layout == "5.1(side)" else layout  # AAC knows no side speakers
    assert [track.layout for track in media.probe(made).sound_tracks] == [kept]
    raw = ffmpeg("-i", made, "-f", "f32le", "-")
    samples = np.frombuffer(raw, "<f4").reshape(-1, CHANNELS[layout])
    loud = [float(np.sqrt((channel[int(0.6 * RATE) : int(1.4 * RATE)] ** 2).mean())) for channel in samples.T]
    del loud[3]  # what a subwoofer's channel keeps of a tone is the encoder's choice
    assert min(loud) > 0.3 and max(loud) < 0.4


def test_of_two_films_the_one_with_more_channels_gives_them(tmp_path: Path) -> None:
    wide = tracks(tmp_path / "a.mkv", 440, default=0, layout="5.1")
    narrow = tracks(tmp_path / "b.mp4", 880, default=0)
    made = painted(tmp_path / "c.mp4", 16, 8.0, Sound(narrow, 0, 1, 0), Sound(wide, 0, 1, 1))
    assert [track.layout for track in media.probe(made).sound_tracks] == ["5.1"]
    assert pitch(heard(made), 0.2, 0.8) == pytest.approx(880, abs=10)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 1)])
def test_sound_that_changes_midway_goes_on(tmp_path: Path, rate: int, channels: int) -> None:
    """As where transport streams are joined: 440 Hz for 2 s, then 880."""
    settings = ((440, 48000, 2), (880, rate, channels))
    for hz, each_rate, count in settings:
        tone = f"aevalsrc={'|'.join([f'0.5*sin(2*PI*{hz}*t)'] * count)}:s={each_rate}:d=2"
        ffmpeg("-f", "lavfi", "-i", "color=s=32x32:r=8:d=2", "-f", "lavfi", "-i", tone, tmp_path / f"{hz}.ts")
    film = tmp_path / "both.ts"
    film.write_bytes(b"".join((tmp_path / f"{hz}.ts").read_bytes() for hz, *_ in settings))
    samples = heard(painted(tmp_path / "c.mkv", 24, 8.0, Sound(film, 0.5, 3, 0), Sound(film, 50, 1, 0)))
    assert pitch(samples, 0.3, 1.3) == pytest.approx(440, abs=5) and loudness(samples, 0.3, 1.3) > 0.3
    assert pitch(samples, 1.8, 2.8) == pytest.approx(880, abs=5) and loudness(samples, 1.8, 2.8) > 0.3


def test_a_film_of_stretches_that_hold_nothing_is_silent(tmp_path: Path) -> None:
    film = sung(tmp_path, "a.mp4", (0, 6, 440))
    assert loudness(heard(painted(tmp_path / "c.mkv", 8, 8.0, Sound(film, 50, 1, 0))), 0, 1) == 0
