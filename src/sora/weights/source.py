"""From a path to the files behind it: one file, a folder of one, or shards named by an index; and which weights these
are, by a fingerprint. Pickles are refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from sora.errors import ModelError
from sora.storage import regular
from sora.storage.stand_in import damage
from sora.weights.strict import table
from sora.weights.tensor_entry import Table

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl")
UNFINISHED = (".part", ".partial", ".incomplete", ".crdownload", ".download", ".aria2", ".tmp")
READ = (".safetensors", ".gguf")
HEAD = 1 << 16  # bytes of each file that are read, in which most headers end

_STEMS = ("diffusion_pytorch_model", "model")
_INDEX = ".safetensors.index.json"
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


def tensor_table(source: Path) -> Table:
    """Every tensor of a checkpoint by its name there, from headers alone. Raises ModelError for what is not there, not
    whole or not read."""
    found: Table = {}
    for file in files(source):
        found_in_file = table(file)
        twice = next((name for name in found_in_file if name in found), None)
        if twice:
            raise ModelError(f"{twice} is in two files of {source}; download them again")
        found |= found_in_file
    return found


def files(source: Path) -> list[Path]:
    """The files of a checkpoint: of the file, or of the folder, as diffusers and transformers lay them out."""
    if source.is_dir():
        return _in_folder(source)
    if source.name.endswith(_INDEX):
        return _shards(source)
    if source.suffix in PICKLES:
        raise pickle_error(source)
    if not source.is_file():
        raise ModelError(f"there are no weights at {source}; check the path, or download them")
    if source.suffix in UNFINISHED:
        raise ModelError(f"{source} is a download that is not complete; go on with it, or download it again")
    if source.suffix not in READ:
        raise ModelError(f"{source} is no weights file that sora reads; expected {' or '.join(READ)}")
    return [source]


def _in_folder(folder: Path) -> list[Path]:
    inside = sorted(path for path in folder.iterdir() if path.is_file())
    for stem in _STEMS:
        whole, index = folder / f"{stem}.safetensors", folder / f"{stem}{_INDEX}"
        if whole in inside:
            return [whole]
        if index in inside:
            return _shards(index)
    for fits in (_is_index, _is_read):
        found = [path for path in inside if fits(path)]
        if len(found) == 1 and not all_shards(found[0].name):
            return files(found[0])
        if found and {path.name for path in found} <= all_shards(found[0].name):
            return _whole(folder, sorted(all_shards(found[0].name)))
        if found:
            raise ModelError(f"{folder} holds {abbreviate(found)}; name the one to load")
    refuse_pickles(folder)
    raise ModelError(f"{folder} holds no weights; expected {_STEMS[0]}.safetensors, its shards, or one .gguf")


def is_named_as_usual(folder: Path) -> bool:
    """Whether a folder's weights are named as diffusers and transformers name them."""
    return any((folder / f"{stem}{end}").is_file() for stem in _STEMS for end in (".safetensors", _INDEX))


def refuse_pickles(folder: Path) -> None:
    """Raises ModelError for a folder that holds one."""
    pickles = sorted(path for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise pickle_error(pickles[0])


def _is_index(path: Path) -> bool:
    return path.name.endswith(_INDEX)


def _is_read(path: Path) -> bool:
    return path.suffix in READ


def _shards(index: Path) -> list[Path]:
    """The files that an index names, which lie in the same folder."""
    try:
        names = sorted(set(regular.read_json(index)["weight_map"].values()))
        if not names or any(Path(name).name != name or Path(name).suffix != ".safetensors" for name in names):
            raise ValueError("it names no shards")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"the index {index} is {damage(index, error)}") from None
    return _whole(index.parent, names)


def _whole(folder: Path, names: list[str]) -> list[Path]:
    """The shards of these names, all of which must be in the folder."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        count = f"{len(missing)} of {len(names)} shards"
        raise ModelError(f"{count} are missing in {folder} ({abbreviate(missing)}); download them")
    return [folder / name for name in names]


def all_shards(name: str) -> set[str]:
    """All shards of the weights of which one is named, which says how many there are; empty for no shard's name."""
    match = _SHARD.search(name)
    if match is None:
        return set()
    stem, count = name[: match.start()], int(match[2])
    return {f"{stem}-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)}


def abbreviate(paths: Iterable[Path | str], most: int = 3) -> str:
    """The names of the first files, for a person."""
    names = [Path(path).name for path in paths]
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def fingerprint(path: Path) -> str:
    """sha256, in hex, of the names, sizes and first bytes of a file, or of all the files of a folder: it changes with
    anything that is saved anew in another shape, number format or place. Raises ModelError."""
    digest = hashlib.sha256()
    inside = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    try:
        for file in inside:
            name = file.relative_to(path).as_posix()
            digest.update(f"{name} {file.stat().st_size}\n".encode(errors="surrogateescape"))
            with regular.opened(file) as opened:
                digest.update(opened.read(HEAD))
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}); check its permissions") from None
    return digest.hexdigest()


def pickle_error(path: Path) -> ModelError:
    """Of a file that is one."""
    return ModelError(
        f"{path} is a pickle, which can run any program when it is opened, so sora does not; get the same weights as"
        " .safetensors (from a -Diffusers repository or ComfyUI's repackaged files) or as .gguf"
    )
