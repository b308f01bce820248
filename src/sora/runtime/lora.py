"""Low-rank adapters, LoRA (Hu et al. 2021, arXiv 2106.09685): a linear layer W becomes W + (alpha / rank) B A, of which
only A (rank, in) and B (out, rank) are trained.

``inject`` adapters to train, ``extract`` their tensors, ``merge`` these into the weights of another copy. Tensors go by
the names of the network's own modules, as ``weights.lora_file`` reads and writes them: ``<module>.lora_A.weight``,
``<module>.lora_B.weight`` with alpha / rank in B already, and ``<parameter>.diff``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sora.errors import ModelError
from sora.runtime.quantized import QuantizedLinear


class LoraLinear(nn.Module):
    """A frozen linear layer with a parallel adapter in float32. It starts out equal to the layer: B is zero."""

    def __init__(self, base: nn.Linear | QuantizedLinear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features, device=base.weight.device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank, device=base.weight.device))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)

    @property
    def in_features(self) -> int:
        return self.lora_A.shape[1]

    @property
    def out_features(self) -> int:
        return self.lora_B.shape[0]

    @property
    def weight(self) -> Tensor:  # networks ask their maps for a dtype
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        update = F.linear(F.linear(x.float(), self.lora_A), self.lora_B * self.scale)
        return self.base(x) + update.type_as(x)


def inject(module: nn.Module, rank: int, *, targets: Sequence[str], alpha: float | None = None) -> list[nn.Parameter]:
    """Add an adapter to every linear layer whose name is or ends in one of ``targets``, and freeze everything else.
    Returns the parameters to train, in the order of the modules. alpha: None is the rank, a scale of 1.

    Raises ValueError where no layer has such a name.
    """
    chosen = [
        name for name, child in module.named_modules() if isinstance(child, nn.Linear) and _is_target(name, targets)
    ]
    if not chosen:
        raise ValueError(f"no linear map of {type(module).__name__} is called {', '.join(targets)}")
    module.requires_grad_(False)
    for name in chosen:
        linear = module.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        _replace(module, name, LoraLinear(linear, rank, rank if alpha is None else alpha))
    return [p for _, adapter in _adapters(module) for p in (adapter.lora_A, adapter.lora_B)]


def _is_target(name: str, targets: Sequence[str]) -> bool:
    """Whether a module's name is one of the targets, or ends in one."""
    return any(name == target or name.endswith("." + target) for target in targets)


def extract(module: nn.Module) -> dict[str, Tensor]:
    """Return the adapters' tensors, float32 copies on the CPU, with the scale in B."""
    found: dict[str, Tensor] = {}
    for name, adapter in _adapters(module):
        found[f"{name}.lora_A.weight"] = adapter.lora_A.detach().float().cpu().clone()
        found[f"{name}.lora_B.weight"] = (adapter.lora_B.detach().float() * adapter.scale).cpu()
    return found


@torch.no_grad()
def load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set injected adapters to tensors as ``extract`` returns them. Raises KeyError for one that is missing."""
    for name, adapter in _adapters(module):
        adapter.lora_A.copy_(tensors[f"{name}.lora_A.weight"])
        adapter.lora_B.copy_(tensors[f"{name}.lora_B.weight"] / adapter.scale)


def remove(module: nn.Module) -> None:
    """Remove all adapters and what they learnt."""
    for name, adapter in list(_adapters(module)):
        _replace(module, name, adapter.base)


@torch.no_grad()
def merge(module: nn.Module, tensors: Mapping[str, Tensor], strength: float = 1.0, *, label: str = "the LoRA") -> None:
    """Add strength * B A to every weight W that the LoRA has: exact, and as fast as before. Sums are computed in
    float32 and rounded once to the weight's dtype. A quantized weight keeps its adapter as a layer of its own.

    label: the file's name, for messages. Raises ModelError, before anything is changed, for tensors that have no
    counterpart in the module or another shape.
    """
    quantized = _quantized_targets(module, tensors, label)
    changes = list(_changes(module, {k: v for k, v in tensors.items() if _module_of(k) not in quantized}, label))
    for path in quantized:
        _replace(module, path, _adapter(module.get_submodule(path), tensors, path, strength))
    for parameter, change in changes:
        added = change[0] if len(change) == 1 else _matmul(*change, like=parameter)
        added = added.to(parameter.device, torch.float32)
        parameter.copy_(parameter.float() + strength * added.reshape(parameter.shape))


def check_fits(module: nn.Module, tensors: Mapping[str, Tensor], label: str) -> None:
    """Raise ModelError for tensors that ``merge`` would refuse. The module may be on the meta device."""
    for _ in _changes(module, tensors, label):
        pass


def _module_of(name: str) -> str:
    return name.rsplit(".lora_", 1)[0]


def _quantized_targets(module: nn.Module, tensors: Mapping[str, Tensor], label: str) -> list[str]:
    """The paths of quantized layers that the LoRA has a pair for. Raises ModelError for a pair of another shape."""
    maps = {path: child for path, child in module.named_modules() if isinstance(child, QuantizedLinear | LoraLinear)}
    found = [path for path in maps if f"{path}.lora_B.weight" in tensors]
    for path in found:
        (out, rank), (ranks, width) = (tensors[f"{path}.lora_{letter}.weight"].shape for letter in "BA")
        if (out, rank, width) != (maps[path].out_features, ranks, maps[path].in_features):
            raise ModelError(f"{label} does not fit this model at {path}; expected one trained on the same model")
    return found


def _adapter(base: nn.Module, tensors: Mapping[str, Tensor], path: str, strength: float) -> LoraLinear:
    down, up = (tensors[f"{path}.lora_{name}.weight"] for name in "AB")
    adapter = LoraLinear(base, len(down), strength * len(down))  # type: ignore[arg-type]
    adapter.lora_A.copy_(down)
    adapter.lora_B.copy_(up)
    return adapter.requires_grad_(False)


def _matmul(up: Tensor, down: Tensor, like: Tensor) -> Tensor:
    return up.to(like.device, torch.float32).flatten(1) @ down.to(like.device, torch.float32).flatten(1)


def _changes(
    module: nn.Module, tensors: Mapping[str, Tensor], label: str
) -> Iterator[tuple[nn.Parameter, tuple[Tensor, ...]]]:
    """(a parameter, what to add to it: one tensor, or B and A). Raises ModelError."""
    parameters = dict(module.named_parameters())
    for name, tensor in tensors.items():
        if name.endswith(".lora_A.weight"):
            continue  # comes with its B
        path, is_pair = name.removesuffix(".diff"), name.endswith(".lora_B.weight")
        if is_pair:
            path = name.removesuffix(".lora_B.weight") + ".weight"
        if path not in parameters:
            raise ModelError(f"{label} does not fit this model: it changes {path}, which is not there; choose another")
        parts = (tensor, tensors[path.removesuffix(".weight") + ".lora_A.weight"]) if is_pair else (tensor,)
        if not _fits(parameters[path], parts):
            shapes = " x ".join(str(tuple(p.shape)) for p in parts)
            there = f"{shapes} for {path} of {tuple(parameters[path].shape)}"
            raise ModelError(f"{label} does not fit this model ({there}); expected one trained on the same model")
        yield parameters[path], parts


def _fits(parameter: Tensor, parts: tuple[Tensor, ...]) -> bool:
    if len(parts) == 1:
        return parts[0].shape == parameter.shape
    up, down = parts[0].flatten(1), parts[1].flatten(1)
    flat = parameter.flatten(1) if parameter.ndim > 1 else parameter[:, None]
    return up.shape[1] == down.shape[0] and (up.shape[0], down.shape[1]) == tuple(flat.shape)


def _adapters(module: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    return ((name, child) for name, child in module.named_modules() if isinstance(child, LoraLinear))


def _replace(module: nn.Module, path: str, child_module: nn.Module) -> None:
    """Replace the module's child at a dotted path."""
    parent, _, child = path.rpartition(".")
    setattr(module.get_submodule(parent), child, child_module)  # a ModuleList keeps "0" as an attribute too
