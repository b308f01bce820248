"""Training states as folders of small files: ``python -m minitrain.checkpoint pack RUNS OUT``.

Tensors are stored in safetensors files of at most 16 MiB; larger tensors are split along their first axis. A manifest
names the files with their SHA-256. Files are named after their content and the manifest is written last, so an
interrupted save leaves the previous state intact. ``pack`` gathers the results of all trainings under one folder into
such files, which are few and easy to copy; ``unpack`` restores them, each tensor in the dtype it had.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor

from sora.errors import ModelError
from sora.storage import atomic

MAX_PART_BYTES = 16 * 2**20  # bytes of a file at most
HEADER_BYTES = 2**17  # bytes kept free for names and shapes
MAX_EXACT_PARTS = 8  # parts that an exact state may take before it is kept compactly
MANIFEST = "manifest.json"
TEXT_SUFFIXES = (".json", ".jsonl", ".txt")

Tensors = dict[str, Tensor]


def exists(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def save_state(folder: Path, tensors: Tensors, values: dict[str, Any], *, limit: int = MAX_PART_BYTES) -> None:
    """Write a state: exactly if it fits into MAX_EXACT_PARTS files, else compressed (see ``compress``)."""
    small = sum(t.nbytes for t in tensors.values()) <= MAX_EXACT_PARTS * (limit - HEADER_BYTES)
    write_parts(folder, tensors if small else compress(tensors), {"values": values, "exact": small}, limit=limit)


def load_state(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """(tensors, values) as they were saved, on the CPU. Raises ModelError for anything missing or damaged."""
    tensors, noted = read_parts(folder)
    return (tensors if noted["exact"] else decompress(tensors)), noted["values"]


# Compact form -------------------------------------------------------------------------------------------------------


def compress(tensors: Tensors) -> Tensors:
    """Less than half the bytes: ``model/`` in float16 (relative error at most 1/2048), ``average/`` as its difference
    from ``model/`` and every ``/momentum`` in eight bits with one scale a row (error at most 1/254 of the row's largest
    value). Everything else stays exact, such as AdamW's second moments, whose range eight bits cannot represent."""
    small: Tensors = {}
    for name, tensor in tensors.items():
        if name.startswith("model/") and tensor.is_floating_point():
            small[f"{name}:half"] = tensor.half()
        elif name.startswith("average/"):
            weights = tensors["model/" + name.removeprefix("average/")]
            small |= _quantize_rows(f"{name}:apart", tensor.float() - weights.half().float())
        elif name.endswith("/momentum"):
            small |= _quantize_rows(f"{name}:eighth", tensor.float())
        else:
            small[name] = tensor
    return small


def decompress(small: Tensors) -> Tensors:
    """The tensors that were compressed, in float32 where they were not exact."""
    tensors: Tensors = {}
    for stored, tensor in small.items():
        name, _, form = stored.partition(":")
        if form == "half":
            tensors[name] = tensor.float()
        elif form == "eighth":
            tensors[name] = _dequantize_rows(tensor, small[f"{name}:step"])
        elif form == "apart":
            whole = small["model/" + name.removeprefix("average/") + ":half"].float()
            tensors[name] = whole + _dequantize_rows(tensor, small[f"{name}:step"])
        elif not form:
            tensors[name] = tensor
    return tensors


def _quantize_rows(stored: str, tensor: Tensor) -> Tensors:
    rows = tensor.reshape(len(tensor) if tensor.ndim else 1, -1)
    step = rows.abs().amax(dim=1) / 127
    whole = torch.where(step[:, None] > 0, rows / step[:, None], 0).round().to(torch.int8)
    return {stored: whole.view(tensor.shape), stored.partition(":")[0] + ":step": step}


def _dequantize_rows(whole: Tensor, step: Tensor) -> Tensor:
    return (whole.reshape(len(step), -1).float() * step[:, None]).view(whole.shape)


# Parts --------------------------------------------------------------------------------------------------------------


def write_parts(
    folder: Path, tensors: Tensors, manifest_values: dict[str, Any], *, limit: int = MAX_PART_BYTES
) -> None:
    """Write tensors in files of at most ``limit`` bytes, and ``manifest_values`` as JSON in the manifest. Files of an
    older state are deleted last."""
    folder.mkdir(parents=True, exist_ok=True)
    parts, pieces = [], {}
    for group in _groups(tensors, limit - HEADER_BYTES, pieces):
        raw = save(group)
        if len(raw) > limit:
            raise ValueError(f"a part of {len(raw)} bytes is over the limit of {limit}")
        digest = hashlib.sha256(raw).hexdigest()
        name = f"part-{len(parts):02d}-{digest[:10]}.safetensors"
        atomic.write(folder / name, raw, replace=True)
        parts.append({"file": name, "bytes": len(raw), "sha256": digest})
    manifest = {"format": 1, "parts": parts, "pieces": pieces, **manifest_values}
    atomic.write(folder / MANIFEST, json.dumps(manifest, indent=1).encode(), replace=True)
    kept = {part["file"] for part in parts}
    for old in (*folder.glob("part-*"), *folder.glob(".*-part-*")):  # and what was never finished
        if old.name not in kept:
            old.unlink()


def read_parts(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """What ``write_parts`` wrote: the tensors and the manifest. Raises ModelError."""
    manifest = _manifest(folder)
    tensors: Tensors = {}
    for part in manifest["parts"]:
        raw = _read_verified(folder / part["file"], part)
        tensors |= load(raw)
    try:
        for name, count in manifest["pieces"].items():
            tensors[name] = torch.cat([tensors.pop(f"{name}#{i}") for i in range(count)])
    except KeyError as missing:
        raise ModelError(f"the state in {folder} lacks the piece {missing}; copy the whole folder again") from None
    return tensors, manifest


def _groups(tensors: Tensors, room: int, pieces: dict[str, int]) -> Iterator[Tensors]:
    """Tensors in their order, as many as fit into ``room`` bytes at a time. ``pieces`` receives the number of pieces of
    each tensor that was split."""
    group: Tensors = {}
    used = 0
    for name, piece in _pieces(tensors, room, pieces):
        size = piece.nbytes + 256
        if group and used + size > room:
            yield group
            group, used = {}, 0
        group[name], used = piece, used + size
    if group:
        yield group


def _pieces(tensors: Tensors, room: int, pieces: dict[str, int]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        if whole.nbytes + 256 <= room:
            yield name, whole
            continue
        rows = (room - 256) * len(whole) // whole.nbytes
        if rows < 1:
            raise ValueError(f"one row of {name} takes more than {room} bytes")
        cut = whole.split(rows)
        pieces[name] = len(cut)
        yield from ((f"{name}#{i}", piece.clone()) for i, piece in enumerate(cut))


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] == 1 and isinstance(manifest["parts"], list) and isinstance(manifest["pieces"], dict):
            return manifest
    except FileNotFoundError:
        raise ModelError(f"no state in {folder}: {MANIFEST} is missing; name the folder that holds it") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise ModelError(f"{path} is damaged or of another format; copy it again or start in a new folder")


def _read_verified(path: Path, part: dict[str, Any]) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError:
        raise ModelError(f"the part {path} is missing; copy all files that {MANIFEST} names into one folder") from None
    if len(raw) != part["bytes"] or hashlib.sha256(raw).hexdigest() != part["sha256"]:
        raise ModelError(f"the part {path} is damaged ({len(raw)} bytes of {part['bytes']}); copy it again")
    return raw


# Whole runs ---------------------------------------------------------------------------------------------------------


def pack(runs: Path, out: Path, only: Sequence[str] = (), *, limit: int = MAX_PART_BYTES) -> list[Path]:
    """Gather the results of all trainings under ``runs`` in few files under ``out``, and return their paths: states as
    they are, final weights in float16, logs and cards as text. only: folders of ``runs`` to include, all if empty."""
    tensors: Tensors = {}
    states: dict[str, Any] = {}
    texts: dict[str, str] = {}
    float32_names: list[str] = []  # tensors that were in float32
    notes: dict[str, dict[str, str]] = {}  # what finished files say about themselves, such as a judge's words
    for path in sorted(p for p in runs.rglob("*") if p.is_file()):
        inside = path.relative_to(runs)
        if only and inside.parts[0] not in only:
            continue
        if path.name == MANIFEST:
            named, noted = read_parts(path.parent)
            states[inside.parent.as_posix()] = {"values": noted["values"], "exact": noted["exact"]}
            tensors |= {f"{inside.parent.as_posix()}|{name}": t for name, t in named.items()}
        elif path.suffix == ".safetensors" and not path.name.startswith("part-"):
            named = {f"{inside.as_posix()}|{name}": t for name, t in load_file(path).items()}
            float32_names += [name for name, t in named.items() if t.dtype == torch.float32]
            tensors |= {name: t.half() if t.is_floating_point() else t for name, t in named.items()}
            with safe_open(path, framework="pt") as file:
                notes[inside.as_posix()] = file.metadata() or {}
        elif path.suffix in TEXT_SUFFIXES:
            texts[inside.as_posix()] = path.read_text(encoding="utf-8")
    if not tensors and not texts:
        raise ModelError(f"nothing to pack under {runs}; name the folder that trainings wrote to")
    write_parts(out, tensors, {"states": states, "texts": texts, "notes": notes, "wide": float32_names}, limit=limit)
    return sorted(out.iterdir())


def unpack(packed: Path, runs: Path, *, limit: int = MAX_PART_BYTES) -> None:
    """Restore what ``pack`` gathered, each tensor in the dtype it had. Raises ModelError if a part is missing."""
    tensors, noted = read_parts(packed)
    if "states" not in noted:
        raise ModelError(f"{packed} is a single state; it needs no unpacking, copy it to where it belongs")
    files: dict[str, Tensors] = {place: {} for place in noted["states"]}
    float32_names = set(noted.get("wide", (name for name, tensor in tensors.items() if tensor.is_floating_point())))
    for name, tensor in tensors.items():
        place, _, own = name.partition("|")
        whole = name in float32_names and place not in noted["states"]
        files.setdefault(place, {})[own] = tensor.float() if whole else tensor
    for place, file_tensors in files.items():
        if place in noted["states"]:
            write_parts(runs / place, file_tensors, noted["states"][place], limit=limit)
        else:
            (runs / place).parent.mkdir(parents=True, exist_ok=True)
            save_file(file_tensors, runs / place, metadata=noted["notes"].get(place))
    for place, text in noted["texts"].items():
        (runs / place).parent.mkdir(parents=True, exist_ok=True)
        (runs / place).write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m minitrain.checkpoint", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack", help="pack the results of trainings into files of at most 16 MiB")
    packing.add_argument("runs", type=Path)
    packing.add_argument("out", type=Path)
    packing.add_argument("--only", nargs="+", default=(), help="folders of RUNS to take, such as dit")
    unpacking = verbs.add_parser("unpack", help="restore them")
    unpacking.add_argument("out", type=Path)
    unpacking.add_argument("runs", type=Path)
    args = parser.parse_args(argv)
    if args.verb == "unpack":
        unpack(args.out, args.runs)
        return
    for path in pack(args.runs, args.out, args.only):
        print(f"{path.stat().st_size:>10} {path}")


if __name__ == "__main__":
    main()
