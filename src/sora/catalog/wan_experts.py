"""Wan 2.2's two experts as files, one for high noise and one for low: which one a file is, by its name, and both of
them in a folder. Their tensors are alike, so that nothing but names tells.

Facts: the names in Comfy-Org's, Kijai's, QuantStack's and bullerwins' repositories on the Hugging Face hub
(``wan2.2_t2v_high_noise_14B_fp8_scaled``, ``Wan2_2-T2V-A14B-LOW_fp8``, ``Wan2.2-T2V-A14B-HighNoise-Q4_K_M``), and the
folders of github.com/Wan-Video/Wan2.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from sora import weights
from sora.catalog.wan_keys import KEY_MAPS
from sora.errors import ModelError
from sora.weights import source

ORIGINAL_FOLDERS = ("high_noise_model", "low_noise_model")
_MAX_FILES = 200  # in a folder that are looked into
_MAX_DEPTH = 3  # of folders in one another
_NOT_OF_NOISE = ("vram", "ram", "memory", "mem", "res", "resolution", "quality", "motion", "rank", "detail", "fps")


def expert_of(name: str) -> str | None:
    """ "high" or "low", by the words of a file's or a folder's name; None where it says neither, or both."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = [*re.findall(r"[a-z]+", parted.lower()), ""]
    found = {
        word.removesuffix("noise")
        for word, following in pairwise(words)
        if word in ("highnoise", "lownoise") or (word in ("high", "low") and following not in _NOT_OF_NOISE)
    }
    return found.pop() if len(found) == 1 else None


def is_original(path: Path) -> bool:
    """Whether a folder holds experts in the folders of Wan's own layout."""
    return any((path / name).is_dir() for name in ORIGINAL_FOLDERS)


def transformers_at(path: Path, name: str) -> Sequence[Path]:
    """Where the transformer is that a path leads to, a file or a folder of shards, or the two experts, that of high
    noise first. name: the path as it was typed. Raises ModelError."""
    if is_original(path):
        lacking = [folder for folder in ORIGINAL_FOLDERS if not (path / folder).is_dir()]
        if lacking:
            raise ModelError(f"{name} lacks {lacking[0]}, one of the two experts of Wan 2.2; fetch it, too")
        return tuple(path / folder for folder in ORIGINAL_FOLDERS)
    if not path.is_dir():
        return (path,)
    inside = _inside(path)
    if not inside:
        source.refuse_pickles(path)
        raise ModelError(f"the folder {name} holds no model; expected model_index.json and the folders it names")
    if inside == [path]:
        return (path,)
    found, refusals = _transformers(inside)
    if len(found) == 2 and are_pair(*found):
        return in_order(found[0], found[1], name)
    if refusals and (not found or (len(found) == 1 and _expert_at(found[0]))):
        raise refusals[0]  # it may be the transformer, or the other expert
    if len(found) > 1:
        files = source.abbreviate(found)
        raise ModelError(f"{name} holds {files}; name the one to load, or both experts of Wan 2.2 as HIGH,LOW")
    return (found or inside)[:1]


def _inside(folder: Path) -> list[Path]:
    """The checkpoints in a folder and the folders in it: files, and folders of shards or in diffusers' layout."""
    if (folder / "config.json").is_file() or source.is_named_as_usual(folder):
        return [folder]
    patterns = ["*/" * depth + f"*{suffix}" for depth in range(_MAX_DEPTH) for suffix in source.READ]
    files = [file for pattern in patterns for file in folder.glob(pattern) if file.is_file()]
    if len(files) > _MAX_FILES:
        raise ModelError(f"{folder} holds {len(files)} files of weights; name the one to load")
    return sorted({file.parent if source.all_shards(file.name) else file for file in files})


def _transformers(places: list[Path]) -> tuple[list[Path], list[ModelError]]:
    """(those that are a transformer of Wan's, why others cannot be read)."""
    refusals: list[ModelError] = []
    found: list[Path] = []
    for place in places:
        try:
            if "patch_embedding.weight" in weights.checkpoint_shapes(place, rules=KEY_MAPS["transformer"]):
                found.append(place)
        except ModelError as error:
            refusals.append(error)
    return found, refusals


def check_alone(path: Path, name: str, *, is_half: bool) -> None:
    """Raises ModelError for one of two experts without the other. path: the transformer. is_half: whether its tensors
    are those of one."""
    words = expert_of(path.name)
    if words is None and re.search(r"^(high|low)_?noise(_?model)?$", path.parent.name.lower()):
        words = expert_of(path.parent.name)
    other = {"transformer": "transformer_2", "transformer_2": "transformer"}.get(path.name)
    has_other = other is not None and (path.parent / other).is_dir()
    if not (words or is_half or has_other) or re.search(r"wan[ ._-]?2[._]1", path.name.lower()):
        return
    which = f"the {words}-noise expert" if words else "one expert"
    raise ModelError(
        f"{name} is {which} of Wan 2.2, which paints with two; name both, as --model HIGH,LOW, or a folder that holds"
        " both; a merge of the two in one file is named twice"
    )


def are_pair(first: Path, second: Path) -> bool:
    """Whether the names of two files, or of their folders, say that one is of high noise and one of low."""
    return {_expert_at(first), _expert_at(second)} == {"high", "low"}


def _expert_at(path: Path) -> str | None:
    return expert_of(path.name) or expert_of(path.parent.name)


def in_order(first: Path, second: Path, name: str) -> tuple[Path, Path]:
    """The experts of high and of low noise: by their names, or else in the order in which they were given. Raises
    ModelError for two of one kind."""
    if are_pair(first, second):
        return (first, second) if _expert_at(first) == "high" else (second, first)
    experts = expert_of(first.name), expert_of(second.name)
    if first != second and experts[0] and experts[0] == experts[1]:
        raise ModelError(f"{name} are both {experts[0]}-noise experts; name one of each, as --model HIGH,LOW")
    return (second, first) if experts[0] == "low" or experts[1] == "high" else (first, second)
