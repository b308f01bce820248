"""extend, loop and bridge: the generated part must join the existing clip."""

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
from minitrain.eval.verbs.eval_model import JUDGED_FRAMES, EvalModel, answer_is_right
from minitrain.eval.verdicts import log_progress
from sora import media
from sora.plan import operations
from sora.plan.clip import Clip

MAX_SEAM, MAX_LOOP_SEAM = 1.6, 1.3  # seam ratios
MIN_PSNR = 34.0  # decibels
MIN_MOTION = 0.5  # of the source's
LONG_RETURN, LOOP_FRAMES, BRIDGE_FRAMES = 12, 32, 8  # painted frames
DIRECTIONS = ("forward", "backward")
Pair = tuple[float, float]
BT709 = np.array((0.2126, 0.7152, 0.0722), np.float32)  # luma out of red, green, blue


def extend(evaluator: EvalModel, report: Report, count: int) -> None:
    """Extend each clip in both directions; rendered clips without a prompt as well."""
    same, encoded, seen = [], defaultdict(list), defaultdict(list)
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case in cases.mixed(evaluator, count):
        log_progress(f"extend {case.name}")
        for direction in DIRECTIONS:
            film, source, seam = _extend_case(evaluator, case, direction, case.text)
            same.append(bool((film.frames_FYXC[source] == case.clip.frames_FYXC).all()))
            encoded[case.kind].append(_encoded_psnr(film, source))
            ratios[direction, case.kind].append(video_metrics.seam_ratio(film.frames_FYXC, seam))
            new = range(source.stop, len(film)) if direction == "forward" else range(source.start)
            words = f"{direction}, {case.name}: {case.text or 'no words'}; seam {ratios[direction, case.kind][-1]:.2f}"
            report.add_strip(f"extend-{direction}-{case.kind}", film.frames_FYXC, new, words)
            if case.kind == "world":
                seen[direction, "its caption"].append(_subject_seen(evaluator, case, film, new))
                without_words, source, seam = _extend_case(evaluator, case, direction, "")
                ratios[direction, "world, no words"].append(video_metrics.seam_ratio(without_words.frames_FYXC, seam))
                seen[direction, "no words"].append(_subject_seen(evaluator, case, without_words, new))
    report.add_share("extend: source frames identical before encoding", same, 1.0)
    _add_encoded_rows(report, encoded)
    for direction in DIRECTIONS:
        asked = [
            r
            for (seen_direction, kind), found in ratios.items()
            if seen_direction == direction and "no words" not in kind
            for r in found
        ]
        report.add_share(f"extend {direction}: seam ratio <= {MAX_SEAM}", (r <= MAX_SEAM for r in asked), 0.9)
        for kind in sorted({kind for w, kind in ratios if w == direction}):
            report.add_share(
                f"extend {direction}, {kind}: seam ratio <= {MAX_SEAM}",
                (r <= MAX_SEAM for r in ratios[direction, kind]),
            )
            report.add_range(f"extend {direction}, {kind}: seam ratio", ratios[direction, kind])
    for (direction, words), answers in seen.items():
        report.add_share(
            f"extend {direction}, {words}: the same subject in the new part",
            answers,
            0.8 if words == "its caption" else None,
        )


def variants(evaluator: EvalModel, report: Report, count: int) -> None:
    """The results of ``--variants``: the same extension by three seeds, each compared with the one before; two clips of
    the same prompt by two seeds show how different new clips are."""
    between_variants, between_films = [], []
    for n in range(count):
        log_progress(f"variants {n + 1} of {count}")
        case = cases.rendered(250 + n)
        plan = operations.extend(
            case.clip, case.text, frames=JUDGED_FRAMES, format=evaluator.form(case.clip.size, case.clip.fps)
        )
        films = [evaluator.paint(plan, seed).frames_FYXC[len(case.clip) :].astype(np.int16) for seed in range(3)]
        between_variants += [float(np.abs(a - b).mean()) for a, b in pairwise(films)]
        fresh = operations.generate((case.text,), frames=JUDGED_FRAMES, format=plan.format)
        one, other = (evaluator.paint(fresh, seed).frames_FYXC.astype(np.int16) for seed in range(2))
        between_films.append(float(np.abs(one - other).mean()))
    report.add_range("variants of an extension: mean difference", between_variants, " grey levels")
    report.add_range("two new films of the same words: mean difference", between_films, " grey levels")


def _extend_case(evaluator: EvalModel, case: Case, direction: str, text: str) -> tuple[Clip, slice, int]:
    """(clip, the slice that is the source, the frame that its seam follows)."""
    form, back = evaluator.form(case.clip.size, case.clip.fps), direction == "backward"
    plan = operations.extend(case.clip, text, frames=JUDGED_FRAMES, format=form, backward=back)
    film = evaluator.paint(plan, case.seed)
    first = JUDGED_FRAMES if back else 0
    return film, slice(first, first + len(case.clip)), first - 1 if back else len(case.clip) - 1


def _subject_seen(evaluator: EvalModel, case: Case, film: Clip, part: range) -> bool:
    return answer_is_right(evaluator.judge_clip(film.frames_FYXC[part.start : part.stop]), case.film)


def _encoded_psnr(film: Clip, source: slice) -> tuple[float, float]:
    """PSNR in dB of the source frames after encoding as mp4, in RGB and of their luma alone. Odd sides are cropped by a
    row or a column first."""
    height, width = (side - side % 2 for side in film.size)
    even = film.frames_FYXC[:, :height, :width]
    with tempfile.TemporaryDirectory() as folder:
        file = media.write_clip(Path(folder) / "film.mp4", Clip(even, film.fps))
        pair = even[source], media.read_clip(file).frames_FYXC[source]
    return video_metrics.psnr(*pair), video_metrics.psnr(*(frames.astype(np.float32) @ BT709 for frames in pair))


def _add_encoded_rows(report: Report, encoded: dict[str, list[Pair]]) -> None:
    """An mp4 that plays everywhere has half the colour resolution, which alone costs test patterns their 34 dB in RGB;
    luma shows what the encoder costs."""
    for i, what in enumerate(("RGB", "luma")):
        found = np.array([pair[i] for pairs in encoded.values() for pair in pairs])
        summary = f"least {found.min():.1f} dB; {(found >= MIN_PSNR).sum()} of {len(found)}"
        report.add(f"extend: PSNR of source frames in the mp4, {what}", ">= 34 dB", summary, found.min() >= MIN_PSNR)
        for kind, pairs in encoded.items():
            report.add_range(f"extend, {kind}: PSNR of source frames, {what}", (pair[i] for pair in pairs), " dB")


def loop(evaluator: EvalModel, report: Report, count: int) -> None:
    """Half of the clips rendered and led back to their beginning, half from prompts alone."""
    half, d = max(1, count // 2), evaluator.spec.defaults
    turns, plain, world = _text_loops(evaluator, report, half)
    _add_loop_rows(report, f"loop from words, {LOOP_FRAMES} frames", turns, plain)
    report.add_share("loop from words: motion >= 50 % of the rendered scene's", (a >= MIN_MOTION * b for a, b in world))
    for back in (
        max(8, d.window - d.context - d.context_after),
        LONG_RETURN,
    ):  # the program's own length, and a longer way
        closes, enters, moves = _clip_loops(evaluator, report, half, back)
        _add_loop_rows(report, f"loop of a clip, {back} frames back", closes, moves)
        report.add_share(
            f"loop of a clip, {back} back: seam into the way back <= {MAX_SEAM}", (r <= MAX_SEAM for r in enters)
        )
        report.add_range(f"loop of a clip, {back} back: seam into the way back", enters)
        pairs = zip(closes + turns, moves + plain, strict=True)
        passes = [r <= MAX_LOOP_SEAM and a >= MIN_MOTION * b for r, (a, b) in pairs]
        report.add_share(f"loop, {back} back and from words: last to first, and motion", passes, 0.9)


def _clip_loops(
    evaluator: EvalModel, report: Report, count: int, back: int
) -> tuple[list[float], list[float], list[Pair]]:
    """Loops of rendered clips: last-to-first ratios, ratios at the start of the generated return, and its motion with
    the clip's."""
    closes, enters, moves = [], [], []
    for n in range(count):
        log_progress(f"loop: {back} frames back, {n + 1} of {count}")
        case = cases.rendered(200 + n)
        form = evaluator.form(case.clip.size, case.clip.fps)
        film = evaluator.paint(operations.loop(case.clip, case.text, frames=back, format=form), case.seed).frames_FYXC
        closes.append(video_metrics.seam_ratio(film, len(film) - 1, circular=True))
        enters.append(video_metrics.seam_ratio(film, len(case.clip) - 1, circular=True))
        moves.append(
            (video_metrics.mean_motion(film[len(case.clip) :]), video_metrics.mean_motion(case.clip.frames_FYXC))
        )
        words = f"{case.text}; last to first {closes[-1]:.2f}, motion {moves[-1][0]:.1f} of {moves[-1][1]:.1f}"
        report.add_strip(f"loop-clip-{back}", film, range(len(case.clip), len(film)), words)
    return closes, enters, moves


def _text_loops(evaluator: EvalModel, report: Report, count: int) -> tuple[list[float], list[Pair], list[Pair]]:
    """Loops from prompts: last-to-first ratios, and their motion with that of the plain clip of the same prompt and
    seed, and with the rendered scene's."""
    turns, plain, world = [], [], []
    for n in range(count):
        log_progress(f"loop: cycle {n + 1} of {count}")
        case = cases.rendered(220 + n)
        form = evaluator.form(case.clip.size, case.clip.fps)
        film = evaluator.paint(operations.text_loop(case.text, frames=LOOP_FRAMES, format=form), case.seed).frames_FYXC
        clip = evaluator.paint(operations.generate((case.text,), frames=cases.FRAMES, format=form), case.seed)
        turns.append(video_metrics.seam_ratio(film, len(film) - 1, circular=True))
        found = float(video_metrics.frame_differences(film, circular=True).mean())
        plain.append((found, video_metrics.mean_motion(clip.frames_FYXC)))
        world.append((found, video_metrics.mean_motion(case.clip.frames_FYXC)))
        words = f"{case.text}; last to first {turns[-1]:.2f}, motion {found:.1f} of {plain[-1][1]:.1f}"
        report.add_strip("loop-words", film, range(len(film)), words)
    return turns, plain, world


def _add_loop_rows(report: Report, what: str, closes: list[float], moves: list[Pair]) -> None:
    report.add_share(f"{what}: last to first <= {MAX_LOOP_SEAM}", (r <= MAX_LOOP_SEAM for r in closes))
    report.add_range(f"{what}: last to first", closes)
    report.add_share(f"{what}: motion >= 50 % of the source's", (a >= MIN_MOTION * b for a, b in moves))
    report.add_range(f"{what}: motion over the source's, where that moves", (a / b for a, b in moves if b > 0.1))


def bridge(evaluator: EvalModel, report: Report, count: int) -> None:
    """Pairs of rendered clips of different scenes and sizes, joined without a prompt."""
    out, into, unchanged = [], [], []
    for n in range(count):
        log_progress(f"bridge {n + 1} of {count}")
        a, b = cases.rendered(300 + 2 * n), cases.rendered(301 + 2 * n)
        second = b.clip.fitted(*a.clip.size)
        plan = operations.bridge(
            a.clip, second, "", frames=BRIDGE_FRAMES, format=evaluator.form(a.clip.size, a.clip.fps)
        )
        film = evaluator.paint(plan, n).frames_FYXC
        gap = range(len(a.clip), len(a.clip) + BRIDGE_FRAMES)
        same = np.concatenate([film[: gap.start], film[gap.stop :]])
        unchanged.append(bool((same == np.concatenate([a.clip.frames_FYXC, second.frames_FYXC])).all()))
        out.append(video_metrics.seam_ratio(film, gap.start - 1))
        into.append(video_metrics.seam_ratio(film, gap.stop - 1))
        report.add_strip(
            "bridge",
            film[gap.start - 5 : gap.stop + 5],
            range(5, 5 + BRIDGE_FRAMES),
            f"{a.text} | {b.text}; {out[-1]:.2f}, {into[-1]:.2f}",
        )
    report.add_share("bridge: both clips identical before encoding", unchanged, 1.0)
    report.add_share(
        f"bridge: both seams <= {MAX_SEAM}", (max(pair) <= MAX_SEAM for pair in zip(out, into, strict=True)), 0.9
    )
    report.add_range("bridge: seam out of the first clip", out)
    report.add_range("bridge: seam into the second clip", into)
