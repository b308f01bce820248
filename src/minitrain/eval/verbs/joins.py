"""extend, loop and bridge: what is painted must join what stands."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from minitrain import video_metrics
from minitrain.eval.report import Report
from minitrain.eval.verbs import cases
from minitrain.eval.verbs.cases import Case
from minitrain.eval.verbs.eval_model import LOOKED_AT, Studio, right
from minitrain.eval.verdicts import note
from sora import media
from sora.plan import operations
from sora.plan.clip import Clip

MOST, MOST_LOOP = 1.6, 1.3  # seam ratios
LEAST_PSNR = 34.0  # decibels
LEAST_MOTION = 0.5  # of the source's
LONGER_BACK, CYCLE, BRIDGE = 12, 32, 8  # painted frames
WAYS = ("forward", "backward")
Pair = tuple[float, float]
BT709 = np.array((0.2126, 0.7152, 0.0722), np.float32)  # luma out of red, green, blue


def extend(studio: Studio, report: Report, count: int) -> None:
    """Each clip both ways; world clips without words as well."""
    same, encoded, seen = [], defaultdict(list), defaultdict(list)
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case in cases.mixed(studio, count):
        note(f"extend {case.name}")
        for way in WAYS:
            film, source, seam = _extended(studio, case, way, case.text)
            same.append(bool((film.frames_FYXC[source] == case.clip.frames_FYXC).all()))
            encoded[case.kind].append(_encoded(film, source))
            ratios[way, case.kind].append(video_metrics.seam_ratio(film.frames_FYXC, seam))
            new = range(source.stop, len(film)) if way == "forward" else range(source.start)
            words = f"{way}, {case.name}: {case.text or 'no words'}; seam {ratios[way, case.kind][-1]:.2f}"
            report.show(f"extend-{way}-{case.kind}", film.frames_FYXC, new, words)
            if case.kind == "world":
                seen[way, "its caption"].append(_subject_in(studio, case, film, new))
                silent, source, seam = _extended(studio, case, way, "")
                ratios[way, "world, no words"].append(video_metrics.seam_ratio(silent.frames_FYXC, seam))
                seen[way, "no words"].append(_subject_in(studio, case, silent, new))
    report.share("extend: source frames identical before encoding", same, 1.0)
    _say_encoded(report, encoded)
    for way in WAYS:
        asked = [r for (w, kind), found in ratios.items() if w == way and "no words" not in kind for r in found]
        report.share(f"extend {way}: seam ratio <= {MOST}", (r <= MOST for r in asked), 0.9)
        for kind in sorted({kind for w, kind in ratios if w == way}):
            report.share(f"extend {way}, {kind}: seam ratio <= {MOST}", (r <= MOST for r in ratios[way, kind]))
            report.spread(f"extend {way}, {kind}: seam ratio", ratios[way, kind])
    for (way, words), answers in seen.items():
        report.share(
            f"extend {way}, {words}: the same subject in the new part", answers, 0.8 if words == "its caption" else None
        )


def variants(studio: Studio, report: Report, count: int) -> None:
    """What ``--variants`` gives: the same extension by three seeds, each beside the one before; two films of the same
    words by two seeds tell how far apart new films are."""
    apart, strangers = [], []
    for n in range(count):
        note(f"variants {n + 1} of {count}")
        case = cases.rendered(250 + n)
        plan = operations.extend(
            case.clip, case.text, frames=LOOKED_AT, form=studio.form(case.clip.size, case.clip.fps)
        )
        films = [studio.paint(plan, seed).frames_FYXC[len(case.clip) :].astype(np.int16) for seed in range(3)]
        apart += [float(np.abs(a - b).mean()) for a, b in pairwise(films)]
        fresh = operations.generate((case.text,), frames=LOOKED_AT, form=plan.format)
        one, other = (studio.paint(fresh, seed).frames_FYXC.astype(np.int16) for seed in range(2))
        strangers.append(float(np.abs(one - other).mean()))
    report.spread("variants of an extension: mean difference", apart, " grey levels")
    report.spread("two new films of the same words: mean difference", strangers, " grey levels")


def _extended(studio: Studio, case: Case, way: str, text: str) -> tuple[Clip, slice, int]:
    """(film, where the source stands in it, the frame its seam follows)."""
    form, back = studio.form(case.clip.size, case.clip.fps), way == "backward"
    plan = operations.extend(case.clip, text, frames=LOOKED_AT, form=form, backward=back)
    film = studio.paint(plan, case.seed)
    first = LOOKED_AT if back else 0
    return film, slice(first, first + len(case.clip)), first - 1 if back else len(case.clip) - 1


def _subject_in(studio: Studio, case: Case, film: Clip, part: range) -> bool:
    return right(studio.sees(film.frames_FYXC[part.start : part.stop]), case.known)


def _encoded(film: Clip, source: slice) -> tuple[float, float]:
    """Decibels of the source frames after a way through an mp4, in RGB and of their luma alone. What is odd loses a row
    or a column first."""
    height, width = (side - side % 2 for side in film.size)
    even = film.frames_FYXC[:, :height, :width]
    with tempfile.TemporaryDirectory() as folder:
        file = media.write_clip(Path(folder) / "film.mp4", Clip(even, film.fps))
        pair = even[source], media.read_clip(file).frames_FYXC[source]
    return video_metrics.psnr(*pair), video_metrics.psnr(*(frames.astype(np.float32) @ BT709 for frames in pair))


def _say_encoded(report: Report, encoded: dict[str, list[Pair]]) -> None:
    """An mp4 that plays everywhere has half the colour resolution, which alone costs test patterns their 34 dB in RGB;
    luma shows what the encoder costs."""
    for i, what in enumerate(("RGB", "luma")):
        found = np.array([pair[i] for pairs in encoded.values() for pair in pairs])
        told = f"least {found.min():.1f} dB; {(found >= LEAST_PSNR).sum()} of {len(found)}"
        report.say(f"extend: PSNR of source frames in the mp4, {what}", ">= 34 dB", told, found.min() >= LEAST_PSNR)
        for kind, pairs in encoded.items():
            report.spread(f"extend, {kind}: PSNR of source frames, {what}", (pair[i] for pair in pairs), " dB")


def loop(studio: Studio, report: Report, count: int) -> None:
    """Half of the clips rendered and led back to their beginning, half from words alone."""
    half, d = max(1, count // 2), studio.spec.defaults
    turns, plain, world = _cycles(studio, report, half)
    _say_loops(report, f"loop from words, {CYCLE} frames", turns, plain)
    report.share("loop from words: motion >= 50 % of the rendered scene's", (a >= LEAST_MOTION * b for a, b in world))
    for back in (max(8, d.window - d.context - d.after), LONGER_BACK):  # the program's own length, and a longer way
        closes, enters, moves = _ways_back(studio, report, half, back)
        _say_loops(report, f"loop of a clip, {back} frames back", closes, moves)
        report.share(f"loop of a clip, {back} back: seam into the way back <= {MOST}", (r <= MOST for r in enters))
        report.spread(f"loop of a clip, {back} back: seam into the way back", enters)
        pairs = zip(closes + turns, moves + plain, strict=True)
        held = [r <= MOST_LOOP and a >= LEAST_MOTION * b for r, (a, b) in pairs]
        report.share(f"loop, {back} back and from words: last to first, and motion", held, 0.9)


def _ways_back(studio: Studio, report: Report, count: int, back: int) -> tuple[list[float], list[float], list[Pair]]:
    """Loops of rendered clips: last-to-first ratios, ratios where the way back begins, and the motion of the painted
    part beside the clip's."""
    closes, enters, moves = [], [], []
    for n in range(count):
        note(f"loop: {back} frames back, {n + 1} of {count}")
        case = cases.rendered(200 + n)
        form = studio.form(case.clip.size, case.clip.fps)
        film = studio.paint(operations.loop(case.clip, case.text, frames=back, form=form), case.seed).frames_FYXC
        closes.append(video_metrics.seam_ratio(film, len(film) - 1, circular=True))
        enters.append(video_metrics.seam_ratio(film, len(case.clip) - 1, circular=True))
        moves.append((video_metrics.motion(film[len(case.clip) :]), video_metrics.motion(case.clip.frames_FYXC)))
        words = f"{case.text}; last to first {closes[-1]:.2f}, motion {moves[-1][0]:.1f} of {moves[-1][1]:.1f}"
        report.show(f"loop-clip-{back}", film, range(len(case.clip), len(film)), words)
    return closes, enters, moves


def _cycles(studio: Studio, report: Report, count: int) -> tuple[list[float], list[Pair], list[Pair]]:
    """Loops from words: last-to-first ratios, and their motion beside the plain clip's of the same words and seed, and
    beside the rendered scene's."""
    turns, plain, world = [], [], []
    for n in range(count):
        note(f"loop: cycle {n + 1} of {count}")
        case = cases.rendered(220 + n)
        form = studio.form(case.clip.size, case.clip.fps)
        film = studio.paint(operations.cycle(case.text, frames=CYCLE, form=form), case.seed).frames_FYXC
        clip = studio.paint(operations.generate((case.text,), frames=cases.FRAMES, form=form), case.seed)
        turns.append(video_metrics.seam_ratio(film, len(film) - 1, circular=True))
        found = float(video_metrics.changes(film, circular=True).mean())
        plain.append((found, video_metrics.motion(clip.frames_FYXC)))
        world.append((found, video_metrics.motion(case.clip.frames_FYXC)))
        words = f"{case.text}; last to first {turns[-1]:.2f}, motion {found:.1f} of {plain[-1][1]:.1f}"
        report.show("loop-words", film, range(len(film)), words)
    return turns, plain, world


def _say_loops(report: Report, what: str, closes: list[float], moves: list[Pair]) -> None:
    report.share(f"{what}: last to first <= {MOST_LOOP}", (r <= MOST_LOOP for r in closes))
    report.spread(f"{what}: last to first", closes)
    report.share(f"{what}: motion >= 50 % of the source's", (a >= LEAST_MOTION * b for a, b in moves))
    report.spread(f"{what}: motion over the source's, where that moves", (a / b for a, b in moves if b > 0.1))


def bridge(studio: Studio, report: Report, count: int) -> None:
    """Pairs of rendered clips of other scenes and sizes, joined without words."""
    out, into, apart = [], [], []
    for n in range(count):
        note(f"bridge {n + 1} of {count}")
        a, b = cases.rendered(300 + 2 * n), cases.rendered(301 + 2 * n)
        second = b.clip.fitted(*a.clip.size)
        plan = operations.bridge(a.clip, second, "", frames=BRIDGE, form=studio.form(a.clip.size, a.clip.fps))
        film = studio.paint(plan, n).frames_FYXC
        gap = range(len(a.clip), len(a.clip) + BRIDGE)
        same = np.concatenate([film[: gap.start], film[gap.stop :]])
        apart.append(bool((same == np.concatenate([a.clip.frames_FYXC, second.frames_FYXC])).all()))
        out.append(video_metrics.seam_ratio(film, gap.start - 1))
        into.append(video_metrics.seam_ratio(film, gap.stop - 1))
        report.show(
            "bridge",
            film[gap.start - 5 : gap.stop + 5],
            range(5, 5 + BRIDGE),
            f"{a.text} | {b.text}; {out[-1]:.2f}, {into[-1]:.2f}",
        )
    report.share("bridge: both clips identical before encoding", apart, 1.0)
    report.share(f"bridge: both seams <= {MOST}", (max(pair) <= MOST for pair in zip(out, into, strict=True)), 0.9)
    report.spread("bridge: seam out of the first clip", out)
    report.spread("bridge: seam into the second clip", into)
