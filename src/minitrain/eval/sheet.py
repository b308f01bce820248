"""A contact sheet: ``python -m minitrain.eval.sheet OUT.png [PROMPTS.txt] [--seed N]``, eight frames a prompt."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from sora import catalog, memory, models
from sora.engine import engine
from sora.engine.model import Model
from sora.plan import operations, prompts

FRAMES_PER_ROW, CAPTION_HEIGHT = 8, 14  # frames a row; pixels of a caption


def generate_clip(model: Model, prompt: str, seed: int) -> np.ndarray:
    """The default clip for a prompt, frames_FYXC uint8."""
    d = model.spec.defaults
    height, width = model.spec.grid.nearest_size(1.0, d.area)
    plan = operations.generate((prompt,), frames=d.frames, format=model.spec.format((height, width), d.fps))
    settings = engine.Settings.from_spec(model.spec, seed)
    return torch.cat(list(engine.paint(model, plan, settings))).permute(0, 2, 3, 1).numpy()


def contact_row(frames_FYXC: np.ndarray, prompt: str) -> np.ndarray:
    """Evenly chosen frames side by side under their caption."""
    picked = frames_FYXC[np.linspace(0, len(frames_FYXC) - 1, FRAMES_PER_ROW).round().astype(int)]
    strip = Image.new("RGB", (picked.shape[2] * FRAMES_PER_ROW, CAPTION_HEIGHT), "white")
    ImageDraw.Draw(strip).text((2, 1), prompt, fill="black")
    return np.concatenate([np.asarray(strip), np.concatenate(list(picked), axis=1)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("prompts", type=Path, nargs="?", default=Path("prompts/first-light.txt"))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    device = memory.choose_device(None)
    model = models.load(catalog.find("mini"), device, memory.choose_dtype(None, device))
    texts = [line.prompt for line in prompts.parse_file(args.prompts.read_text(encoding="utf-8"))]
    rows = [contact_row(generate_clip(model, text, args.seed + i), text) for i, text in enumerate(texts)]
    Image.fromarray(np.concatenate(rows)).save(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
