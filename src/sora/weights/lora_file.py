"""LoRA files (Hu et al. 2021, arXiv 2106.09685) in safetensors: written in the layout of diffusers and peft, read in
those of several trainers. What a file is, is known from its header, without torch.

In memory a LoRA is a dict of tensors under the names of the network's own modules:
``<module>.lora_A.weight`` (rank, in) and ``<module>.lora_B.weight`` (out, rank), whose product is added to the module's
weight; the usual alpha / rank is in B already. ``<parameter>.diff`` is added to a parameter as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sora import atomic, weights
from sora.errors import InputError, ModelError

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
# Wan's own names for its modules -> those of diffusers, which the networks here carry.
_WAN = (
    (r"\bself_attn\b", "attn1"),
    (r"\bcross_attn\b", "attn2"),
    (r"\b(attn[12])\.([qkv])\b", r"\1.to_\2"),
    (r"\b(attn[12])\.o\b", r"\1.to_out.0"),
    (r"\battn2\.([kv])_img\b", r"attn2.add_\1_proj"),
    (r"\bffn\.0\b", "ffn.net.0.proj"),
    (r"\bffn\.2\b", "ffn.net.2"),
    (r"\bnorm3\b", "norm2"),
    (r"^text_embedding\.0\b", "condition_embedder.text_embedder.linear_1"),
    (r"^text_embedding\.2\b", "condition_embedder.text_embedder.linear_2"),
    (r"^time_embedding\.0\b", "condition_embedder.time_embedder.linear_1"),
    (r"^time_embedding\.2\b", "condition_embedder.time_embedder.linear_2"),
    (r"^time_projection\.1\b", "condition_embedder.time_proj"),
    (r"^head\.head\b", "proj_out"),
)
# kohya's trainers flatten dots into underscores.
_FLAT = re.compile(r"lora_unet_blocks_(\d+)_(self_attn|cross_attn|ffn)_(\w+)")


def canonical(name: str) -> str | None:
    """A tensor's name in a file as it is called in memory, ``.alpha`` too; None for what is no part of a LoRA."""
    for ending, ours in _ENDINGS.items():
        if name.endswith(ending):
            return _module(name.removesuffix(ending)) + ours
    return None


def _module(path: str) -> str:
    """The path of a module in the names of diffusers."""
    for prefix in _PREFIXES:
        path = path.removeprefix(prefix)
    path = _FLAT.sub(r"blocks.\1.\2.\3", path)
    for theirs, ours in _WAN:
        path = re.sub(theirs, ours, path)
    return path


def facts(path: str | Path) -> dict[str, str]:
    """What a LoRA file says about itself ("family", "model", "rank", ...; empty for files of trainers that say
    nothing). Reads the header alone. Raises InputError for what is missing, and ModelError for what is no LoRA."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"there is no LoRA file {path}; check the name")
    names = weights.shapes(file)
    strange = [name for name in names if canonical(name) is None]
    if strange or not names:
        held = f"it holds {strange[0]}" if strange else "it is empty"
        raise ModelError(f"{path} is no LoRA that sora can read ({held}); expected pairs of lora_A and lora_B")
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    said = header.get("__metadata__") or {}
    return {str(k): str(v) for k, v in said.items()}


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(the tensors in memory's names on the CPU, what the file says about itself).

    Raises InputError and ModelError as ``facts`` does, and ModelError for half a pair.
    """
    said = facts(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        held = {canonical(name) or "": tensor for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise ModelError(f"the LoRA {path} is damaged ({error}); download it again") from None
    found = {name: tensor for name, tensor in held.items() if not name.endswith(ALPHA)}
    for module in modules(held):
        if module + DOWN not in found or module + UP not in found:
            raise ModelError(f"the LoRA {path} holds half a pair for {module}; download it again")
        if module + ALPHA in held:
            up = found[module + UP]
            scale = held[module + ALPHA].float().item() / up.shape[1]
            found[module + UP] = (up.float() * scale).to(up.dtype)
    return found, said


def write(path: str | Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> None:
    """The tensors (in memory's names) as a file that any trainer's or painter's reader takes, in one step: the path
    holds the old file or the whole new one. Raises InputError."""
    from safetensors.torch import save

    named = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        atomic.write(Path(path), save(named, {"format": "pt", **said}), replace=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from None


def modules(names: Iterable[str]) -> list[str]:
    """The modules that tensors of these names pair up for, sorted."""
    endings = (DOWN, UP, ALPHA)
    return sorted({name.removesuffix(e) for name in names for e in endings if name.endswith(e)})
