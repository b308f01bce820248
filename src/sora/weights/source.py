"""From a path to the files behind it: one file, a folder of one, or shards named by an index. Pickles are refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sora.errors import ModelError
from sora.storage import regular
from sora.weights.held import Table
from sora.weights.strict import table

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl")
READ = (".safetensors", ".gguf")

_STEMS = ("diffusion_pytorch_model", "model")
_INDEX = ".safetensors.index.json"


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
        raise _pickle(source)
    if not source.is_file():
        raise ModelError(f"there are no weights at {source}; check the path, or download them")
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
        if len(found) == 1:
            return files(found[0])
        if found:
            raise ModelError(f"{folder} holds {_named(found)}; name the one to load")
    pickles = [path for path in inside if path.suffix in PICKLES]
    if pickles:
        raise _pickle(pickles[0])
    raise ModelError(f"{folder} holds no weights; expected {_STEMS[0]}.safetensors, its shards, or one .gguf")


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
        raise ModelError(f"the index {index} is damaged ({error}); download it again") from None
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        count = f"{len(missing)} of {len(names)} shards"
        raise ModelError(f"{count} are missing beside {index} ({_named(missing)}); download them")
    return [index.parent / name for name in names]


def _named(paths: Iterable[Path | str], most: int = 3) -> str:
    names = [Path(path).name for path in paths]
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _pickle(path: Path) -> ModelError:
    return ModelError(
        f"{path} is a pickle, which can run any program when it is opened, so sora does not; get the same weights as"
        " .safetensors (from a -Diffusers repository or ComfyUI's repackaged files) or as .gguf"
    )
