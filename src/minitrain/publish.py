"""Publish trained weights into the packages: ``python -m minitrain publish --runs runs``.

Writes ``mini-vae``, ``mini-text`` and ``mini-dit.safetensors`` in eight bits (``sora.weights.int8``), each only if it
changed, so that the history grows by what is new; the tokenizer, the word list (``vocabulary``) and the card. All of
them go into the assets of ``sora``; the judge stays in this package. A few-step student is published as
``mini-few-lora`` if it is a low-rank difference to its teacher, and as ``mini-few-dit`` if its weights are its own; the
model's row in ``sora.catalog`` says which of the files it uses.

Weights that score worse than the published ones are refused; if the published card was measured by another command, the
published weights are measured by this one first. ``--unpack`` goes the other way. ``all --from`` continues training
from such a folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from safetensors.torch import save_file as write
from torch import Tensor

from minitrain import checkpoint, judge, scores, vocabulary
from minitrain.distil import FULL_FILE, LORA_FILE
from minitrain.stages import START_FILE
from minitrain.training_loop import STATE
from minitrain.worlds import WORLDS, World
from sora import weights
from sora.errors import InputError
from sora.weights.int8 import pack8, unpack8

NETWORKS = ("vae", "text", "dit")
CARD, TOKENIZER = "mini.json", "mini-tokenizer.json"
ACCURACY_KEY = scores.ACCURACY_KEYS["dit"]
MIN_JUDGED_CLIPS = 50  # clips under which a comparison says nothing
BEFORE_COOLDOWN = (
    "dit-before-cooldown"  # the transformer as it was before its learning rate fell: to train on, begin there
)
ASSETS_FOLDER, EXPORT_FOLDER = (
    "assets",
    "export",
)  # folders of a training: as it is published, and in files of at most 16 MiB


@dataclass(frozen=True)
class PublishFolders:
    """Folders of published files. assets: weights, tokenizer, words and card. judge: the judge's file."""

    assets: Path
    judge: Path

    @classmethod
    def in_one_folder(cls, folder: Path) -> PublishFolders:
        """Everything in one folder, for export."""
        return cls(folder, folder)

    @property
    def judge_file(self) -> Path:
        return self.judge / judge.FILE


PUBLISHED = PublishFolders(weights.ASSETS, judge.PUBLISHED_FOLDER)
"""Where the weights are published, and where the judge is: in the trainer, which is in no wheel."""


def asset_name(part: str) -> str:
    return f"mini-{part}.safetensors"


def trained_files(runs: Path) -> dict[str, Path]:
    """The final weights of each network, by the name they are published under."""
    found = {part: runs / part / f"{part}.safetensors" for part in NETWORKS}
    students = {"few-dit": runs / "distil" / FULL_FILE, "few-lora": runs / "distil" / LORA_FILE}
    return found | {part: path for part, path in students.items() if path.is_file()}


def write_assets(runs: Path, folders: PublishFolders) -> list[str]:
    """Write the networks that changed, the tokenizer and the judge; returns the names of changed networks and of a
    changed judge."""
    assets, changed = folders.assets, []
    for folder in (folders.assets, folders.judge):
        folder.mkdir(parents=True, exist_ok=True)
    for part, source in trained_files(runs).items():
        tensors = load_file(source)  # a difference of low rank is small enough in float16
        raw, path = save(tensors if part == "few-lora" else pack8(tensors)), assets / asset_name(part)
        changed += _write_if_changed(path, raw)
    shutil.copy(runs / "text" / "tokenizer.json", assets / TOKENIZER)
    trained = runs / "judge" / judge.FILE
    return changed + (_write_if_changed(folders.judge_file, trained.read_bytes()) if trained.is_file() else [])


def _write_if_changed(path: Path, raw: bytes) -> list[str]:
    """Write a file if it changed; returns its name, or nothing."""
    if path.is_file() and path.read_bytes() == raw:
        return []
    path.write_bytes(raw)
    return [path.name]


def read_published(assets: Path, part: str) -> dict[str, Tensor]:
    """A network's published weights in float32."""
    return unpack8(load_file(assets / asset_name(part)))


def unpack(runs: Path, folders: PublishFolders = PUBLISHED) -> None:
    """Restore the published weights and judge as trainings leave them, to be scored or trained further."""
    assets = folders.assets
    for part in NETWORKS:
        _save_tensors(read_published(assets, part), runs / part / f"{part}.safetensors")
    for part, name in (("few-dit", FULL_FILE), ("few-lora", LORA_FILE)):
        if (assets / asset_name(part)).is_file():
            _save_tensors(read_published(assets, part), runs / "distil" / name)
    shutil.copy(assets / TOKENIZER, runs / "text" / "tokenizer.json")
    _copy_judge(folders.judge_file, runs)


def _copy_judge(source: Path, runs: Path) -> None:
    """Copy the judge's file to where a training has it, if there is one."""
    if source.is_file():
        (runs / "judge").mkdir(parents=True, exist_ok=True)
        shutil.copy(source, runs / "judge" / judge.FILE)


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


# Carrying away and going on -----------------------------------------------------------------------------------------


def export(runs: Path) -> Path:
    """Write what ``all`` exports: ``runs``/assets with what would be published, the judge, and the transformer from
    before its cooldown; and the same in ``runs``/export in files of at most 16 MiB, with logs and contact sheets.
    Returns the latter."""
    assets, out = runs / ASSETS_FOLDER, runs / EXPORT_FOLDER
    write_assets(runs, PublishFolders.in_one_folder(assets))
    shutil.copy(runs / scores.CARD, assets / CARD)
    before = _before_cooldown(runs)
    if before:
        (assets / asset_name(BEFORE_COOLDOWN)).write_bytes(save(pack8(before)))
    for log in runs.glob("*/log.jsonl"):
        shutil.copy(log, assets / f"{log.parent.name}.jsonl")
    checkpoint.pack(assets, out)
    for sheet in (*runs.glob("sheet*.jpg"), *runs.glob("*/sheet*.jpg")):
        if sheet.parent not in (out, assets):
            name = sheet.name if sheet.parent == runs else f"{sheet.parent.name}-{sheet.name}"
            shutil.copy(sheet, out / name)
    return out


def _before_cooldown(runs: Path) -> dict[str, Tensor]:
    """The averaged weights of the saved state, which is from before the learning rate fell."""
    if not checkpoint.exists(runs / "dit" / STATE):
        return {}
    tensors, _ = checkpoint.load_state(runs / "dit" / STATE)
    prefix = "average/dit."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def prepare_start(runs: Path, source: Path, world: World) -> None:
    """Prepare ``runs`` for training from the weights in ``source``, a folder that ``write_assets`` or ``export`` made;
    what it lacks comes from the package. A transformer from before its cooldown is preferred, and the judge is included
    if it knows the world. Raises InputError if there is no transformer, and if a training has begun."""
    if checkpoint.exists(runs / "dit" / STATE):
        raise InputError(f"a training has begun in {runs}; leave --from away to resume it, or name other --runs")
    if checkpoint.exists(source):
        checkpoint.unpack(source, runs / "from")
        source = runs / "from"
    part = next((part for part in (BEFORE_COOLDOWN, "dit") if (source / asset_name(part)).is_file()), None)
    if part is None:
        raise InputError(f"{source} holds no {asset_name('dit')}; name a folder of published weights, or 'shipped'")
    _save_tensors(read_published(source, part), runs / "dit" / START_FILE)
    for name in ("vae", "text"):
        _save_tensors(read_published(_folder_with(source, asset_name(name)), name), runs / name / f"{name}.safetensors")
    shutil.copy(_folder_with(source, TOKENIZER) / TOKENIZER, runs / "text" / "tokenizer.json")
    known = PUBLISHED.judge_file if source == PUBLISHED.assets else source / judge.FILE
    if known.is_file() and scores.judge_knows(judge.load(known), world):
        _copy_judge(known, runs)
    print(f"training from {source / asset_name(part)}", flush=True)


def _folder_with(source: Path, name: str) -> Path:
    """The folder itself if it has the file, else the package's."""
    return source if (source / name).is_file() else weights.ASSETS


# Better or worse ----------------------------------------------------------------------------------------------------


def why_worse(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """Why scores by the same command speak against the new weights; empty if they do not."""
    if not new.get(ACCURACY_KEY) or new[ACCURACY_KEY]["clips"] < MIN_JUDGED_CLIPS:
        return f"fewer than {MIN_JUDGED_CLIPS} painted clips were judged"
    for key in scores.ACCURACY_KEYS.values():
        if key in new and key in old and new[key]["all"] < old[key]["all"]:
            return f"{key}: {new[key]['all']:.3f} are right, {old[key]['all']:.3f} of the published weights'"
    return ""


def published_scores(
    runs: Path, folders: PublishFolders, new: Mapping[str, Any], device: str, seconds: float
) -> dict[str, Any]:
    """The published weights' scores by the same command and the same judge: the card's, or measured now."""
    path = folders.assets / CARD
    if not path.is_file():
        return {}
    old = json.loads(path.read_text(encoding="utf-8")).get("scores", {})
    if old.get("command") == new.get("command"):
        return old
    unpacked = runs / "shipped"
    unpack(unpacked, folders)
    _copy_judge(runs / "judge" / judge.FILE, unpacked)
    return scores.measure_all(unpacked, new["world"], device, new["side"], seconds, new[ACCURACY_KEY]["clips"])


def publish(runs: Path, folders: PublishFolders, device: str, seconds: float, *, force: bool) -> list[str]:
    """Publish the weights under ``runs`` with their card; returns the names of files that changed. Raises InputError if
    there is no card or the weights are worse."""
    path = runs / scores.CARD
    if not path.is_file():
        raise InputError(f"{path} is missing; score the training first: python -m minitrain score --runs {runs}")
    card = json.loads(path.read_text(encoding="utf-8"))
    if not force:
        reason = why_worse(card["scores"], {})
        reason = reason or why_worse(card["scores"], published_scores(runs, folders, card["scores"], device, seconds))
        if reason:
            raise InputError(f"not published: {reason}; train longer, or use --force")
    changed = write_assets(runs, folders)
    changed += vocabulary.write(WORLDS[card["scores"]["world"]], folders.assets)
    (folders.assets / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*changed, CARD]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain publish", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--into", type=Path, help="one folder for everything, instead of the packages")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=10.0, help="for measuring the published weights")
    parser.add_argument("--force", action="store_true", help="publish weights that are worse or not comparable")
    parser.add_argument("--unpack", action="store_true", help="copy the published weights to --runs instead")
    args = parser.parse_args(argv)
    folders = PublishFolders.in_one_folder(args.into) if args.into else PUBLISHED
    if args.unpack:
        unpack(args.runs, folders)
        return
    for name in publish(args.runs, folders, args.device, 60 * args.minutes, force=args.force):
        print(name)


if __name__ == "__main__":
    main()
