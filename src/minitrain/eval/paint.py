"""Generate captions' clips and save them, to be judged later: ``python -m minitrain.eval.paint list --world rich``.

``list`` writes held-out captions of a world as JSON, one object a line; ``paint FILE FOLDER`` generates them in order,
each to ``FOLDER/NUMBER.npz``, and skips existing files. ``paint`` needs nothing but the engine, so that it also runs
with another version's ``PYTHONPATH``. ``--part K/N`` shares the work among processes. ``--set steps=12 guidance=4``
changes the model's defaults; ``--guided`` uses the weights that take guidance.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sora import catalog, models
from sora.engine import engine
from sora.engine.model import Model
from sora.plan import operations

FRAMES = 17


def list_captions(world: str, first: int, count: int) -> Iterator[dict[str, Any]]:
    """The captions that ``score.generated`` uses: every kind of caption and every shape in turn."""
    from minitrain.captions.facts import facts
    from minitrain.eval.score.generated import FIRST_SEED
    from minitrain.eval.score.generator import ASPECTS, CAPTION_KINDS, full_caption
    from minitrain.worlds.world import WORLDS, draw_film

    kinds = tuple(CAPTION_KINDS)
    for number in range(first, first + count):
        film = draw_film(WORLDS[world], FIRST_SEED + number, held_out=True)
        kind = kinds[number // len(ASPECTS) % len(kinds)]
        text = full_caption(film, WORLDS[world], kind, number)
        caption_row = {
            "world": world,
            "number": number,
            "kind": kind,
            "text": text,
            "aspect": ASPECTS[number % len(ASPECTS)],
        }
        yield caption_row | {"facts": facts(film)}


def generate_clip(model: Model, row: dict[str, Any], settings: dict[str, Any]) -> np.ndarray:
    """frames_FYXC, uint8, by the engine at the model's own size; the caption's number is the seed."""
    spec, d = model.spec, model.spec.defaults
    form = spec.format(spec.grid.nearest_size(row["aspect"], d.area), d.fps)
    plan = operations.generate((row["text"],), frames=FRAMES, format=form)
    chunks = engine.paint(model, plan, engine.Settings.from_spec(spec, row["number"], **settings))
    return torch.cat(list(chunks)).permute(0, 2, 3, 1).cpu().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    lists = verbs.add_parser("list")
    lists.add_argument("--world", default="rich")
    lists.add_argument("--first", type=int, default=0)
    lists.add_argument("--count", type=int, default=300)
    paints = verbs.add_parser("paint")
    paints.add_argument("captions", type=Path)
    paints.add_argument("folder", type=Path)
    paints.add_argument("--set", nargs="+", default=(), metavar="NAME=VALUE")
    paints.add_argument("--guided", action="store_true")
    paints.add_argument("--part", default="0/1", metavar="K/N")
    paints.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.verb == "list":
        for row in list_captions(args.world, args.first, args.count):
            print(json.dumps(row, ensure_ascii=False))
        return
    torch.set_num_threads(args.threads)
    kinds = {"steps": int, "guidance": float, "shift": float, "sampler": str}
    settings = {name: kinds[name](value) for name, value in (pair.split("=", 1) for pair in args.set)}
    spec = catalog.find("mini")
    model = models.load(spec.with_guidance() if args.guided else spec, torch.device("cpu"), torch.float32)
    args.folder.mkdir(parents=True, exist_ok=True)
    part, parts = (int(n) for n in args.part.split("/"))
    for i, line in enumerate(args.captions.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        path = args.folder / f"{row['number']}.npz"
        if i % parts != part or path.exists():
            continue
        began = time.perf_counter()
        frames_FYXC = generate_clip(model, row, settings)
        unfinished = path.with_suffix(".part.npz")
        np.savez_compressed(unfinished, frames=frames_FYXC, row=json.dumps(row), seconds=time.perf_counter() - began)
        unfinished.rename(path)
        print(f"{row['number']} {time.perf_counter() - began:.1f} s {row['text']}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
