"""LoRA files (Hu et al. 2021, arXiv 2106.09685) in safetensors: written in the layout of diffusers and peft, read in
those of several trainers. What a file is, is known from its header, without torch.

In memory a LoRA is a dict of tensors under the names of the network's own modules:
``<module>.lora_A.weight`` (rank, in) and ``<module>.lora_B.weight`` (out, rank), whose product is added to the module's
weight; the usual alpha / rank is in B already. ``<parameter>.diff`` is added to a parameter as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sora import weights
from sora.errors import InputError, ModelError
from sora.storage import atomic, refusal, regular
from sora.weights import finite
from sora.weights.names import LayoutRules

if TYPE_CHECKING:
    from torch import Tensor

DOWN, UP, ALPHA, DIFF = ".lora_A.weight", ".lora_B.weight", ".alpha", ".diff"
PREFIX = "transformer."  # of every name in the files that are written

_PREFIXES = ("transformer.", "diffusion_model.", "model.diffusion_model.", "base_model.model.", "unet.")
_ENDINGS = {  # of names in files -> what they are called here
    ".lora_A.weight": DOWN,
    ".lora_B.weight": UP,
    ".lora_A.default.weight": DOWN,
    ".lora_B.default.weight": UP,
    ".lora_down.weight": DOWN,
    ".lora_up.weight": UP,
    ".lora.down.weight": DOWN,
    ".lora.up.weight": UP,
    ".alpha": ALPHA,
    ".diff_b": ".bias" + DIFF,
    ".diff": ".weight" + DIFF,
}


def canonical(names: Iterable[str], kind: LayoutRules | None = None) -> dict[str, str | None]:
    """The tensors' names in one file -> what they are called in memory, ``.alpha`` too; None for what is no part of a
    LoRA. kind: what is known of the transformer's names, None for our own names alone."""
    split = {name: _split(name) for name in names}
    paths = {path for path, _ in filter(None, split.values())}
    modules_of = kind.to_ours(paths) if kind else {path: path for path in paths}
    return {name: None if parts is None else modules_of[parts[0]] + parts[1] for name, parts in split.items()}


def _split(name: str) -> tuple[str, str] | None:
    """(the path of a module without what trainers put before it, our ending)."""
    for ending, ours in _ENDINGS.items():
        if name.endswith(ending):
            path = name.removesuffix(ending)
            for prefix in _PREFIXES:
                path = path.removeprefix(prefix)
            return path, ours
    return None


def facts(path: str | Path) -> dict[str, str]:
    """What a LoRA file says about itself ("family", "model", "rank", ...; empty for files of trainers that say
    nothing). Reads the header alone. Raises InputError for what is missing, and ModelError for what is no LoRA."""
    file = Path(path)
    try:
        regular.opened(file).close()
    except FileNotFoundError:
        raise InputError(f"there is no LoRA file {path}; check the name") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the LoRA {path} cannot be read ({reason}); check the name") from None
    if file.suffix == ".gguf":
        raise ModelError(f"{path} is a .gguf, and a LoRA is a .safetensors file; get it in this format")
    names = weights.shapes(file)
    strange = [name for name, ours in canonical(names).items() if ours is None]
    if strange or not names:
        problem = f"it holds {strange[0]}" if strange else "it is empty"
        raise ModelError(f"{path} is no LoRA that sora can read ({problem}); expected pairs of lora_A and lora_B")
    return weights.metadata(file)


def read(path: str | Path, kind: LayoutRules | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(the tensors in memory's names on the CPU, what the file says about itself).

    kind: as in ``canonical``, out of a family's ``KEY_MAPS``. Raises InputError and ModelError as ``facts`` does, and
    ModelError for half a pair.
    """
    metadata = facts(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"the LoRA {path} is damaged ({error}); download it again") from None
    for name, tensor in found.items():
        finite.check(tensor, Path(path), name)
    ours = canonical(found, kind)
    ours_by_name = {ours[name] or "": tensor for name, tensor in found.items()}
    found = {name: tensor for name, tensor in ours_by_name.items() if not name.endswith(ALPHA)}
    for module in modules(ours_by_name):
        if module + DOWN not in found or module + UP not in found:
            raise ModelError(f"the LoRA {path} holds half a pair for {module}; download it again")
        if module + ALPHA in ours_by_name:
            up = found[module + UP]
            scale = ours_by_name[module + ALPHA].float().item() / up.shape[1]
            found[module + UP] = (up.float() * scale).to(up.dtype)
    return found, metadata


def write(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """The tensors (in memory's names) as a file that any trainer's or painter's reader takes, in one step: the path
    holds the old file or the whole new one. Raises InputError."""
    from safetensors.torch import save

    named = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        atomic.write(Path(path), save(named, {"format": "pt", **metadata}), replace=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {refusal.explain(error, Path(path))}") from None


def modules(names: Iterable[str]) -> list[str]:
    """The modules that tensors of these names pair up for, sorted."""
    endings = (DOWN, UP, ALPHA)
    return sorted({name.removesuffix(e) for name in names for e in endings if name.endswith(e)})
