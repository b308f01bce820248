"""Train the embedded model's text encoder: ``python -m sora.training.text --minutes 3``.

It reads captions only. Slot i must say what the caption tells about the i-th of ``captions.SLOTS``, or that it is
silent; words are dropped now and then. The painter is trained on the frozen slots, so that "left" and "right", which
share a sentence's every other word, are far apart from the first step.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn

from sora.families.mini import word_ids
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.training.captions import SLOTS, Caption, caption, vocabulary
from sora.training.loop import Budget, train
from sora.training.optim import Both
from sora.training.world import CAMERAS, WORLDS, World, draw_scene

PADDING, UNKNOWN = "<pad>", "<unk>"


def build_tokenizer(world: World) -> Tokenizer:
    """One id a word, lower case, punctuation set aside; words outside the world are <unk>."""
    words = [PADDING, UNKNOWN, *vocabulary(world)]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation(behavior="removed")]
    )
    return tokenizer


def answers(world: World) -> dict[str, list[str]]:
    """What each slot may answer; the first answer is silence."""
    return {
        "subject": ["", *world.subjects],
        "setting": ["", *world.settings],
        "motion": ["", *world.motions],
        "camera": ["", *CAMERAS[1:]],
        "snow": ["", "snow"],
    }


class Reader(nn.Module):
    """The encoder with one linear question a slot."""

    def __init__(self, text: MiniText, world: World) -> None:
        super().__init__()
        self.text = text
        self.heads = nn.ModuleList(nn.Linear(text.config.width, len(a)) for a in answers(world).values())

    def forward(self, ids_BL: Tensor) -> list[Tensor]:
        slots = self.text(ids_BL)
        return [head(slots[:, i]) for i, head in enumerate(self.heads)]


def batch(world: World, tokenizer: Tokenizer, count: int, rng: Random, *, held: bool) -> tuple[Tensor, Tensor]:
    """(ids_BL, answers_BS). Training captions lose words that tell nothing, and some are empty."""
    told: list[Caption] = []
    for _ in range(count):
        scene = draw_scene(world, rng.getrandbits(48), held=held)
        empty = not held and rng.random() < 0.03
        told.append(Caption("", dict.fromkeys(SLOTS, "")) if empty else caption(scene, rng))
    ids = word_ids(tokenizer, [c.text for c in told], 32)
    if not held:
        ids[(torch.rand(ids.shape) < 0.03) & (ids > 0)] = 1
    keys = answers(world)
    return ids, torch.tensor([[keys[s].index(c.told[s]) for s in SLOTS] for c in told])


@torch.no_grad()
def held_out_accuracy(reader: Reader, world: World, tokenizer: Tokenizer, count: int = 500) -> dict[str, float]:
    """Share of held-out captions each slot reads rightly."""
    ids, truth = batch(world, tokenizer, count, Random(5), held=True)
    guesses = [logits.argmax(dim=1) for logits in reader(ids)]
    return {s: (g == truth[:, i]).float().mean().item() for i, (s, g) in enumerate(zip(SLOTS, guesses, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--folder", type=Path, default=Path("runs/text"))
    args = parser.parse_args()
    world, rng = WORLDS[args.world], Random()
    tokenizer = build_tokenizer(world)
    args.folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.folder / "tokenizer.json"))
    reader = Reader(MiniText(MiniTextConfig(vocabulary=tokenizer.get_vocab_size())), world)

    def loss(_done: float) -> tuple[Tensor, dict[str, float]]:
        ids, truth = batch(world, tokenizer, args.batch, rng, held=False)
        value = torch.stack([F.cross_entropy(g, truth[:, i]) for i, g in enumerate(reader(ids))]).sum()
        return value, {"loss": value.item()}

    optimiser = Both(reader, matrix_lr=0.005, other_lr=2e-3, plain=("text.words", "text.places", "text.slots", "heads"))
    report = lambda _: held_out_accuracy(reader, world, tokenizer)  # noqa: E731
    train(reader, optimiser, Budget(args.minutes), args.folder, loss, average=0.99, every=30, report=report)
    save_file({k: v.contiguous() for k, v in reader.text.state_dict().items()}, args.folder / "text.safetensors")


if __name__ == "__main__":
    main()
