"""LoRA files (Hu et al. 2021, arXiv 2106.09685) in safetensors: written in the layout of diffusers and peft, read in
those of several trainers. What a file is, is known from its header, without torch.

In memory a LoRA is a dict of tensors under the names of the network's own modules, as ``runtime.lora`` adds them:
``<module>.lora_A.weight`` (rank, in) and ``<module>.lora_B.weight`` (out, rank), whose product is added to the module's
weight; ``.lokr_w1`` and ``.lokr_w2``, whose Kronecker product is (LoKr), or ``.hada_w1_a``, ``.hada_w1_b``,
``.hada_w2_a`` and ``.hada_w2_b`` (LoHa, arXiv 2108.06098); ``.dora_scale`` with any of them (DoRA, arXiv 2402.09353);
and ``<parameter>.diff``, which is added to a parameter as it is. The usual alpha / rank is in the factors already.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sora import weights
from sora.errors import InputError, ModelError, printable
from sora.storage import atomic, refusal, regular
from sora.weights import finite, lora_scale
from sora.weights.lora_names import (
    ALPHA,
    DIFF,
    DOWN,
    READ_KINDS,
    UP,
    UP_BIAS,
    joined,
    modules_in_memory,
    other_kind,
    read_kind,
    split,
)
from sora.weights.names import LayoutRules
from sora.weights.source import PICKLES

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "transformer."  # of every name in the files that are written
SUFFIX = ".safetensors"
PEFT_FILE, DIFFUSERS_FILE = "adapter_model.safetensors", "pytorch_lora_weights.safetensors"
_LOKR_RANK = ".lokr_rank"  # has as many rows as the factors of LoKr are of rank
_SETS = (  # endings of which a module has all or none
    (DOWN, UP),
    (".lokr_w1", ".lokr_w2"),
    (".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b"),
)


def located(path: Path) -> Path:
    """The file of a LoRA: itself, or the one in a folder as peft and diffusers write it. Raises InputError."""
    if not path.is_dir():
        return path
    for name in (PEFT_FILE, DIFFUSERS_FILE):
        if (path / name).is_file():
            return path / name
    inside = sorted(path.iterdir())
    found = [f for f in inside if f.suffix == SUFFIX] or [f for f in inside if f.suffix in PICKLES]
    if len(found) != 1:
        names = ", ".join(each.name for each in found[:3]) or "none"
        raise InputError(f"{path} is a folder of no one LoRA (it holds {names}); name the file")
    return found[0]


def peft_folder(path: Path) -> Path | None:
    """The folder that peft wrote, of a file in it or itself: its ``adapter_config.json`` says how strong the LoRA is,
    which is the only one there. None for any other file."""
    folder = path if path.is_dir() else path.parent
    if not (folder / lora_scale.CONFIG).is_file():
        return None
    alone = path.name == PEFT_FILE or path.is_dir() or len([f for f in folder.iterdir() if f.suffix == SUFFIX]) == 1
    return folder if alone else None


def facts(path: str | Path) -> dict[str, str]:
    """What a LoRA file says about itself ("family", "model", "rank", ...; empty for files of trainers that say
    nothing). Reads the header alone. Raises InputError for what is missing, and ModelError for what is no LoRA."""
    try:
        file = located(Path(path))
        regular.opened(file).close()
    except FileNotFoundError:
        raise InputError(f"there is no LoRA file {path}; check the name") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the LoRA {path} cannot be read ({reason}); check the name") from None
    if file.suffix == ".gguf" or file.suffix in PICKLES:
        raise ModelError(f"{path} is a {file.suffix}, and a LoRA is a .safetensors file; get it in this format")
    names = weights.shapes(file)
    if kind := other_kind(names):
        raise ModelError(f"{path} is an adapter of the kind {kind}, which sora does not read; expected {READ_KINDS}")
    if not read_kind(names):
        problem = f"it holds {printable(next(iter(names)))}" if names else "it is empty"
        raise ModelError(f"{path} is no LoRA that sora can read ({problem}); expected pairs of lora_A and lora_B")
    return weights.metadata(file)


def components(path: str | Path) -> tuple[str, ...]:
    """Those of ``lora_scale.COMPONENTS`` that a file has tensors for: the first, but for what is named for the second.
    Raises InputError and ModelError."""
    first, second = lora_scale.COMPONENTS
    of_second = {name.startswith(second) for name in weights.shapes(located(Path(path)))}
    return tuple(component for component in (first, second) if (component == second) in of_second)


def read(
    path: str | Path, kind: LayoutRules | None = None, component: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(the tensors in memory's names on the CPU, what the file says about itself). What is no part of a LoRA keeps the
    file's name.

    kind: as in ``modules_in_memory``. component: of ``components``, whose tensors alone are read; None for all. Raises
    InputError and ModelError as ``facts`` does, and ModelError for half a pair.
    """
    metadata = facts(path)
    file, folder = located(Path(path)), peft_folder(Path(path))
    found, (first, second) = _loaded(path, file), lora_scale.COMPONENTS
    if component is not None:
        wanted = [name for name in found if name.startswith(second) == (component == second)]
        found = {name.removeprefix(second): found[name] for name in wanted}
    scale = lora_scale.scale_of(file, metadata, folder and folder / lora_scale.CONFIG, component or first)
    places = {name: split(name) for name in found}
    ours = modules_in_memory([pair[0] for pair in places.values() if pair], kind)
    by_module: dict[str, dict[str, Tensor]] = {}
    for name, tensor in found.items():
        module, ending = places[name] or (name, "")
        if by_module.setdefault(ours.get(module, module), {}).setdefault(ending, tensor) is not tensor:
            raise ModelError(f"the LoRA {path} holds {printable(module + ending)} twice; get another")
    theirs = {ours[module]: module for module in ours}
    tensors: dict[str, Tensor] = {}
    for module, own in by_module.items():
        try:
            scaled = _scaled(own, partial(scale.of, theirs.get(module, module)))
        except ValueError as error:
            raise ModelError(f"the LoRA {path} holds {error} for {printable(module)}; download it again") from None
        tensors |= {joined(module, ending): tensor for ending, tensor in scaled.items()}
    return tensors, metadata


def _loaded(path: str | Path, file: Path) -> dict[str, Tensor]:
    """A file's tensors by its own names. path: as it was typed. Raises ModelError for what is damaged or not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(file)
    except SafetensorError as error:
        raise ModelError(f"the LoRA {path} is damaged ({error}); download it again") from None
    for name, tensor in found.items():
        finite.check(tensor, file, name)
    return found


def _scaled(found: dict[str, Tensor], stated: Callable[[int | None], float]) -> dict[str, Tensor]:
    """A module's tensors with its strength in its factors. stated: by the file, of factors of such a rank. Raises
    ValueError for half a pair and for what is no strength."""
    found = _multiplied(found)
    for endings in _SETS:
        if 0 < sum(ending in found for ending in endings) < len(endings):
            raise ValueError("half a pair")
    rank = next((found[e].shape[0] for e in (DOWN, _LOKR_RANK, ".hada_w1_b") if e in found and found[e].ndim), None)
    factor = stated(rank) if ALPHA not in found else _number(found[ALPHA]) / rank if rank else 1.0
    result = {ending: tensor for ending, tensor in found.items() if ending not in (ALPHA, UP_BIAS, _LOKR_RANK)}
    for ending in (UP, ".lokr_w1", ".hada_w1_a"):
        if ending in result and factor != 1:
            result[ending] = (result[ending].float() * factor).to(result[ending].dtype)
    if UP_BIAS in found:
        result[".bias" + DIFF] = found[UP_BIAS].float() * factor
    return result


def _number(alpha: Tensor) -> float:
    number = alpha.float().flatten().tolist()
    if len(number) != 1 or not math.isfinite(number[0]):
        raise ValueError("an alpha that is no number")
    return number[0]


def _multiplied(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """A module's tensors with the factors of LoKr's two matrices multiplied. Raises ValueError where they do not go
    together."""
    found = dict(found)
    for matrix in (".lokr_w1", ".lokr_w2"):
        if f"{matrix}_a" in found or f"{matrix}_b" in found:
            a, b = found.pop(f"{matrix}_a", None), found.pop(f"{matrix}_b", None)
            if a is None or b is None or a.ndim != 2 or b.ndim < 2 or a.shape[1] != b.shape[0]:
                raise ValueError("half a pair")
            found[matrix], found[_LOKR_RANK] = (a.float() @ b.float().flatten(1)).to(a.dtype), b
    return found


def write(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """The tensors (in memory's names) as a file that any trainer's or painter's reader takes, in one step: the path
    holds the old file or the whole new one. Raises InputError.

    Its metadata says for diffusers and peft that every alpha is the rank, since the factors are scaled already.
    """
    from safetensors.torch import save

    named = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    ranks = {name.removesuffix(DOWN): len(tensor) for name, tensor in tensors.items() if name.endswith(DOWN)}
    stated = {lora_scale.METADATA_KEY: json.dumps(_peft_config(ranks), sort_keys=True)} if ranks else {}
    try:
        atomic.write(Path(path), save(named, {"format": "pt", **stated, **metadata}), replace=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {refusal.explain(error, Path(path))}") from None


def _peft_config(ranks: Mapping[str, int]) -> dict[str, object]:
    """Peft's configuration of a LoRA whose factors are used as they are, as diffusers writes it. ranks: by module."""
    usual = Counter(ranks.values()).most_common(1)[0][0]
    others = {f"^{module}": rank for module, rank in ranks.items() if rank != usual}
    config = {"r": usual, "lora_alpha": usual, "rank_pattern": others, "alpha_pattern": others}
    config |= {"target_modules": sorted(ranks), "bias": "none", "use_dora": False, "use_rslora": False}
    return {PREFIX + name: value for name, value in config.items()}
