"""Open weights into a module that stands on the meta device, whatever layout, spelling and number format they are in.

All that can be wrong is found from headers. Then tensors go one by one, in pieces, to their device and dtype;
memory holds what has been loaded and a few tens of megabytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from sora.errors import ModelError
from sora.storage import regular
from sora.weights import finite, loading_time, source
from sora.weights.names import LayoutRules, renamed
from sora.weights.reading import Reader
from sora.weights.scales import fold
from sora.weights.strict import compare, fill
from sora.weights.tensor_entry import SIZES, Table, TensorEntry

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    ModuleT = TypeVar("ModuleT", bound=nn.Module)
    Device = str | torch.device

SMALL = 1 << 20  # bytes of a file that is not searched for holes
_ADVICE = "choose the model that these weights are of, or download them again"


class Store(Protocol):
    """Puts, in place of the linear map at a dotted path, one that keeps its weight in a format of ``weights.formats``.

    Its state has ``blocks``, uint8 of (rows, bytes of a row), and with scales (0, 1 or one a row) ``scale``, float32 as
    uint8. dtype: of the weight once it is unpacked.
    """

    def __call__(self, module: nn.Module, path: str, format: str, *, scales: int, dtype: torch.dtype) -> None: ...


def checkpoint_shapes(path: Path, *, rules: LayoutRules) -> dict[str, tuple[int, ...]]:
    """Name, in our spelling, to shape of every tensor that a network of this kind would take, from headers alone.

    Takes and raises what ``load_checkpoint`` does. Needs no torch.
    """
    return {name: entry.shape for name, entry in _table(path, rules).items()}


@loading_time.counted()
def load_checkpoint(
    module: ModuleT,
    path: Path,
    *,
    rules: LayoutRules,
    dtype: torch.dtype,
    device: Device | Callable[[str], Device] = "cpu",
    keep_small: bool = True,
    store: Store | None = None,
    on_bytes: Callable[[int, int], None] | None = None,
) -> ModuleT:
    """The same module with a checkpoint's tensors in place of its own, in eval mode, frozen.

    module: usually on the meta device; its parameters carry the names of diffusers or transformers.
    path: a .safetensors or .gguf file, an index of shards, or a folder that holds one of these as diffusers and
    transformers lay them out. Names in it may be theirs, or any of the rules' key maps.
    rules: for the names of such a network, out of its family's ``KEY_MAPS``.
    dtype: to compute in.
    device: for all tensors, or a function of the module's names for them.
    keep_small: what diffusers and transformers keep in float32 next to half precision (norms, modulation) stays so.
    store: given, linear maps whose weights are float8 or ggml's blocks keep them so; everything else is unpacked.
    on_bytes: called with (bytes done, bytes in all) after each tensor.

    Raises ModelError, before anything is allocated, for what is missing, damaged, a pickle, in a format that is not
    read, or of another model; and while reading, for a file that ends too early or holds NaN or infinity.
    ValueError as ``load_into``.
    """
    plan = _plan(module, path, rules)
    for file in sorted({entry.file for entry in plan.values()}):
        _check_holes(file)
    dtypes = _dtypes(plan, rules, dtype, keep_small)
    quantized = {name for name, entry in plan.items() if store and _can_stay(module, name, entry)}
    if store:
        for name in quantized:
            scale = plan[name].scale
            scales = scale.numbers if scale else 0
            store(module, name.removesuffix(".weight"), plan[name].format, scales=scales, dtype=dtypes[name])
    place = device if callable(device) else lambda _: device
    tensors: dict[str, Tensor] = {}
    done, total = 0, sum(entry.nbytes for entry in plan.values())
    with Reader() as reader:
        for name, entry in sorted(plan.items(), key=lambda item: (item[1].file, item[1].start)):
            tensors |= _read(reader, name, entry, name in quantized, dtypes[name], place(name))
            done += entry.nbytes
            if on_bytes:
                on_bytes(done, total)
    return fill(module, tensors)


def _check_holes(file: Path) -> None:
    """Raises ModelError for a file of which less than half is stored. File systems that compress store zeros as holes,
    which a checkpoint has few of."""
    size = file.stat().st_size
    if size > SMALL and (written := regular.bytes_on_disk(file)) < size / 2:
        message = f"{file} is mostly holes, {written:,} of its {size:,} bytes are on the disk"
        raise ModelError(f"{message}; the download is not complete, go on with it")


def _plan(module: nn.Module, path: Path, rules: LayoutRules) -> Table:
    """Where the tensor of each of the module's names stands. Raises ModelError."""
    table, one = _table(path, rules), rules.canonical
    state = module.state_dict()
    found = {name: entry.shape for name, entry in table.items()}
    compare(path, found, {one(name): tuple(tensor.shape) for name, tensor in state.items()}, _ADVICE)

    from sora.weights.formats import FORMATS

    for name, entry in table.items():
        if entry.format not in FORMATS:
            raise ModelError(f"{path}: {name} is stored as {entry.format}, which sora does not read; get the fp16 file")
    return {name: table[one(name)] for name in state}


def _table(path: Path, rules: LayoutRules) -> Table:
    """The tensors that a network of this kind wants, under our one name for each."""
    entries = source.tensor_table(path)
    wanted: Table = {}
    for theirs, name in renamed(entries, rules).items():
        if name not in wanted:
            wanted[name] = entries[theirs]
        elif wanted[name].shape != entries[theirs].shape:
            raise ModelError(f"{path} holds two different tensors for {name}; download it again")
    return fold(path, wanted)


def _dtypes(names: Iterable[str], rules: LayoutRules, dtype: torch.dtype, keep_small: bool) -> dict[str, torch.dtype]:
    """The dtype of each: float32 for what stays in it next to this one."""
    import torch

    keeps = keep_small and str(dtype).removeprefix("torch.") in rules.half_dtypes
    return {name: torch.float32 if keeps and re.search(rules.float32, name) else dtype for name in names}


def _can_stay(module: nn.Module, name: str, entry: TensorEntry) -> bool:
    """Whether this is a linear map's weight in a format that it can be used from."""
    from torch import nn

    from sora.weights.formats import STORABLE

    path, _, leaf = name.rpartition(".")
    whole = entry.shape[-1:] and entry.shape[-1] % SIZES[entry.format][0] == 0
    return bool(whole and entry.format in STORABLE and leaf == "weight") and isinstance(
        module.get_submodule(path), nn.Linear
    )


def _read(
    reader: Reader, name: str, entry: TensorEntry, quantized: bool, dtype: torch.dtype, device: Device
) -> dict[str, Tensor]:
    """The tensors, by name in the module's state, that this one of the file becomes. Raises ModelError for NaN and
    infinity."""
    import torch

    if not quantized:
        numbers = reader.numbers(entry, dtype, device)
        finite.check(numbers, entry.file, name)
        return {name: numbers}

    from sora.weights.formats import blocks_are_finite

    stem = name.removesuffix("weight")
    parts = {stem + "blocks": reader.blocks(entry, device)}
    if not blocks_are_finite(parts[stem + "blocks"], entry.format):
        raise finite.not_finite(entry.file, name)
    if entry.scale:
        scale = reader.numbers(entry.scale, torch.float32, device).view(-1)
        finite.check(scale, entry.file, f"{name}'s scale")
        parts[stem + "scale"] = scale.view(torch.uint8)
    return parts
