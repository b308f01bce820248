"""Slot distillation: keeps a new text encoder close to the one that a transformer was trained with.

The old encoder's slots are, wording aside, a sum of what a caption states (measured on the first version: a linear fit
leaves a residual no larger than the difference between two wordings of one scene). That linear fit is the target of the
new encoder, for new languages and lengths of captions too.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from minitrain.captions import SLOTS, Caption, caption
from minitrain.tokenizer import UNKNOWN
from minitrain.worlds.world import World, draw_film
from sora.models.mini.model import word_ids
from sora.networks.mini_text import MiniText

NEIGHBOURS = 3  # known words that a new one begins as

Effects = dict[tuple[str, str], Tensor]  # (slot, answer) -> (slots, width)


@dataclass(frozen=True)
class SlotTargets:
    """Linear targets for a new encoder's slots. base_SD: the mean of the old encoder's slots. effects: what each stated
    value adds to all slots, for the values that the old encoder knew."""

    base_SD: Tensor
    effects: Effects

    def targets(self, facts: list[dict[str, str]], slots: int) -> tuple[Tensor, Tensor]:
        """Targets (B, slots, D) for captions that state these facts, and a mask (B, slots) that is 1 where a target is
        known, which is where the old encoder knew the slot's value. Slots that the old encoder did not have are to
        resemble its unused ones as long as they are empty."""
        base_SD = torch.cat([self.base_SD, self.base_SD[-1:].expand(max(0, slots - len(self.base_SD)), -1)])[:slots]
        targets_BSD, known_BS = base_SD.repeat(len(facts), 1, 1), torch.ones(len(facts), slots)
        for row, each in enumerate(facts):
            for i, slot in enumerate(SLOTS):
                effect = self.effects.get((slot, each[slot]))
                if effect is not None:
                    targets_BSD[row, : len(effect)] += effect[:slots]
                elif each[slot]:
                    known_BS[row, i] = 0
        return targets_BSD, known_BS


@torch.no_grad()
def fit_targets(old: MiniText, tokenizer: Tokenizer, world: World, count: int = 3000) -> SlotTargets:
    """Fit the targets by least squares, from the facts that plain captions of the old encoder's world state to the old
    encoder's slots."""
    facts, slots_BSD = _old_slots(old, tokenizer, world, count)
    answers = sorted({(slot, each[slot]) for each in facts for slot in SLOTS[: old.config.slots]})
    column = {answer: i for i, answer in enumerate(answers)}
    design = torch.zeros(len(facts), len(answers))
    for row, each in enumerate(facts):
        for slot in SLOTS[: old.config.slots]:
            design[row, column[slot, each[slot]]] = 1
    base = slots_BSD.mean(dim=0)
    centred = design - design.mean(dim=0)
    fitted = torch.linalg.lstsq(centred, (slots_BSD - base).flatten(1), driver="gelsd").solution
    fitted = fitted.view(-1, *base.shape)
    offset = torch.einsum("a,asd->sd", design.mean(dim=0), fitted)
    return SlotTargets(base - offset, {answer: fitted[i] for answer, i in column.items()})


def _old_slots(old: MiniText, tokenizer: Tokenizer, world: World, count: int) -> tuple[list[dict[str, str]], Tensor]:
    """The facts of captions whose every word the old encoder knows, and its slots (B, slots, D) for them."""
    rng, unknown = Random(3), tokenizer.token_to_id(UNKNOWN)
    captions: list[Caption] = []
    while len(captions) < count:
        one = caption(draw_film(world, rng.getrandbits(48)), rng, length="plain", language="en", gaits=False)
        ids = tokenizer.encode(one.text).ids
        if unknown not in ids and len(ids) <= old.config.length and not any(one.facts[s] for s in SLOTS[5:]):
            captions.append(one)
    ids = word_ids(tokenizer, [c.text for c in captions], old.config.length)
    return [c.facts for c in captions], torch.cat([old(part) for part in ids.split(500)])


def warm_start(new: MiniText, tokenizer: Tokenizer, old: MiniText, old_tokenizer: Tokenizer) -> None:
    """Copy the old encoder's layers, slots, positions and word embeddings into a new one, as far as they exist. Raises
    RuntimeError if the layers differ."""
    new.layers.load_state_dict(old.layers.state_dict())
    old_words, words = old_tokenizer.get_vocab(), tokenizer.get_vocab()
    with torch.no_grad():
        shared = min(len(new.slots), len(old.slots))
        new.slots[:shared] = old.slots[:shared]
        new.slots[shared:] = old.slots[-1] + 0.1 * torch.randn_like(new.slots[shared:])
        new.places.copy_(old.places[-4:].mean(dim=0).expand_as(new.places))
        new.places[: len(old.places)] = old.places
        for word in words.keys() & old_words.keys():
            new.words.weight[words[word]] = old.words.weight[old_words[word]]


@torch.no_grad()
def init_new_words(new: MiniText, captions: list[Caption], ids_BL: Tensor, known: set[int | None]) -> None:
    """Initialise the embeddings of words that the old encoder did not have: each as the mean of the NEIGHBOURS known
    words that occur with the most similar facts, weighted by similarity. captions, ids_BL: captions and their token
    ids. known: ids that the old encoder had."""
    answers = sorted({(slot, one.facts[slot]) for one in captions for slot in SLOTS})
    column = {answer: i for i, answer in enumerate(answers)}
    facts = torch.zeros(len(captions), len(answers))
    for row, one in enumerate(captions):
        for slot in SLOTS:
            facts[row, column[slot, one.facts[slot]]] = 1
    contains = torch.zeros(len(captions), new.config.vocabulary)
    contains.scatter_(1, ids_BL, 1.0)
    counts = contains.sum(dim=0)
    profiles = (contains.T @ facts) / counts.clamp(min=1)[:, None] - facts.mean(dim=0)
    olds = torch.tensor([i for i in range(2, new.config.vocabulary) if i in known and counts[i] > 2])
    news = torch.tensor([i for i in range(2, new.config.vocabulary) if i not in known and counts[i] > 0])
    distance = torch.cdist(profiles[news], profiles[olds])
    nearest, index = distance.topk(min(NEIGHBOURS, len(olds)), largest=False)
    shares = torch.softmax(-nearest / (nearest[:, :1] + 0.05), dim=1)
    new.words.weight[news] = torch.einsum("nk,nkd->nd", shares, new.words.weight[olds[index]])
