"""Bring what was trained into the package: ``python -m sora.training publish --runs runs``.

Writes ``mini-vae``, ``mini-text`` and ``mini-dit.safetensors`` in eight bits (``sora.eightbit``), each only where it
changed, so that the history grows by what is new; the tokenizer, the judge, and the card. What scores worse than what
is shipped stays out: where the shipped card was measured by another command, the shipped weights are measured by this
one first. With ``--unpack`` it goes the other way, to train on from the shipped weights.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from safetensors.torch import save_file as write
from torch import Tensor

from sora import weights
from sora.eightbit import pack8, unpack8
from sora.errors import InputError
from sora.training import judge, scores

PARTS = ("vae", "text", "dit")
CARD, TOKENIZER = "mini.json", "mini-tokenizer.json"
PAINTED = scores.PAINTED["dit"]
FEW = 50  # clips under which a comparison says nothing


def file_of(part: str) -> str:
    return f"mini-{part}.safetensors"


def sources(runs: Path) -> dict[str, Path]:
    """Final weights by what they are shipped as. A distilled transformer is shipped as "few-dit" beside the guided
    one."""
    found = {part: runs / part / f"{part}.safetensors" for part in PARTS}
    distilled = runs / "distil" / "dit.safetensors"
    return found | ({"few-dit": distilled} if distilled.is_file() else {})


def lay_out(runs: Path, assets: Path) -> list[str]:
    """Write the parts that changed, the tokenizer and the judge; the parts' names."""
    assets.mkdir(parents=True, exist_ok=True)
    changed = []
    for part, source in sources(runs).items():
        raw, path = save(pack8(load_file(source))), assets / file_of(part)
        if not path.is_file() or path.read_bytes() != raw:
            path.write_bytes(raw)
            changed.append(path.name)
    shutil.copy(runs / "text" / "tokenizer.json", assets / TOKENIZER)
    if (runs / "judge" / judge.FILE).is_file():
        shutil.copy(runs / "judge" / judge.FILE, assets / judge.FILE)
    return changed


def shipped(assets: Path, part: str) -> dict[str, Tensor]:
    """A part's weights as the package has them, in float32."""
    own = assets / file_of(part)
    if own.is_file():
        return unpack8(load_file(own))
    whole = load_file(assets / "mini.safetensors")
    return {k.removeprefix(f"{part}."): v.float() for k, v in whole.items() if k.startswith(f"{part}.")}


def unpack(runs: Path, assets: Path = weights.ASSETS) -> None:
    """The shipped weights laid out as the trainings left them, so that one can go on from them: ``dit --start``."""
    own = {part: part for part in PARTS}
    if (assets / file_of("few-dit")).is_file():
        own |= {"distil": "few-dit"}
    for part, stored in own.items():
        name = "dit" if part == "distil" else part
        (runs / part).mkdir(parents=True, exist_ok=True)
        write({k: v.contiguous() for k, v in shipped(assets, stored).items()}, runs / part / f"{name}.safetensors")
    shutil.copy(assets / TOKENIZER, runs / "text" / "tokenizer.json")


# Better or worse ----------------------------------------------------------------------------------------------------


def worse(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """Why scores of the same command speak against the new weights; empty where they do not."""
    if not new.get(PAINTED) or new[PAINTED]["clips"] < FEW:
        return f"fewer than {FEW} painted clips were judged"
    for key in scores.PAINTED.values():
        if key in new and key in old and new[key]["all"] < old[key]["all"]:
            return f"{key}: {new[key]['all']:.3f} show all they should, {old[key]['all']:.3f} of the shipped weights'"
    return ""


def rival(runs: Path, assets: Path, new: Mapping[str, Any], device: str, seconds: float) -> dict[str, Any]:
    """The shipped weights' scores by the same command and the same judge: the card's, or measured now."""
    path = assets / CARD
    if not path.is_file():
        return {}
    old = json.loads(path.read_text(encoding="utf-8")).get("scores", {})
    if old.get("command") == new.get("command"):
        return old
    there = runs / "shipped"
    unpack(there, assets)
    (there / "judge").mkdir(exist_ok=True)
    shutil.copy(runs / "judge" / judge.FILE, there / "judge" / judge.FILE)
    return scores.measure(there, new["world"], device, new["side"], seconds, new[PAINTED]["clips"])


def publish(runs: Path, assets: Path, device: str, seconds: float, *, force: bool) -> list[str]:
    """Lay out ``runs`` under ``assets`` with its card. Raises InputError where it has none or is worse."""
    path = runs / scores.CARD
    if not path.is_file():
        raise InputError(f"{path} is missing; score the training first: python -m sora.training score --runs {runs}")
    made = json.loads(path.read_text(encoding="utf-8"))
    if not force:
        reason = worse(made["scores"], {})
        reason = reason or worse(made["scores"], rival(runs, assets, made["scores"], device, seconds))
        if reason:
            raise InputError(f"not published: {reason}; train on, or insist with --force")
    changed = lay_out(runs, assets)
    (assets / CARD).write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*changed, CARD]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m sora.training publish", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--into", type=Path, default=weights.ASSETS, help="default: the package's assets")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=10.0, help="to measure the shipped weights in")
    parser.add_argument("--force", action="store_true", help="publish what is worse, or not comparable")
    parser.add_argument("--unpack", action="store_true", help="lay the shipped weights out under --runs instead")
    args = parser.parse_args(argv)
    if args.unpack:
        unpack(args.runs, args.into)
        return
    for name in publish(args.runs, args.into, args.device, 60 * args.minutes, force=args.force):
        print(name)


if __name__ == "__main__":
    main()
