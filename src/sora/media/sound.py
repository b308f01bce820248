"""Sound: stretches of other films' sound, laid into a film that was painted silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from sora.errors import InputError
from sora.media import decoder, ffmpeg, picture, stream, timing
from sora.storage import refusal

RATE = 48_000  # samples a second, in two channels
_EDGE = 0.005  # seconds over which a stretch fades in and out, or a cut through a wave is heard as a click
_SLACK = 120.0  # seconds that any work on sound may take
_LEAD = 1.0  # seconds decoded before a stretch, since a block of sound needs the one before it

ENCODE = {
    ".mp4": ["-c:a", "aac", "-b:a", "192k", "-movflags", "+faststart"],
    ".mkv": ["-c:a", "flac", "-sample_fmt", "s16"],
}


@dataclass(frozen=True)
class Sound:
    """A stretch of the first sound stream of the film at ``path``, and where it goes. All times in seconds, >= 0.

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


def sound_of(path: str | Path) -> bool:
    """Whether a file has sound. Raises InputError for what is missing, and for no film, picture or sound."""
    file = picture.existing(path)
    if file.is_dir():
        return False
    with picture.opened(file) as image:
        return image is None and stream.channels(file) is not None


def stage(sounds: Sequence[Sound], folder: Path) -> list[tuple[Path, float]]:
    """Every stretch as a file of its own in ``folder``, with its ``at``, so that later changes to its film do no harm.

    Raises InputError for a film without sound.
    """
    staged = []
    for number, sound in enumerate(sounds):
        if not sound_of(sound.path):
            raise InputError(f"{sound.path} holds no sound to keep; give a film that has some")
        made = folder / f"sound{number}.wav"
        complaint = f"the sound of {sound.path} cannot be read"
        _run([*_stretch(sound), ffmpeg.url(made)], made, complaint, sound.length)
        staged.append((made, sound.at))
    return staged


def lay(made: Path, notes: Path, staged: Sequence[tuple[Path, float]], seconds: Fraction) -> None:
    """Gives the video at ``made`` the sounds of ``stage``, silence elsewhere, ``seconds`` in all.

    The pictures are copied as they are; the tags come from ``notes``, an ffmetadata file. Raises InputError.
    """
    inputs = [argument for path, _ in staged for argument in ("-i", ffmpeg.url(path))]
    # Silence of the film's length comes first: the mix lasts as long as that.
    steps = [f"anullsrc=r={RATE}:cl=stereo,atrim=end_sample={round(seconds * RATE)}[base]"]
    steps += [f"[{n + 2}:a]adelay={round(at * RATE)}S:all=1[s{n}]" for n, (_, at) in enumerate(staged)]
    parts = "".join(f"[s{n}]" for n in range(len(staged)))
    steps.append(f"[base]{parts}amix=inputs={len(staged) + 1}:duration=first:normalize=0[all]")
    both = made.with_name(f"both{made.suffix}")
    arguments = ["-i", ffmpeg.url(made), "-f", "ffmetadata", "-i", ffmpeg.url(notes), *inputs]
    arguments += ["-filter_complex", ";".join(steps), "-map", "0:v", "-map", "[all]", "-map_metadata", "1"]
    encode = ["-c:v", "copy", *ENCODE[made.suffix], ffmpeg.url(both)]
    _run([*arguments, *encode], both, "the sound cannot be added to the film", float(seconds))
    both.replace(made)


def _stretch(sound: Sound) -> list[str]:
    """Arguments that cut the stretch to the sample."""
    # The film's time begins with its first frame, which may come after its sound begins.
    first = sound.start + timing.origin(sound.path)
    lead = min(first, _LEAD)
    skip, length = round(lead * RATE), round(sound.length * RATE)
    edge = min(_EDGE, sound.length / 2)
    # Left to itself, ffmpeg would make one channel quieter as it makes two of it.
    spread = "pan=stereo|c0=c0|c1=c0" if stream.channels(sound.path) == "mono" else "aformat=channel_layouts=stereo"
    steps = [
        f"aresample={RATE}:async=1:first_pts=0",  # fills gaps, also the one before a sound that begins late
        spread,
        f"atrim=start_sample={skip}:end_sample={skip + length}",
        "asetpts=PTS-STARTPTS",
        f"afade=t=in:d={edge},afade=t=out:st={sound.length - edge}:d={edge}",
    ]
    jump = ["-ss", f"{first - lead:.6f}", "-t", f"{sound.length + lead + 1:.6f}"]
    return [*jump, *ffmpeg.source(sound.path), "-map", "0:a:0", "-af", ",".join(steps), "-c:a", "pcm_f32le"]


def _run(arguments: list[str], made: Path, complaint: str, seconds: float) -> None:
    """seconds: of sound, which takes less time than it lasts."""
    done = decoder.run(["-v", "error", "-y", *arguments], seconds=_SLACK + seconds, writes=True)
    if done.returncode:
        refused = refusal.explain_status(done.returncode, made) or refusal.explain_log(
            done.stderr.decode(errors="replace"), made
        )
        raise InputError(f"{complaint}: {refused or ffmpeg.last_line(done.stderr) + '; give a film without sound'}")
