"""How a model of a closed vocabulary reads a prompt, found out before anything is loaded or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sora import models
from sora.catalog.spec import Advice, ModelSpec
from sora.errors import UsageError
from sora.jobs.variants import Variant
from sora.plan.request import Request
from sora.plan.weighting import plain


def prompt_advice(
    request: Request, spec: ModelSpec, variants: Sequence[Variant], *, anyway: bool = False
) -> tuple[Variant, ...]:
    """The variants with notes on what will be painted otherwise than they say. A later shot that names no subject gets
    the first one's. anyway: paint words that name nothing which the model knows. Raises UsageError for them else, where
    nothing else shows what to paint."""
    if not spec.vocabulary:
        return tuple(variants)
    return tuple(_advise(request, spec, variant, anyway) for variant in variants)


def _advise(request: Request, spec: ModelSpec, variant: Variant, anyway: bool) -> Variant:
    unknown = bool(request.loras)
    advice = [models.advise(spec, plain(text), allow_unknown=unknown) or Advice() for text in variant.texts]
    first_subject = advice[0].subject
    texts = [
        text if each.subject or not first_subject else f"{first_subject} {text}"
        for text, each in zip(variant.texts, advice, strict=True)
    ]
    notes = list(dict.fromkeys(line for each in advice for line in each.notes))
    notes += [
        f"shot {n} names no subject and goes on with the first one's: {first_subject}"
        for n in _shots_without_subject(advice)
        if first_subject
    ]
    if not first_subject and variant.shots[0]:
        notes.append(_without_subject(request, spec, variant, advice[0].missing, anyway))
    return replace(variant, texts=tuple(texts), notes=tuple(notes))


def _shots_without_subject(advice: Sequence[Advice]) -> list[int]:
    return [n for n, each in enumerate(advice, start=1) if not each.subject]


def _without_subject(request: Request, spec: ModelSpec, variant: Variant, missing: str, anyway: bool) -> str:
    """What to say of a variant without a subject that the model knows. Raises UsageError where nothing else is
    shown."""
    message = f'{spec.name} knows nothing to paint in "{variant.prompt}": {missing}'
    if request.loras:
        return f'"{variant.prompt}" names no subject that {spec.name} knows by itself; the LoRA has to bring it'
    if request.source is not None:
        return f'"{variant.prompt}" names no subject that {spec.name} knows; what {request.source} shows has to serve'
    if anyway:
        return message
    hint = "`sora ideas` lists what it paints, --anyway paints this all the same, open weights (--model) paint anything"
    raise UsageError(f"{message}; {hint}")


def note_lines(variants: Sequence[Variant]) -> list[str]:
    """The notes of all variants, each once; with their words where they differ."""
    prompts = {variant.prompt: variant.notes for variant in variants}
    if len(prompts) == 1:
        return list(variants[0].notes)
    return [f'"{prompt}": {line}' for prompt, notes in prompts.items() for line in notes]
