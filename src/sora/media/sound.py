"""Sound: stretches of other films' sound, laid into a film that was painted silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from sora.errors import InputError
from sora.media import decoder, ffmpeg, picture, stream, timing, tracks
from sora.media.tracks import SoundTrack
from sora.storage import refusal

RATE = 48_000  # samples a second, in two channels
_EDGE = 0.005  # seconds over which a stretch fades in and out, or a cut through a wave is heard as a click
_NO_SOUND = 1024  # bytes of a file with a header alone, as of a stretch behind the end
_SLACK = 120.0  # seconds that any work on sound may take
_LEAD = 1.0  # seconds decoded before a stretch, since a block of sound needs the one before it

ENCODE = {".mp4": ["-c:a", "aac", "-movflags", "+faststart"], ".mkv": ["-c:a", "flac", "-sample_fmt", "s16"]}
_BIT_RATES = {"stereo": "192k"}  # of AAC, and of more channels:
_SURROUND_BIT_RATE = "512k"


@dataclass(frozen=True)
class Sound:
    """A stretch of the sound track that is kept of the film at ``path``, and where it goes. All times in seconds, >= 0.

    start, length: of the stretch, in that film's own time. at: from the beginning of the film it is laid into.
    What reaches past the end of either film is silence, or left out.
    """

    path: Path
    start: float
    length: float
    at: float

    def __post_init__(self) -> None:
        if not (self.start >= 0 and self.at >= 0 and 0 < self.length < float("inf")):
            raise ValueError(f"a stretch of sound has times of 0 and more and a length, not {self}")


def sound_tracks(path: str | Path) -> tuple[SoundTrack, ...]:
    """The sound tracks of a file; a picture has none. Raises InputError for what is missing, and for no film, picture
    or sound."""
    file = picture.existing(path)
    if file.is_dir():
        return ()
    with picture.opened(file) as image:
        return () if image is not None else stream.sound_tracks_of(file)


@dataclass(frozen=True)
class Staged:
    """Stretches of sound as files, each with its ``at``, all in the same layout of channels."""

    files: tuple[tuple[Path, float], ...]
    layout: str


def stage(sounds: Sequence[Sound], folder: Path, suffix: str) -> Staged:
    """Every stretch as a file of its own in ``folder``, so that later changes to its film do no harm. suffix: of the
    film that they are laid into, in as many channels as the widest of them.

    Raises InputError for a film without sound.
    """
    kept = []
    for sound in sounds:
        found = sound_tracks(sound.path)
        if not found:
            raise InputError(f"{sound.path} holds no sound to keep; give a film that has some")
        kept.append(tracks.kept(found))
    layout = tracks.widest(suffix, (tracks.layout_in(suffix, track.layout) for track in kept))
    files = []
    for number, (sound, track) in enumerate(zip(sounds, kept, strict=True)):
        made = folder / f"sound{number}.wav"
        if _cut(sound, track, layout, made):
            files.append((made, sound.at))
    return Staged(tuple(files), layout)


def _cut(sound: Sound, track: SoundTrack, layout: str, made: Path) -> bool:
    """Whether there is anything of a stretch, which is then at ``made``. Raises InputError."""
    decoded, complaint = made.with_suffix(".nut"), f"the sound of {sound.path} cannot be read"
    first = sound.start + timing.origin(sound.path)  # the film's time begins with its first frame
    lead = min(first, _LEAD)
    _run([*_decoding(sound, track, layout, first - lead), ffmpeg.url(decoded)], made, complaint, sound.length)
    if there := decoded.stat().st_size > _NO_SOUND:
        source = ["-copyts", "-i", ffmpeg.url(decoded)]
        filters = ["-af", _stretch(sound.length, lead), "-c:a", "pcm_f32le"]
        _run([*source, *filters, ffmpeg.url(made)], made, complaint, sound.length)
    decoded.unlink()
    return there


def lay(made: Path, notes: Path, staged: Staged, seconds: Fraction) -> None:
    """Gives the video at ``made`` the sounds of ``stage``, silence elsewhere, ``seconds`` in all.

    The pictures are copied as they are; the tags come from ``notes``, an ffmetadata file. Raises InputError.
    """
    inputs = [argument for path, _ in staged.files for argument in ("-i", ffmpeg.url(path))]
    # Silence of the film's length comes first: the mix lasts as long as that.
    steps = [f"anullsrc=r={RATE}:cl={staged.layout},atrim=end_sample={round(seconds * RATE)}[base]"]
    steps += [f"[{n + 2}:a]adelay={round(at * RATE)}S:all=1[s{n}]" for n, (_, at) in enumerate(staged.files)]
    parts = "".join(f"[s{n}]" for n in range(len(staged.files)))
    steps.append(f"[base]{parts}amix=inputs={len(staged.files) + 1}:duration=first:normalize=0[all]")
    both = made.with_name(f"both{made.suffix}")
    arguments = ["-i", ffmpeg.url(made), "-f", "ffmetadata", "-i", ffmpeg.url(notes), *inputs]
    arguments += ["-filter_complex", ";".join(steps), "-map", "0:v", "-map", "[all]", "-map_metadata", "1"]
    rate = _BIT_RATES.get(staged.layout, _SURROUND_BIT_RATE)
    encode = ["-c:v", "copy", "-b:a", rate, *ENCODE[made.suffix], ffmpeg.url(both)]
    _run([*arguments, *encode], both, "the sound cannot be added to the film", float(seconds))
    both.replace(made)


def _decoding(sound: Sound, track: SoundTrack, layout: str, jump: float) -> list[str]:
    """Arguments that decode the stretch, and some more, as it is. Where a track changes its rate or channels midway,
    ffmpeg builds its filters anew, so none of these may depend on what was before it. jump: seconds."""
    # Left to itself, ffmpeg would make one channel quieter as it makes two of it.
    plain = layout == "stereo" and track.layout in ("mono", "stereo")
    spread = "pan=stereo|FL=FL+FC|FR=FR+FC" if plain else f"aformat=channel_layouts={layout}"
    seek = ["-ss", f"{jump:.6f}", "-t", f"{sound.length + 2 * _LEAD:.6f}"]
    filters = f"aresample={RATE},{spread}"
    return [*seek, *ffmpeg.source(sound.path), "-map", f"0:a:{track.number}", "-af", filters, "-c:a", "pcm_f32le"]


def _stretch(length: float, lead: float) -> str:
    """Filters that cut a stretch to the sample, ``lead`` seconds behind the beginning of what was decoded."""
    skip, edge = round(lead * RATE), min(_EDGE, length / 2)
    steps = (
        f"aresample={RATE}:async=1:first_pts=0",  # fills gaps, also the one before a sound that begins late
        f"atrim=start_sample={skip}:end_sample={skip + round(length * RATE)}",
        "asetpts=PTS-STARTPTS",
        f"afade=t=in:d={edge},afade=t=out:st={length - edge}:d={edge}",
    )
    return ",".join(steps)


def _run(arguments: list[str], made: Path, complaint: str, seconds: float) -> None:
    """seconds: of sound, which takes less time than it lasts."""
    done = decoder.run(["-v", "error", "-y", *arguments], seconds=_SLACK + seconds, writes=True)
    if done.returncode:
        refused = refusal.explain_status(done.returncode, made) or refusal.explain_log(
            done.stderr.decode(errors="replace"), made
        )
        raise InputError(f"{complaint}: {refused or ffmpeg.last_line(done.stderr) + '; give a film without sound'}")
