"""Train the embedded model's transformer: ``python -m sora.training.dit --minutes 75``.

Rectified flow on the frozen autoencoder's latents, with the frozen text slots beside. Single frames first (a fifth of
the tokens teach what things look like), then short clips, then whole ones with the others kept in the mix. Cells that
show the subject weigh more, known cells less.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from sora import engine, families, operations
from sora.families.mini import Mini, beside_noise, extra_channels, word_ids
from sora.networks.mini_text import MiniText, MiniTextConfig
from sora.networks.mini_vae import MiniVAE
from sora.networks.wan_dit import WanConfig, WanDiT
from sora.sampler import shift_times
from sora.training.captions import caption
from sora.training.loop import Budget, train
from sora.training.optim import Both
from sora.training.pool import FRAMES, Batch, Pool
from sora.training.vae import SIZES
from sora.training.world import WORLDS, World

LONG = 33
CURRICULUM = (  # until which share of the training, how often clips of how many frames
    (0.38, {1: 1.0}),
    (0.58, {1: 0.1, 9: 0.9}),
    (1.01, {1: 0.08, 9: 0.1, FRAMES: 0.72, LONG: 0.1}),
)
CROWD = {1: 4, 9: 2, FRAMES: 1, LONG: 0.5}  # clips of this length stand for one of full length in a batch
SILENT = 0.12  # share of captions dropped, for guidance
PREVIEWS = (
    "a red balloon floats up over a green meadow",
    "a turtle swims to the right under the sea",
    "a red car drives left through the city",
    "an elephant stands still in the snow",
    "a blue ball bounces in the desert",
    "a rocket spins at sunset",
    "a chick gets bigger at night",
    "a sailboat goes to the left at sunset",
)


def config(latent_channels: int, text_width: int, width: int, layers: int) -> WanConfig:
    """A small Wan transformer that reads known latents, masks and places beside the noise."""
    return WanConfig(
        num_layers=layers,
        heads=width // 48 if width % 48 == 0 else width // 64,
        head_dim=48 if width % 48 == 0 else 64,
        in_channels=latent_channels + extra_channels(latent_channels),
        out_channels=latent_channels,
        text_dim=text_width,
        freq_dim=128,
        ffn_dim=4 * width,
    )


class Painter:
    """The transformer with the frozen networks around it."""

    def __init__(self, dit: WanDiT, text: MiniText, vae: MiniVAE, tokenizer: Tokenizer, device: str) -> None:
        self.dit, self.text, self.vae, self.tokenizer, self.device = dit, text, vae, tokenizer, device

    @torch.no_grad()
    def slots(self, texts: list[str]) -> Tensor:
        return self.text(word_ids(self.tokenizer, texts, self.text.config.length).to(self.device))

    def loss(self, batch: Batch, texts: list[str], t_B: Tensor, noise: Tensor) -> Tensor:
        """Weighted squared error of the velocity, one figure a sample."""
        t = t_B.view(-1, 1, 1, 1, 1)
        noisy = torch.cat([(1 - t) * batch.clean + t * noise, beside_noise(batch.seen, batch.known)], dim=1)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            flow = self.dit(noisy, 1000 * t_B, self.slots(texts))
        return (batch.weight * (flow.float() - (noise - batch.clean)).square()).flatten(1).mean(dim=1)

    @torch.no_grad()
    def paint(self, prompt: str, seed: int) -> np.ndarray:
        """A square clip, frames_FYXC uint8, through the engine at the model's defaults: what a person would get."""
        spec = families.find("mini")
        d = spec.defaults
        model = Mini(spec, self.vae, self.text, self.dit, self.tokenizer)
        plan = operations.generate((prompt,), frames=FRAMES, form=spec.form((128, 128), d.fps))
        settings = engine.Settings(seed, d.steps, d.guidance, d.shift, d.step)
        return torch.cat(list(engine.paint(model, plan, settings))).permute(0, 2, 3, 1).numpy()


def draw_length(done: float, rng: Random) -> int:
    """Frames of the next batch, given the share of the training that is done: looks first, then motion."""
    for until, lengths in CURRICULUM:
        if done < until:
            return rng.choices(tuple(lengths), tuple(lengths.values()))[0]
    raise ValueError(f"{done} of the training is done already")


def main() -> None:
    args = _arguments()
    world, rng = WORLDS[args.world], Random()
    torch.manual_seed(rng.getrandbits(32))
    vae, text, tokenizer = load_frozen(args.runs, args.device)
    dit = WanDiT(config(vae.config.channels, text.config.width, args.width, args.layers)).to(args.device)
    dit.init_weights()
    if args.start:
        dit.load_state_dict(load_file(args.start))
    painter = Painter(dit, text, vae, tokenizer, args.device)
    pool = Pool(vae, world, rng)
    holdout = _holdout(vae, world)

    def loss(done: float) -> tuple[Tensor, dict[str, float]]:
        frames = draw_length(args.skip + (1 - args.skip) * done, rng)
        size = rng.choices(SIZES, (0.64, 0.09, 0.09, 0.09, 0.09))[0]
        count = int(CROWD[frames] * args.batch)
        wanting = count - len(pool.items.get((size, frames), ()))
        pool.add(size, frames, max(wanting, count // 5))
        batch = pool.batch(size, frames, count)
        texts = ["" if s is None or rng.random() < SILENT else caption(s, rng).text for s in batch.scenes]
        t = shift_times(torch.randn(count).sigmoid(), 2.0).to(args.device)
        value = painter.loss(batch, texts, t, torch.randn_like(batch.clean)).mean()
        return value, {f"loss_{frames}": value.item()}

    def report(_: int) -> dict[str, float]:
        _sheet(painter, args.folder / "sheet.png")
        return {f"held_{b.clean.shape[2]}": _held_loss(painter, b) for b in holdout}

    args.folder.mkdir(parents=True, exist_ok=True)
    optimiser = Both(dit, matrix_lr=args.rate, other_lr=1e-3, plain=("patch_embedding", "proj_out", "scale_shift"))
    budget = Budget(args.minutes, cooldown=args.cooldown)
    train(dit, optimiser, budget, args.folder, loss, average=0.995, every=360, report=report)
    save_file({k: v.contiguous() for k, v in dit.state_dict().items()}, args.folder / "dit.safetensors")


def load_frozen(runs: Path, device: str) -> tuple[MiniVAE, MiniText, Tokenizer]:
    """The autoencoder, text encoder and tokeniser as their trainings left them."""
    tokenizer = Tokenizer.from_file(str(runs / "text" / "tokenizer.json"))
    vae, text = MiniVAE(), MiniText(MiniTextConfig(vocabulary=tokenizer.get_vocab_size()))
    vae.load_state_dict(load_file(runs / "vae" / "vae.safetensors"))
    text.load_state_dict(load_file(runs / "text" / "text.safetensors"))
    vae, text = vae.to(device).in_channels_last(), text.to(device)
    return vae.eval().requires_grad_(False), text.eval().requires_grad_(False), tokenizer


def _holdout(vae: MiniVAE, world: World) -> list[Batch]:
    """Fixed held-out batches, single frames and clips, nothing known."""
    pool, batches = Pool(vae, world, Random(11), entangled=0.0, midway=0.0), []
    for frames, count in ((1, 48), (9, 24), (FRAMES, 16)):
        pool.add((128, 128), frames, count, held=True)
        batches.append(pool.batch((128, 128), frames, count))
    return batches


@torch.no_grad()
def _held_loss(painter: Painter, batch: Batch) -> float:
    """The mean loss over fixed times, noise and captions."""
    rng, draw = Random(3), torch.Generator().manual_seed(3)
    texts = [caption(s, rng, complete=True).text for s in batch.scenes if s]
    noise = torch.randn(batch.clean.shape, generator=draw).to(batch.clean)
    t = shift_times((torch.arange(len(texts)) + 0.5) / len(texts), 2.0).to(batch.clean)
    return painter.loss(batch, texts, t, noise).mean().item()


def _sheet(painter: Painter, path: Path) -> None:
    """Previews as rows of every fourth frame."""
    from PIL import Image

    films = [painter.paint(p, seed)[::4] for seed, p in enumerate(PREVIEWS)]
    rows = [np.concatenate(list(f), axis=1) for f in films]
    pairs = [np.concatenate(rows[i : i + 2], axis=1) for i in range(0, len(rows), 2)]
    Image.fromarray(np.concatenate(pairs)).save(path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--batch", type=int, default=12, help="whole clips a step; shorter ones come in greater number")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rate", type=float, default=8e-3, help="learning rate of the matrices")
    parser.add_argument("--cooldown", type=float, default=0.3)
    parser.add_argument("--start", type=Path, help="weights to begin from")
    parser.add_argument("--skip", type=float, default=0.0, help="share of the curriculum that --start has behind it")
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where vae/ and text/ are")
    parser.add_argument("--folder", type=Path, default=Path("runs/dit"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
