"""The frames of a film's file: decoded, and brought by a chain of ffmpeg's filters to RGB at a constant rate."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sora.errors import InputError
from sora.media import decoder, ffmpeg, picture
from sora.media.stream import MAX_PIXELS, Stream
from sora.media.timing import RESTARTING, FrameTiming

_SLOWEST_DECODING = 5.0  # frames a second
_FINDABLE = r"(yuvj?4\d\d|gray)\w*"  # of the pixel formats that idet takes; others it would have converted
_BROKEN = "Error submitting packet|Decoding error|corrupt decoded frame"
# Its own threshold of 1.04 takes patterns that move for fields. It reads behind the end of some frames as they leave
# "pad", by which ffmpeg crashes every other time, but not behind that of a copy.
_FINDER = ("copy", "idet=intl_thres=1.25")
_COMBED_FRAMES = 8  # in a row, before a film that does not say so is taken for interlaced


def rgb_frames(
    path: Path,
    facts: Stream,
    times: FrameTiming,
    first: int,
    last: int,
    *,
    size: tuple[int, int] | None = None,
    deinterlace: bool | None = None,
    on_note: picture.Note = picture.ignore,
) -> Iterator[np.ndarray]:
    """The frames from ``first`` to before ``last``, counted at the constant rate, fewer if damaged: RGB (Y, X, 3), or
    RGBA (Y, X, 4) where the stream has alpha.

    size: (height, width) of the frames, None for the stream's own. deinterlace: None for frames that say they are
    interlaced. on_note: called behind the last one, with what is to stand behind the file's name. Raises InputError
    where nothing comes any more.
    """
    shape = (*(size or (facts.height, facts.width)), 4 if facts.has_alpha else 3)
    frame_bytes, memory = math.prod(shape), decoder.memory_for(facts.height * facts.width)
    patience = decoder.PATIENCE + first / _SLOWEST_DECODING  # where no jump is possible, all before it is decoded
    arguments = _decoding(path, facts, times, first, last, deinterlace, shape[:2])
    count = 0
    with decoder.running(["-v", "info", "-nostats", *arguments], memory=memory) as output:
        while len(data := output.read(frame_bytes, patience)) == frame_bytes:
            yield np.frombuffer(data, np.uint8).reshape(shape)
            count, patience = count + 1, decoder.PATIENCE
        if output.stalled:
            raise InputError(f"{path} gives no frame for {decoder.PATIENCE:g} s; it is damaged, get a whole copy")
    if count < last - first:
        on_note(f"is damaged: {count} of {last - first} frames can be decoded; get a whole copy")
    for note in _notes(facts, times, deinterlace, output.log):
        on_note(note)


def _notes(facts: Stream, times: FrameTiming, deinterlace: bool | None, log: str) -> Iterator[str]:
    """What a person should know of frames that were decoded, each to stand behind the file's name."""
    yield from facts.colours.notes
    if times.restarts:
        yield "is films joined byte by byte; where a part is missing, join them with a program for it"
    if "Reconfiguring filter graph" in log:
        yield "is turned and changes midway; frames behind that may stand still, so encode it anew first"
    height, width = facts.coded
    incoming = re.findall(r"incoming frame - w: (\d+) h: (\d+)", log)
    sizes = dict.fromkeys(f"{w}x{h}" for w, h in incoming if (int(w), int(h)) != (width, height))
    if sizes:
        fitted = f"such frames are fitted to {width}x{height}, its first size"
        yield f"changes its size midway, to {' and '.join([*sizes][:3])}; {fitted}"
    if re.search(_BROKEN, log) and not times.incomplete:
        yield "is damaged: some of its frames are broken or stand still; get a whole copy"
    if deinterlace is None and facts.fields:
        yield "is interlaced, and whole frames are made of its fields; --no-deinterlace leaves them as they are"
    combed = re.findall(r"Multi frame detection: TFF: *(\d+) BFF: *(\d+) Progressive: *(\d+)", log)
    if deinterlace is None and combed:
        top, bottom, whole = map(int, combed[-1])
        if max(top, bottom) >= _COMBED_FRAMES and max(top, bottom) > 3 * (whole + min(top, bottom)):
            yield "looks interlaced and does not say so; --deinterlace makes whole frames of it"


def _decoding(
    path: Path,
    facts: Stream,
    times: FrameTiming,
    first: int,
    last: int,
    deinterlace: bool | None,
    size: tuple[int, int],
) -> list[str]:
    # A jump goes to a keyframe well before the first frame (the reordering of frames counts), and no frame on the way
    # is thrown away: the fps filter drops them by their time, so that the cut is that of a full read.
    jump: list[str] = []
    lead = first / times.rate - 1 - 16 / times.rate
    if times.origin is not None and facts.seekable and lead > 0 and not times.restarts:
        jump = ["-noaccurate_seek", "-ss", f"{float(times.origin + lead):.6f}", "-copyts", "-start_at_zero"]
    fields = deinterlacing(facts, deinterlace)
    convert = facts.colours.filters(facts.width, facts.height, alpha=facts.has_alpha)
    # After the conversion, whose matrix may go by the stream's own size.
    smaller = () if size == (facts.height, facts.width) else (f"scale={size[1]}:{size[0]}:flags=area",)
    steps = (*facts.colours.disguise, *fitting(facts), *fields, *timing(times, first), *convert, *smaller)
    # Anew for each change of the stream, the filters would forget which frames they gave. Those that ffmpeg puts before
    # ours to turn or crop frames need it, though.
    once = [] if facts.turned else ["-reinit_filter", "0"]
    ends = ["-frames:v", str(last - first), "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    options = [*jump, *MAX_PIXELS, *once, *facts.decoder]
    return [*options, *ffmpeg.source(path), "-map", "0:V:0", "-vf", ",".join(steps), *ends]


def fitting(facts: Stream) -> tuple[str, ...]:
    """Filters that bring frames of another size or shape to the first one's, with black around them, as players do.
    Nothing is done to those that have it already."""
    height, width = facts.coded
    wider = f"dar/{facts.shape:.9f}"  # than the first frame is
    same = f"lt(abs({wider}-1),0.02)+gt(abs(log({wider})),2)"  # of square pixels, or of such as nobody means
    fit_width = f"if({same},{width},max(1,{width}*min(1,{wider})))"
    fit_height = f"if({same},{height},max(1,{height}/max(1,{wider})))"
    scale = "scale=w='{}':h='{}':eval=frame:flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int"
    return scale.format(fit_width, fit_height), f"pad={width}:{height}:-1:-1:eval=frame"


def deinterlacing(facts: Stream, wanted: bool | None) -> tuple[str, ...]:
    """Filters that make whole frames of two fields. wanted: None for frames that say they have some; whether others
    look like it stands in the log."""
    if wanted is False:
        return ()
    if not facts.fields:
        finding = _FINDER if re.fullmatch(_FINDABLE, facts.pix_fmt) else ()
        return (*finding, "bwdif=send_frame:auto:all") if wanted else finding
    if not facts.frames_say:
        return (f"bwdif=send_frame:{facts.fields}:all",)
    return (f"bwdif=send_frame:auto:{'all' if wanted else 'interlaced'}",)


def timing(times: FrameTiming, first: int) -> tuple[str, ...]:
    """Filters that give the frames from ``first`` on, counted at the constant rate."""
    origin = "STARTPTS" if times.origin is None else f"({times.origin})/TB"
    onward = f"PTS-{origin}"
    if times.restarts:
        begun_anew = f"lt(PTS,PREV_INPTS-{RESTARTING}/TB)"
        onward = f"if(N,PREV_OUTPTS+if({begun_anew},1/({times.rate})/TB,PTS-PREV_INPTS),{onward})"
    return f"setpts='{onward}'", f"fps={times.rate}:start_time={float(first / times.rate):.9f}"
