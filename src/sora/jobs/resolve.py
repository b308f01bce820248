"""A request, checked and completed from the model's defaults: everything that can be refused is refused here, before
torch is imported, and the Plan is built once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from sora import catalog
from sora.catalog import hub
from sora.catalog.few_step import FewStep
from sora.catalog.spec import ModelSpec
from sora.errors import InputError, UsageError
from sora.jobs import advice, control, loras, references, sources
from sora.jobs.delivery import Delivery
from sora.jobs.inputs import Inputs
from sora.jobs.loras import Lora
from sora.jobs.variants import MAX_FILES, Variant, variants_of
from sora.jobs.verbs import VERBS, VerbContext, VerbPlan, at_models_rate, method_of
from sora.media import GENERATED, Sound, background_of
from sora.memory import plans
from sora.models import parallel
from sora.plan import anchors, foreign_syntax, prompts, retiming, shot_lines, weighting
from sora.plan import verbs as rows
from sora.plan.clip import Clip
from sora.plan.geometry import Size
from sora.plan.options import MAX_SEED, RANDOM_SEED
from sora.plan.plan import Plan, SourceClip
from sora.plan.recipe import absolute
from sora.plan.request import Request, check, with_files, within
from sora.runtime.speed import DEFAULT_SPEED, Speed


@dataclass(frozen=True)
class ResolvedRequest:
    """What to paint. request: complete, but for the words and the seed of each variant. plan: of the first variant.
    sounds: of the clips in the film, at their places. inputs: everything that was read. files: what of it is in
    memory. notes: for a person. source_type: of the film, a name of IPTC's vocabulary."""

    request: Request
    spec: ModelSpec
    plan: Plan
    variants: tuple[Variant, ...]
    loras: tuple[Lora, ...]
    speed: Speed
    sounds: tuple[Sound, ...] = ()
    inputs: tuple[Path, ...] = ()
    files: Inputs = field(default_factory=Inputs)
    notes: tuple[str, ...] = ()
    source_type: str = GENERATED

    @property
    def size(self) -> Size:
        """(height, width) of the file."""
        return self.plan.format.size

    @property
    def model_size(self) -> Size:
        """(height, width) on the model's grid of a whole frame."""
        return self.spec.model_size(self.size, draft=self.request.draft)

    @property
    def largest_canvas(self) -> tuple[tuple[int, int, int], bool]:
        """((frames, height, width) of the largest canvas, whether anything in any of them is known)."""
        plan = self.plan
        frames = max((window.frames for window in plan.windows), default=1)
        known = bool(plan.known_clips) or plan.source is not None or len(plan.windows) > 1
        known = known or plan.control is not None
        return (frames, *self.model_size), known

    @property
    def pictures(self) -> int:
        """How many pictures the model is shown with a window at most: references and anchors."""
        return anchors.most_pictures(self.plan) if self.spec.takes_references else 0

    def plan_of(self, variant: Variant) -> Plan:
        """The same plan with a variant's words."""
        return replace(self.plan, prompts=variant.texts)

    def request_of(self, variant: Variant) -> Request:
        """The request of one variant alone; how many threads and devices paint says nothing about the film."""
        first, *then = words = [prompts.escaped(text) for text in variant.shots]
        own: dict[str, Any] = {"prompt": first or None, "then": tuple(then)}
        if self.request.shots:
            own = {"shots": tuple(map(shot_lines.with_words, self.request.shots, words))}
        return msgspec.structs.replace(self.request, **own, seed=variant.seed, threads=None, gpus=None)


def resolve(request: Request, delivery: Delivery | None = None, files: Inputs | None = None) -> ResolvedRequest:
    """What a request means. files: hold what it names and is in memory. Raises UsageError, InputError or ModelError for
    anything that cannot be honoured."""
    delivery, files = delivery or Delivery(), Inputs(files, background_of(request.background))
    request = _checked(request, delivery)
    spec = _with_low_noise_guidance(catalog.find(request.model or catalog.DEFAULT), request)
    parallel.check_family(spec, request.gpus or 1)
    references.check(request, spec)
    control.check(request, spec)
    if spec.folder is not None:
        hub.check(spec)
    spec = spec.with_guidance() if _needs_guidance(request, files) else spec
    if request.memory is not None:
        plans.find(request.memory)
    lora_files = loras.parse(request.loras, spec)
    recorded_prompt = _recorded_prompt(request, files)
    named = delivery.output is not None
    variants = variants_of(request, spec, recorded_prompt or "", count=delivery.count, named=named)
    _check_weights(request, variants)
    variants = advice.prompt_advice(request, spec, variants, anyway=delivery.anyway)
    for variant in variants:
        delivery.check(request, variant)
    kind = delivery.kind(request)
    context = VerbContext(request, spec, variants[0].texts, kind, files)
    verb_plan = _with_control(at_models_rate(context, VERBS[request.verb](context)), context)
    for variant in variants:
        delivery.check_kind(request, variant, verb_plan.plan)
    verb_plan = verb_plan if request.draft_file is None else _start_from_draft(verb_plan, request, files)
    verb_plan = references.added(verb_plan, request, files)
    inputs = (*verb_plan.inputs, *(lora.path for lora in lora_files))
    delivery.check_inputs(inputs)
    sounds, sound_notes = sources.sounds(files, request.verb, verb_plan.sources, kind)
    few_step = _few_step(lora_files)
    spec = spec if few_step is None else _in_few_steps(spec, few_step, request)
    return ResolvedRequest(
        request=_completed(request, spec, verb_plan, lora_files),
        spec=spec,
        plan=verb_plan.plan,
        variants=variants,
        loras=lora_files,
        speed=_speed(request, spec),
        sounds=sounds,
        inputs=inputs,
        files=files,
        notes=(*_notes(request, spec, variants, recorded_prompt, few_step), *verb_plan.notes, *sound_notes),
        source_type=sources.source_type(request, verb_plan.plan, sounds, files),
    )


def _checked(request: Request, delivery: Delivery) -> Request:
    """The request, normalized, once all is checked that needs no model and no file. Raises UsageError."""
    check(request)
    _check_complete(request)
    within("--count", delivery.count, 1, MAX_FILES)
    within("--seed", request.seed, RANDOM_SEED, MAX_SEED - delivery.count + 1)
    request = _normalized(request)
    _check_shots(request)
    return request


def _check_complete(request: Request) -> None:
    """Raises UsageError where a request lacks what its verb cannot do without: one that no command line made."""
    row = rows.VERBS[request.verb]
    lacking = [name for name in row.required if name != "prompt" and getattr(request, name) is None]
    if lacking:
        name = row.field(lacking[0])
        raise UsageError(
            f"{request.verb} lacks its {name.metavar or lacking[0]}; expected {name.help[0].lower()}{name.help[1:-1]}"
        )


def _check_shots(request: Request) -> None:
    """Raises UsageError for shots next to a prompt, and for what cannot be a shot."""
    if not request.shots:
        return
    if request.prompt is not None or request.then:
        other = "a prompt" if request.prompt is not None else "--then"
        raise UsageError(f"{other} and --shots both say what to paint; give one of them")
    for number, shot in enumerate(request.shots, start=1):
        try:
            shot_lines.check(shot, is_first=number == 1)
        except UsageError as error:
            raise UsageError(f"shot {number}: {error}") from None


def _normalized(request: Request) -> Request:
    """The request with a seed to be drawn where it asks for that, and words that are Unicode in any locale. Raises
    UsageError."""
    words = ("prompt", "subject", "negative_prompt", "source_prompt")
    values: dict[str, Any] = {
        name: prompts.as_unicode(text) for name in words if (text := getattr(request, name)) is not None
    }
    values["then"] = tuple(map(prompts.as_unicode, request.then))
    values["shots"] = tuple(shot_lines.with_words(shot, prompts.as_unicode(shot.prompt)) for shot in request.shots)
    return msgspec.structs.replace(request, **values, seed=None if request.seed == RANDOM_SEED else request.seed)


def _check_weights(request: Request, variants: tuple[Variant, ...]) -> None:
    """Raises UsageError for a weight of words that is out of range."""
    given = [text for text in (request.negative_prompt, request.source_prompt) if text]
    for text in (*given, *(text for variant in variants for text in variant.texts)):
        weighting.spans(text)


def _notes(
    request: Request,
    spec: ModelSpec,
    variants: tuple[Variant, ...],
    recorded_prompt: str | None,
    few_step: FewStep | None,
) -> list[str]:
    """What was taken from elsewhere, for a person."""
    notes = [] if recorded_prompt is None else [f"the prompt of {request.source}: {recorded_prompt}"]
    if few_step and request.steps is None:
        notes.append(f"a few-step LoRA, as it is called: {few_step.described} unless you say others")
    elif spec.own_paths and spec.is_few_step and request.steps is None:
        d = spec.defaults
        notes.append(f"few-step weights: {FewStep(d.steps, d.shift, d.sampler).described} unless you say others")
    texts = dict.fromkeys([*(text for each in variants for text in each.texts), request.negative_prompt or ""])
    return [*notes, *dict.fromkeys(line for text in texts for line in foreign_syntax.not_understood(text))]


def _completed(request: Request, spec: ModelSpec, verb_plan: VerbPlan, lora_files: tuple[Lora, ...]) -> Request:
    """The request with all that was understood, paths absolute, so that it means the same anywhere on this machine."""
    d = spec.defaults
    has_negative = request.negative_prompt is not None and request.negative_prompt.strip()
    completed = {
        "steps": request.steps or (d.draft_steps if request.draft else d.steps),
        "guidance": d.guidance if request.guidance is None else request.guidance,
        "guidance_low": d.guidance_low if spec.boundary is not None else None,
        "shift": request.shift or d.shift,
        "sampler": request.sampler or d.sampler,
        "negative_prompt": prompts.clean(request.negative_prompt or "") if has_negative else d.negative,
        "model": spec.name if spec.repo else ",".join(str(path.absolute()) for path in spec.own_paths) or spec.name,
        "loras": tuple(lora.flag_value for lora in lora_files),
        **verb_plan.completed,
    }
    return msgspec.structs.replace(with_files(request, absolute), **completed)


def _speed(request: Request, spec: ModelSpec) -> Speed:
    """Raises UsageError for ``turbo`` where no weights are few-step ones."""
    speed = Speed(request.speed or DEFAULT_SPEED.mode, frozenset(request.disable))
    if speed.mode == "turbo" and not spec.is_few_step:
        if spec.name in catalog.MODELS and catalog.MODELS[spec.name].is_few_step:
            guided = f"--guidance, --negative-prompt, --lora and edits of {spec.name} need guidance"
            raise UsageError(f"{guided}, which --speed turbo paints without; leave --speed turbo out")
        hint = "add a few-step LoRA with --lora, or say --speed fast"
        raise UsageError(f"--speed turbo paints with few-step weights, and {spec.name} has none; {hint}")
    return speed


def _needs_guidance(request: Request, files: Inputs) -> bool:
    """Whether what is asked for needs weights that take guidance, where a model's own are distilled: a scale of it,
    words to steer away from, a whole clip led to other words, or a LoRA, which was trained on those."""
    if request.guidance is not None:
        return request.guidance != 1
    leads = request.verb == "edit" and method_of(request, files) == "flow"
    return bool(request.negative_prompt and request.negative_prompt.strip()) or leads or bool(request.loras)


def _with_low_noise_guidance(spec: ModelSpec, request: Request) -> ModelSpec:
    """The model with the requested guidance of its low-noise expert: the other expert's, where only that is given."""
    if request.guidance_low is not None and spec.boundary is None:
        raise UsageError(f"--guidance-low is for models of two experts, and {spec.name} is one; say --guidance")
    if request.guidance is None and request.guidance_low is None:
        return spec
    return replace(spec, defaults=replace(spec.defaults, guidance_low=request.guidance_low))


def _few_step(lora_files: tuple[Lora, ...]) -> FewStep | None:
    """How those of the LoRAs are sampled that were distilled to the fewest steps, None where none was."""
    return min((kind for lora in lora_files if (kind := lora.few_step)), key=lambda kind: kind.steps, default=None)


def _in_few_steps(spec: ModelSpec, few_step: FewStep, request: Request) -> ModelSpec:
    return replace(spec, defaults=replace(few_step.of(spec.defaults), guidance_low=request.guidance_low))


def _recorded_prompt(request: Request, files: Inputs) -> str | None:
    """The prompt in the recipe of the source, where the request has none."""
    source = request.clip or request.image
    return None if request.prompt is not None or source is None else files.recorded_prompt(source)


def _start_from_draft(verb_plan: VerbPlan, request: Request, files: Inputs) -> VerbPlan:
    """The verb's plan, started from a draft's frames."""
    plan, path = verb_plan.plan, Path(request.draft_file or "")
    draft = retiming.at_painted_frames(plan, _read_draft(path, plan, files))
    strength, known = request.draft_strength or 1.0, plan.source.known_FYX if plan.source else None
    source = SourceClip(draft, strength, known) if strength < 1 or known is not None else None
    return replace(verb_plan, plan=replace(plan, source=source), inputs=(path, *verb_plan.inputs))


def _with_control(verb_plan: VerbPlan, context: VerbContext) -> VerbPlan:
    """The verb's plan with what the request says of control."""
    request = context.request
    plan, notes = control.controlled(verb_plan.plan, request, context.spec, context.files)
    if request.control is None:
        return replace(verb_plan, plan=plan)
    completed = {**verb_plan.completed, "control_kind": request.control_kind or "as-is"}
    inputs = (*verb_plan.inputs, Path(request.control))
    return replace(verb_plan, plan=plan, inputs=inputs, notes=(*verb_plan.notes, *notes), completed=completed)


def _read_draft(path: Path, plan: Plan, files: Inputs) -> Clip:
    """The draft's frames at the film's size. Raises InputError."""
    still = plan.film_frames == 1 and files.is_picture(str(path))
    clip = Clip(files.read_image(str(path))[None], plan.film_fps) if still else files.read_clip(str(path), None, None)
    if len(clip) != plan.film_frames:
        message = f"{path} has {len(clip)} frames and its recipe makes {plan.film_frames}"
        raise InputError(f"{message}; it was cut since, paint the draft again")
    return clip.fitted(*plan.format.size)
