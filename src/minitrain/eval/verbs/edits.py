"""edit: kept pixels are identical, what the prompt changes changes, the subject keeps its place."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from minitrain import video_metrics
from minitrain.eval.report import Report
from minitrain.eval.verbs import cases
from minitrain.eval.verbs.cases import Case
from minitrain.eval.verbs.eval_model import EvalModel, answer_is_right
from minitrain.eval.verdicts import log_progress
from minitrain.scene import Film
from sora.plan import operations
from sora.plan.clip import Clip
from sora.plan.crop import Crop, crop_around

METHODS = (("noise", 0.75), ("noise", 0.85), ("flow", 0.7), ("flow", 0.8), ("flow", 0.9))  # noise by the student
MAX_MOVED = 0.15  # of the frame's width
LOCATED_FRAMES = (0, 8, 16)  # frames in which the subject is looked for
STRETCH = range(6, 12)
MAX_SEAM = 1.6


def edit_part(evaluator: EvalModel, report: Report, count: int) -> None:
    """A region in each clip, a stretch of frames in each, and the two limits of --strength."""
    outside, edges, stretches, seams, shown = [], [], [], [], []
    for n in range(count):
        log_progress(f"edit: part {n + 1} of {count}")
        case = cases.rendered(400 + n)
        before, form = case.clip.frames_FYXC, evaluator.form(case.clip.size, case.clip.fps)
        box, paint = _random_region(case.clip.size, Random(n))
        other_film, text = _other_subject(case, n)
        film, crop = _edit_region(evaluator, case, text, paint, n)
        shown.append(
            answer_is_right(
                evaluator.judge_clip(np.ascontiguousarray(film[(slice(None), *crop.slices)] if crop else film)),
                other_film,
            )
        )
        outside.append(bool((film[:, ~paint[0]] == before[:, ~paint[0]]).all()))
        edges.append((video_metrics.edge_ratio(film, box), video_metrics.edge_ratio(before, box)))
        report.add_strip("edit-region", film, range(len(film)), f"x, y, w, h {box}: {text}; edge {edges[-1][0]:.2f}")
        plan = operations.edit(case.clip, case.text, format=form, strength=1.0, frame_range=STRETCH)
        film = evaluator.paint(plan, n).frames_FYXC
        kept = [i for i in range(len(film)) if i not in STRETCH]
        stretches.append(bool((film[kept] == before[kept]).all()))
        seams.append(
            max(video_metrics.seam_ratio(film, STRETCH.start - 1), video_metrics.seam_ratio(film, STRETCH.stop - 1))
        )
        report.add_strip("edit-stretch", film, STRETCH, f"{case.text}; worse seam {seams[-1]:.2f}")
    report.add_share("edit of a region: pixels outside identical before encoding", outside, 1.0)
    report.add_share("edit of a region: judge sees the subject asked for, close up", shown)
    report.add_range("edit of a region: step across its edge over steps beside it", (a for a, _ in edges))
    report.add_range("the same at the same place in the source", (b for _, b in edges))
    report.add_share("edit of a stretch: frames outside identical before encoding", stretches, 1.0)
    report.add_share(f"edit of a stretch: both seams <= {MAX_SEAM}", (r <= MAX_SEAM for r in seams))
    report.add_range("edit of a stretch: the worse seam", seams)
    _strength_limits(evaluator, report, count)


def _other_subject(case: Case, number: int) -> tuple[Film, str]:
    """A film of another subject that stands still in the same setting, and its caption."""
    here = case.film.shots[0]
    subjects = [s for s in cases.WORLD.subjects if s != here.actors[0].subject]
    actor = replace(here.actors[0], subject=Random(number).choice(subjects), motion="still")
    film = Film((replace(here, actors=(actor,)),), case.film.style)
    return film, cases.plain_caption(film, number)


def _edit_region(
    evaluator: EvalModel, case: Case, text: str, paint_FYX: np.ndarray, seed: int
) -> tuple[np.ndarray, Crop | None]:
    """The clip with a region regenerated as `sora edit --region` does, and the crop that the model saw."""
    crop = crop_around(paint_FYX, evaluator.spec.defaults.region_share)
    form = evaluator.form(case.clip.size, case.clip.fps)
    form = form if crop is None else replace(form, model_size=evaluator.spec.model_size(crop.size))
    plan = operations.edit(case.clip, text, format=form, strength=1.0, paint_FYX=paint_FYX, crop=crop)
    return evaluator.paint(plan, seed).frames_FYXC, crop


def _random_region(size: tuple[int, int], rng: Random) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """A rectangle of half the frame's height and width as (x, y, width, height), and as bool (1, Y, X)."""
    height, width = size[0] // 2, size[1] // 2
    x, y = rng.randint(0, size[1] - width), rng.randint(0, size[0] - height)
    paint = np.zeros((1, *size), bool)
    paint[:, y : y + height, x : x + width] = True
    return (x, y, width, height), paint


def _strength_limits(evaluator: EvalModel, report: Report, count: int) -> None:
    """Strength 0 and strength 1; a clip of another seed with the same prompt shows how different two new clips are."""
    same, from_source, between_seeds = [], [], []
    for n in range(min(count, 5)):
        case = cases.rendered(400 + n)
        form = evaluator.form(case.clip.size, case.clip.fps)
        films = [evaluator.paint(operations.edit(case.clip, case.text, format=form, strength=s), n) for s in (0.0, 1.0)]
        other = evaluator.paint(operations.generate((case.text,), frames=len(case.clip), format=form), 1000 + n)
        same.append(bool((films[0].frames_FYXC == case.clip.frames_FYXC).all()))
        from_source.append(_difference(films[1], case.clip))
        between_seeds.append(_difference(films[1], other))
    report.add_share("edit, strength 0: the clip itself", same, 1.0)
    report.add_range("edit, strength 1: mean difference from the clip", from_source, " grey levels")
    report.add_range("two clips of the same words and two seeds: mean difference", between_seeds, " grey levels")


def _difference(a: Clip, b: Clip) -> float:
    return float(np.abs(a.frames_FYXC.astype(np.int16) - b.frames_FYXC).mean())


@dataclass(frozen=True)
class EditResult:
    """setting: the judge sees the new one. subject, motion: it sees the same ones. moved: the subject's greatest
    distance from its place, in widths of the frame. likeness: the least correlation of its pixels where it was
    found."""

    setting: bool
    subject: bool
    motion: bool
    moved: float
    likeness: float

    @property
    def is_in_place(self) -> bool:
        return self.moved <= MAX_MOVED


def edit_whole(evaluator: EvalModel, report: Report, count: int) -> None:
    """Rendered clips, each with its own caption except for the setting, by noise and by flow."""
    _check_locator(report, count)
    found: dict[tuple[str, float], list[EditResult]] = defaultdict(list)
    for n in range(count):
        log_progress(f"edit: whole clip {n + 1} of {count}")
        case = cases.rendered(500 + n)
        setting, text = cases.with_other_setting(case.film, case.text, n)
        form = evaluator.form(case.clip.size, case.clip.fps)
        for method, strength in METHODS:
            plan = operations.edit(
                case.clip, text, format=form, strength=strength, method=method, source_prompt=case.text
            )
            film = (evaluator.guided if method == "flow" else evaluator).paint(plan, n).frames_FYXC
            verdict = _edit_result(evaluator, case, setting, film)
            found[method, strength].append(verdict)
            sheet = f"edit-whole-{method}-{strength:g}"
            report.add_strip(sheet, case.clip.frames_FYXC, (), f"the clip: {case.text}")
            caption = f"{text}; new setting {verdict.setting}, subject moved {verdict.moved:.2f} of the width"
            report.add_strip(sheet, film, range(len(film)), caption)
    for (method, strength), verdicts in found.items():
        what = f"edit, {method} {strength:g}"
        report.add_share(f"{what}: judge sees the new setting", (v.setting for v in verdicts))
        report.add_share(f"{what}: subject within 15 % of the width", (v.is_in_place for v in verdicts))
        report.add_share(f"{what}: judge sees the same subject", (v.subject for v in verdicts))
        report.add_share(f"{what}: judge sees the same motion", (v.motion for v in verdicts))
        report.add_share(
            f"{what}: new setting and subject in its place", (v.setting and v.is_in_place for v in verdicts), 0.7
        )
        report.add_range(f"{what}: subject's way, of the width", (v.moved for v in verdicts))
        report.add_range(f"{what}: likeness where it was found", (v.likeness for v in verdicts))


def _edit_result(evaluator: EvalModel, case: Case, setting: str, film_FYXC: np.ndarray) -> EditResult:
    seen = evaluator.judge_clip(film_FYXC)
    distance, likeness = _subject_moved(case, film_FYXC)
    film = case.film
    return EditResult(
        seen["setting"] == setting,
        answer_is_right(seen, film),
        answer_is_right(seen, film, "motion"),
        distance,
        likeness,
    )


def _subject_moved(case: Case, film_FYXC: np.ndarray) -> tuple[float, float]:
    """(the subject's greatest distance from where it was, in widths; least correlation), by its rendered pixels."""
    assert case.subject_mask_FYX is not None
    found = [
        video_metrics.locate(case.clip.frames_FYXC[i], case.subject_mask_FYX[i], film_FYXC[i]) for i in LOCATED_FRAMES
    ]
    distances = [np.hypot(down, across) / film_FYXC.shape[2] for down, across, _ in found]
    return float(max(distances)), min(likeness for _, _, likeness in found)


def _check_locator(report: Report, count: int) -> None:
    """Check the locator itself: each subject pasted at a known other place into another scene's clip."""
    misses = []
    for n in range(count):
        case, ground = cases.rendered(500 + n), cases.rendered(600 + n)
        assert case.subject_mask_FYX is not None
        film = ground.clip.fitted(*case.clip.size).frames_FYXC.copy()
        rng = Random(n)
        for i in LOCATED_FRAMES:
            shift = tuple(rng.randint(-side // 2, side // 2 - 1) for side in case.clip.size)
            share = np.roll(case.subject_mask_FYX[i], shift, axis=(0, 1))
            film[i][share] = np.roll(case.clip.frames_FYXC[i], shift, axis=(0, 1))[share]
            found = video_metrics.locate(case.clip.frames_FYXC[i], case.subject_mask_FYX[i], film[i])[:2]
            misses.append(float(np.hypot(*np.subtract(found, shift))) <= 2)
    report.add_share("the locator: subjects pasted elsewhere, found within 2 pixels", misses)
