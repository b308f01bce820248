"""What a model of a closed vocabulary makes of the words, said before anything is loaded or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sora import models
from sora.catalog.spec import Advice, ModelSpec
from sora.cli.request import Take, Wish
from sora.errors import UsageError


def advised(wish: Wish, spec: ModelSpec, takes: Sequence[Take]) -> tuple[Take, ...]:
    """The takes with notes on what will be painted otherwise than they say. A later shot that names no subject gets the
    first one's. Raises UsageError for words that name nothing which the model could paint, where nothing else does."""
    if not spec.vocabulary:
        return tuple(takes)
    return tuple(_advised(wish, spec, take) for take in takes)


def _advised(wish: Wish, spec: ModelSpec, take: Take) -> Take:
    read = [models.advise(spec, text, own_words=bool(wish.lora)) or Advice() for text in take.texts]
    hero = read[0].subject
    texts = [
        text if each.subject or not hero else f"{hero} {text}" for text, each in zip(take.texts, read, strict=True)
    ]
    notes = list(dict.fromkeys(line for each in read for line in each.notes))
    notes += [f"shot {n} names no subject and goes on with the first one's: {hero}" for n in _anonymous(read) if hero]
    if not hero and take.shots[0]:
        notes.append(_without_subject(wish, spec, take, read[0].missing))
    return replace(take, texts=tuple(texts), notes=tuple(notes))


def _anonymous(read: Sequence[Advice]) -> list[int]:
    return [n for n, each in enumerate(read, start=1) if not each.subject]


def _without_subject(wish: Wish, spec: ModelSpec, take: Take, missing: str) -> str:
    """What to say of a take without a subject that the model knows. Raises UsageError where nothing else is shown."""
    told = f'{spec.name} knows nothing to paint in "{take.prompt}": {missing}'
    if wish.lora:
        return f'"{take.prompt}" names no subject that {spec.name} knows by itself; the LoRA has to bring it'
    if wish.source is not None:
        return f'"{take.prompt}" names no subject that {spec.name} knows; what {wish.source} shows has to serve'
    if wish.anyway:
        return told
    hint = "`sora ideas` lists what it paints, --anyway paints this all the same, open weights (--model) paint anything"
    raise UsageError(f"{told}; {hint}")


def lines(takes: Sequence[Take]) -> list[str]:
    """The notes of all takes, each once; with their words where they differ."""
    prompts = {take.prompt: take.notes for take in takes}
    if len(prompts) == 1:
        return list(takes[0].notes)
    return [f'"{prompt}": {line}' for prompt, notes in prompts.items() for line in notes]
