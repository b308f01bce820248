"""Pack what the trainings left into the package: ``python -m sora.training.publish``.

Writes ``mini.safetensors`` (float16), the tokenizer, the judge, and the card with sizes, data, compute, scores and
limits into ``sora/assets``. The card's scores are measured here, on what was just written. With ``--unpack`` it goes
the other way, to train on from the shipped weights.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sora import weights
from sora.networks.wan_dit import WanConfig
from sora.training import judge
from sora.training.dit import config, load_frozen
from sora.training.vae import held_out_psnr
from sora.training.world import WORLDS, World

LATER = [
    "python -m sora.training.dit --start runs/dit/dit.safetensors --folder runs/dit2 --minutes 100 --skip 0.6"
    " --rate 0.006 --cooldown 0.5"
]


def halves(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the part's prefix, floating ones in float16."""
    return {f"{part}.{k}": (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}


def sizes_of(tensors: dict[str, Tensor]) -> WanConfig:
    """The transformer's sizes, read back from its weights."""
    width, layers = (
        tensors["proj_out.weight"].shape[1],
        1 + max(int(k.split(".")[1]) for k in tensors if k[:6] == "blocks"),
    )
    channels = tensors["proj_out.weight"].shape[0] // 4
    return config(channels, tensors["condition_embedder.text_embedder.linear_1.weight"].shape[1], width, layers)


def folders(runs: Path, part: str) -> list[Path]:
    """Every training of a part in its order: a training that goes on from ``dit`` stands in ``dit2``, and so on."""
    return sorted(log.parent for log in runs.glob(f"{part}*/log.jsonl"))


def history(folder: Path) -> dict[str, float]:
    """The last line of a training's log, with the minutes it took."""
    line = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    return {**line, "minutes": round(line["seconds"] / 60, 1)}


def card(runs: Path, world: World, world_name: str, sizes: WanConfig) -> dict:
    """What the weights are, before their scores."""
    vae, text, _ = load_frozen(runs, "cpu")
    return {
        "name": "mini",
        "licence": "Apache-2.0",
        "sizes": {"vae": asdict(vae.config), "text": asdict(text.config), "dit": asdict(sizes)},
        "data": {
            "source": "clips rendered by sora.training.world; no footage, no pictures, no text from elsewhere",
            "world": world_name,
            "subjects": list(world.subjects),
            "settings": list(world.settings),
            "motions": list(world.motions),
            "glyphs": "Noto Color Emoji (SIL Open Font License 1.1), drawn while training, not shipped",
            "held out": "one in ten combinations of subject, setting and motion",
        },
        "compute": {part: [history(f) for f in folders(runs, part)] for part in ("vae", "text", "dit", "judge")},
        "limits": [
            "knows only the subjects, settings and motions listed here; other words are named and ignored",
            "trained on clips of 17 and few of 33 frames, at 8 frames a second, of about 128 x 128 pixels",
            "longer films are painted in windows that go on from one another, and subjects fray on the way",
            "between two films it knows one way: the one melts into the other",
            "one subject a clip; small details fray while things move",
            "the small world moves on a lattice: one size of sprite, starts 16 pixels apart, courses of two seconds",
            "under-trained: the held-out loss was still falling when the training ended",
        ],
        "again": [
            f"python -m sora.training.{part} --world {world_name}"
            for part in ("vae", "text", "dit", "judge", "publish")
        ],
        "again, the transformer's later trainings": LATER,
    }


def unpack(runs: Path) -> None:
    """The shipped weights laid out as the trainings left them, so that one can go on from them: ``dit --start``."""
    tensors = load_file(weights.asset("mini.safetensors"))
    for part in ("vae", "text", "dit"):
        (runs / part).mkdir(parents=True, exist_ok=True)
        own = {k.removeprefix(f"{part}."): v.float() for k, v in tensors.items() if k.startswith(f"{part}.")}
        save_file(own, runs / part / f"{part}.safetensors")
    shutil.copy(weights.asset("mini-tokenizer.json"), runs / "text" / "tokenizer.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--world", choices=WORLDS, default="small")
    parser.add_argument("--clips", type=int, default=200, help="painted clips to score")
    parser.add_argument("--unpack", action="store_true", help="lay the shipped weights out under --runs instead")
    args = parser.parse_args()
    if args.unpack:
        unpack(args.runs)
        return
    world = WORLDS[args.world]
    dit = load_file(folders(args.runs, "dit")[-1] / "dit.safetensors")
    vae, text = (load_file(args.runs / part / f"{part}.safetensors") for part in ("vae", "text"))
    weights.ASSETS.mkdir(exist_ok=True)
    save_file({**halves("vae", vae), **halves("text", text), **halves("dit", dit)}, weights.asset("mini.safetensors"))
    shutil.copy(args.runs / "text" / "tokenizer.json", weights.asset("mini-tokenizer.json"))
    shutil.copy(args.runs / "judge" / judge.FILE, weights.asset(judge.FILE))
    made = card(args.runs, world, args.world, sizes_of(dit))
    _write(made)
    made["scores"] = scores(args.runs, world, args.clips)
    _write(made)
    print(json.dumps(made["scores"], indent=2))


def scores(runs: Path, world: World, clips: int) -> dict:
    """The autoencoder's PSNR, the judge on rendered clips and on what the model paints, all held out."""
    vae, _, _ = load_frozen(runs, "cpu")
    with torch.inference_mode():
        return {
            "command": f"python -m sora.training.publish --clips {clips}",
            "vae PSNR, dB, held-out clips": round(held_out_psnr(vae, world, 60), 2),
            "judge on rendered clips": judge.on_rendered(judge.load(world), world),
            "judge on painted clips": judge.score(world, clips),
        }


def _write(made: dict) -> None:
    weights.asset("mini.json").write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
