"""Train the embedded model's text encoder: ``python -m minitrain.text_encoder_training --world small --minutes 12``.

It is trained on captions alone, of every length and language: slot i must encode the value that the caption states for
the i-th of ``captions.SLOTS``, or that it states none. With ``--start`` it continues from an older encoder, and its
slots are trained to match that encoder's (``slot_distillation``), so that a transformer trained on the old slots
understands the new ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from minitrain import slot_distillation
from minitrain.captions import SLOTS, Caption, caption
from minitrain.optim import MuonAdamW
from minitrain.slot_distillation import SlotTargets
from minitrain.tokenizer import add_typos, build_tokenizer
from minitrain.training_loop import Budget, train
from minitrain.worlds.world import WORLDS, World, draw_film
from sora.models.mini.model import word_ids
from sora.networks.mini_text import MiniText, MiniTextConfig

MAX_TOKENS, SLOT_COUNT = 160, 12  # ids read at most; slots, of which the last has nothing to say yet
CAPTION_KINDS = {
    "terse": ("terse", "en"),
    "plain": ("plain", "en"),
    "long": ("long", "en"),
    "terse zh": ("terse", "zh"),
    "plain zh": ("plain", "zh"),
    "long zh": ("long", "zh"),
}
SHORT_KINDS, LONG_KINDS = (("terse", "plain", "plain", "terse zh", "plain zh"), ("long", "long", "long zh"))
LONG_SHARE = 0.4  # of the steps, each of which has a quarter of a short step's captions
EMPTY_SHARE = 0.03
DISTILLATION_WEIGHT = 10.0  # weight of the squared distance to the anchor


def slot_values(world: World) -> dict[str, list[str]]:
    """The possible values of each slot; the first one is "" for a slot that the caption does not state."""
    return {
        "subject": ["", *world.subjects],
        "setting": ["", *world.settings],
        "motion": ["", *world.motions],
        "camera": ["", *(c for c in world.cameras if c != "static")],
        "weather": ["", *(w for w in world.weathers if w)],
        "hour": ["", *world.hours],
        "style": ["", *world.styles],
        "second": ["", *(world.subjects if world.pair_share else ())],
        "relation": ["", *world.relations],
        "event": ["", *world.events],
        "shots": ["", *((*world.settings, *world.motions) if world.cut_share else ())],
    }


class SlotClassifier(nn.Module):
    """The text encoder with one linear classifier a slot."""

    def __init__(self, text: MiniText, world: World) -> None:
        super().__init__()
        self.text = text
        self.heads = nn.ModuleList(nn.Linear(text.config.width, len(a)) for a in slot_values(world).values())

    def forward(self, ids_BL: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(slots (B, slots, D), the values' logits (B, values) for each slot)."""
        slots = self.text(ids_BL)
        return slots, [head(slots[:, i]) for i, head in enumerate(self.heads)]


def sample_captions(world: World, count: int, rng: Random, kinds: tuple[str, ...], *, held_out: bool) -> list[Caption]:
    """Captions of the given kinds. Those to train on get typing errors, and some are empty."""
    sampled = []
    for _ in range(count):
        length, language = CAPTION_KINDS[rng.choice(kinds)]
        film = draw_film(world, rng.getrandbits(48), held_out=held_out)
        sample = caption(film, rng, length=length, language=language, gaits=world.has_gaits)
        if not held_out:
            sample = Caption(add_typos(sample, rng), sample.facts)
            sample = Caption("", dict.fromkeys(SLOTS, "")) if rng.random() < EMPTY_SHARE else sample
        sampled.append(sample)
    return sampled


def labels_of(world: World, captions: list[Caption]) -> Tensor:
    """(B, len(SLOTS)): the index of the value that each caption states."""
    keys = slot_values(world)
    return torch.tensor([[keys[slot].index(one.facts[slot]) for slot in SLOTS] for one in captions])


def drop_words(ids_BL: Tensor, share: float = 0.015) -> Tensor:
    """The ids with a share of them replaced by the unknown id."""
    return ids_BL.masked_fill((torch.rand(ids_BL.shape) < share) & (ids_BL > 0), 1)


def make_loss(
    classifier: SlotClassifier, world: World, tokenizer: Tokenizer, count: int, targets: SlotTargets | None
) -> Callable[[float], tuple[Tensor, dict[str, float]]]:
    """The loss function of one step, with newly drawn captions each time."""
    rng, device = Random(), next(classifier.parameters()).device

    def loss(_done: float) -> tuple[Tensor, dict[str, float]]:
        long = rng.random() < LONG_SHARE
        captions = sample_captions(
            world, count // 4 if long else count, rng, LONG_KINDS if long else SHORT_KINDS, held_out=False
        )
        ids = drop_words(word_ids(tokenizer, [c.text for c in captions], MAX_TOKENS)).to(device)
        slots, logits = classifier(ids)
        labels = labels_of(world, captions).to(device)
        value = torch.stack([F.cross_entropy(g, labels[:, i]) for i, g in enumerate(logits)]).sum()
        parts: dict[str, Any] = {"loss": value.detach()}
        if targets:
            targets_BSD, known = (t.to(device) for t in targets.targets([c.facts for c in captions], slots.shape[1]))
            distance = ((slots - targets_BSD).square().mean(dim=2) * known).sum() / known.sum()
            value, parts = value + DISTILLATION_WEIGHT * distance, {**parts, "distance": distance.detach()}
        return value, parts

    return loss


@torch.no_grad()
def evaluate(
    reader: SlotClassifier, world: World, tokenizer: Tokenizer, targets: SlotTargets | None, count: int = 300
) -> dict[str, dict[str, float]]:
    """For each kind of held-out caption, the accuracy of each slot, of "all" slots at once, and the mean cosine to the
    targets."""
    table, device = {}, next(reader.parameters()).device
    for kind in CAPTION_KINDS:
        captions = sample_captions(world, count, Random(5), (kind,), held_out=True)
        ids = word_ids(tokenizer, [c.text for c in captions], MAX_TOKENS).to(device)
        slots, logits = reader(ids)
        correct = torch.stack([g.argmax(dim=1) for g in logits], dim=1).cpu() == labels_of(world, captions)
        row = dict(zip(SLOTS, correct.float().mean(dim=0).tolist(), strict=True)) | {
            "all": correct.all(dim=1).float().mean().item()
        }
        if targets:
            targets_BSD, known = targets.targets([c.facts for c in captions], slots.shape[1])
            row["cosine"] = ((F.cosine_similarity(slots.cpu(), targets_BSD, dim=2) * known).sum() / known.sum()).item()
        table[kind] = {k: round(v, 4) for k, v in row.items()}
    return table


def summary(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """One line for the log: the worst slot of each kind, and the worst cosine."""
    line = {kind: min(row[slot] for slot in SLOTS) for kind, row in table.items()}
    return line | ({"cosine": min(row["cosine"] for row in table.values())} if "cosine" in table["plain"] else {})


def load_encoder(folder: Path) -> tuple[MiniText, Tokenizer]:
    """An encoder and its tokenizer from a training's folder, with its sizes from ``config.json`` if that exists."""
    tokenizer, sizes = Tokenizer.from_file(str(folder / "tokenizer.json")), folder / "config.json"
    config = json.loads(sizes.read_text()) if sizes.exists() else {"vocabulary": tokenizer.get_vocab_size()}
    text = MiniText(MiniTextConfig(**config))
    text.load_state_dict(load_file(folder / "text.safetensors"))
    return text.requires_grad_(False).eval(), tokenizer


def build_encoder(
    world: World, tokenizer: Tokenizer, start: Path | None, known: World
) -> tuple[MiniText, SlotTargets | None]:
    """A new encoder, and its distillation targets if it continues from an older one, which read the world ``known``."""
    text = MiniText(MiniTextConfig(vocabulary=tokenizer.get_vocab_size(), slots=SLOT_COUNT, length=MAX_TOKENS))
    if not start:
        return text, None
    old, old_tokenizer = load_encoder(start)
    slot_distillation.warm_start(text, tokenizer, old, old_tokenizer)
    captions = sample_captions(world, 4000, Random(4), tuple(CAPTION_KINDS), held_out=False)
    shared = tokenizer.get_vocab().keys() & old_tokenizer.get_vocab().keys()
    ids = word_ids(tokenizer, [one.text for one in captions], MAX_TOKENS)
    slot_distillation.init_new_words(text, captions, ids, {tokenizer.token_to_id(word) for word in shared})
    return text, slot_distillation.fit_targets(old, old_tokenizer, known)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain.text_encoder_training", description=__doc__)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--start", type=Path, help="folder of an older encoder and its tokenizer to continue from")
    parser.add_argument("--known", choices=WORLDS, default="small", help="the world that the older encoder read")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/text"))
    args = parser.parse_args(argv)
    world, tokenizer = WORLDS[args.world], build_tokenizer(WORLDS[args.world])
    args.folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.folder / "tokenizer.json"))
    text, targets = build_encoder(world, tokenizer, args.start, WORLDS[args.known])
    (args.folder / "config.json").write_text(json.dumps(asdict(text.config)) + "\n")
    classifier = SlotClassifier(text, world).to(args.device)
    rates = (0.002, 0.002) if args.start else (0.005, 0.002)
    plain = ("text.words", "text.places", "text.slots", "heads")
    optimiser = MuonAdamW(classifier, muon_lr=rates[0], adamw_lr=rates[1], adamw_prefixes=plain)
    loss = make_loss(classifier, world, tokenizer, args.batch, targets)
    report = lambda _: summary(evaluate(classifier, world, tokenizer, targets, 60))  # noqa: E731
    train(
        classifier, optimiser, Budget(args.minutes), args.folder, loss, ema_decay=0.99, report_every=150, report=report
    )
    save_file({k: v.cpu().contiguous() for k, v in text.state_dict().items()}, args.folder / "text.safetensors")
    table = evaluate(classifier, world, tokenizer, targets, 200)
    (args.folder / "scores.json").write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
