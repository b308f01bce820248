"""Low-rank adapters, LoRA (Hu et al. 2021, arXiv 2106.09685): a linear layer W becomes W + (alpha / rank) B A, of which
only A (rank, in) and B (out, rank) are trained.

``inject`` adapters to train, ``extract`` their tensors, ``merge`` these into the weights of another copy. Tensors go by
the names of the network's own modules, as ``weights.lora_file`` reads and writes them: ``<module>.lora_A.weight``,
``<module>.lora_B.weight`` with alpha / rank in B already, ``<parameter>.diff``, and those of LoRA's relatives
(``lora_changes``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sora.errors import ModelError
from sora.runtime.lora_changes import Factors, by_parameter, changed, misfit, names, summary
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
    """Add strength times what the LoRA changes to every weight that it has: exact, and as fast as before. Sums are
    computed in float32 and rounded once to the weight's dtype. A quantized weight keeps its adapter as a layer of its
    own.

    label: the file's name, for messages. Raises ModelError, before anything is changed, for tensors that have no
    counterpart in the module or another shape.
    """
    check_fits(module, tensors, label)
    changes = by_parameter(tensors)
    parameters = {_plain(name): parameter for name, parameter in module.named_parameters()}
    for name, factors in changes.items():
        path = name.removesuffix(".weight")
        if name not in parameters:
            base: Any = module.get_submodule(path)
            low_rank = set(factors) == {"lora_A.weight", "lora_B.weight"}
            layer = _adapter(base, factors, strength) if low_rank else ChangedLinear(base, factors, strength)
            _replace(module, path, layer)
        else:
            parameters[name].copy_(changed(parameters[name], factors, strength))


def check_fits(module: nn.Module, tensors: Mapping[str, Tensor], label: str) -> None:
    """Raise ModelError for tensors that ``merge`` would refuse. The module may be on the meta device."""
    for reason in _misfits(module, by_parameter(tensors)).values():
        raise ModelError(f"{label} does not fit this model: {reason}; expected one trained on the same model")


def fitting(
    module: nn.Module, tensors: Mapping[str, Tensor], label: str, *, strict: bool = False
) -> tuple[dict[str, Tensor], str]:
    """(the tensors that ``merge`` takes, a line about the others, empty where it takes all). The module may be on the
    meta device.

    label: as in ``merge``. Raises ModelError where it takes none, or with ``strict`` not all.
    """
    changes = by_parameter(tensors)
    misfits = _misfits(module, changes)
    if not misfits:
        return dict(tensors), ""
    first = next(iter(misfits.values()))
    if len(misfits) == len(changes):
        raise ModelError(f"{label} does not fit this model: {first}; expected one trained on the same model")
    line = f"{label}: {len(misfits)} of {len(changes)} changes do not fit this model"
    if strict:
        raise ModelError(f"{line}: {first}; leave --strict out to add the others")
    return names(tensors, changes.keys() - misfits.keys()), f"{line} and are left out ({summary(misfits)})"


def _misfits(module: nn.Module, changes: Mapping[str, Factors]) -> dict[str, str]:
    """Parameters that cannot be changed so, and why."""
    shapes = {_plain(name): tuple(parameter.shape) for name, parameter in module.named_parameters()}
    for path, child in module.named_modules():
        if isinstance(child, QuantizedLinear | LoraLinear | ChangedLinear):
            shapes[_plain(path) + ".weight"] = (child.out_features, child.in_features)
    found = {name: misfit(name, factors, shapes) for name, factors in changes.items()}
    return {name: reason for name, reason in found.items() if reason}


def _plain(name: str) -> str:
    """A name without the layers around the one that it is of."""
    return re.sub(r"\.base\b", "", name)


class ChangedLinear(nn.Module):
    """A frozen linear layer, quantized or with adapters, whose weight is changed anew on every use as ``merge`` would
    change it once."""

    def __init__(self, base: QuantizedLinear | LoraLinear | ChangedLinear, factors: Factors, strength: float) -> None:
        super().__init__()
        self.base, self.strength = base.requires_grad_(False), strength
        self.in_features, self.out_features = base.in_features, base.out_features
        self._endings = {ending.replace(".", "_"): ending for ending in factors}
        for name, ending in self._endings.items():
            self.register_buffer(name, factors[ending].to(base.weight.device))

    @property
    def weight(self) -> Tensor:
        factors = {ending: self.get_buffer(name) for name, ending in self._endings.items()}
        return changed(_weight(self.base), factors, self.strength).to(self.base.weight.dtype)

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x), None if self.bias is None else self.bias.to(x))


def _weight(layer: nn.Module) -> Tensor:
    """The weight that a layer computes with, its adapter's share included, in float32."""
    if isinstance(layer, LoraLinear):
        return _weight(layer.base) + layer.scale * (layer.lora_B @ layer.lora_A)
    return layer.weight.float()  # type: ignore[union-attr, operator]


def _adapter(base: QuantizedLinear | LoraLinear, factors: Factors, strength: float) -> LoraLinear:
    down, up = factors["lora_A.weight"].flatten(1), factors["lora_B.weight"].flatten(1)
    adapter = LoraLinear(base, len(down), strength * len(down))  # type: ignore[arg-type]
    adapter.lora_A.copy_(down)
    adapter.lora_B.copy_(up)
    return adapter.requires_grad_(False)


def _adapters(module: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    return ((name, child) for name, child in module.named_modules() if isinstance(child, LoraLinear))


def _replace(module: nn.Module, path: str, child_module: nn.Module) -> None:
    """Replace the module's child at a dotted path."""
    parent, _, child = path.rpartition(".")
    setattr(module.get_submodule(parent), child, child_module)  # a ModuleList keeps "0" as an attribute too
