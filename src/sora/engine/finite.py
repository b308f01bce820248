"""NaN and infinity while painting: found at the step where they appear, and traced to the layer that made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from sora.errors import ModelError
from sora.weights.finite import is_finite

_NARROW = "choose a wider --dtype"
_DAMAGED = "check the weights with `sora models verify`, and try without --lora"


class NotFinite(ModelError):
    """NaN or infinity where numbers belong. Nothing that holds them is kept or written."""


def check(tensor: Tensor, what: str, compute: Callable[[], object] | None = None) -> None:
    """Raises NotFinite where a tensor of any shape holds NaN or infinity. Waits for its device.

    what: the tensor's name in the message, in the plural, as "the latents of step 3 of 12". compute: computes the
    tensor once more, to find the layer.
    """
    if is_finite(tensor):
        return
    layer = None if compute is None else first_layer(compute)
    where = f", first in the output of {layer}" if layer else ""
    advice = _NARROW if tensor.dtype == torch.float16 else _DAMAGED
    raise NotFinite(f"{what} hold NaN or infinity{where}; {advice}")


def first_layer(compute: Callable[[], object]) -> str | None:
    """Runs ``compute`` once more, uncompiled, and returns the path of the first module whose output holds NaN or
    infinity, with its class, as "blocks.3.ffn (FeedForward)"; None where none does."""
    found: list[str] = []
    # What this run itself raises, as for memory, must not hide that numbers went wrong.
    with suppress(Exception), _watched(found), torch.compiler.set_stance("force_eager"):
        compute()
    return found[0] if found else None


@contextmanager
def _watched(found: list[str]) -> Iterator[None]:
    """Add to ``found`` each module that is called in the block and whose output is not finite, inner modules first."""
    entered: list[nn.Module] = []

    def enter(module: nn.Module, inputs: object) -> None:  # noqa: ARG001
        entered.append(module)

    def leave(module: nn.Module, inputs: object, output: object) -> None:  # noqa: ARG001
        if not found and not all(map(is_finite, _tensors(output))):
            found.append(f"{_path(entered)} ({type(module).__name__})")
        while entered and entered.pop() is not module:
            pass

    handles = [hooks.register_module_forward_pre_hook(enter), hooks.register_module_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: object) -> list[Tensor]:
    """The tensors in what a module returned, also in tuples and lists."""
    if isinstance(output, Tensor):
        return [output]
    return [each for item in output for each in _tensors(item)] if isinstance(output, tuple | list) else []


def _path(entered: list[nn.Module]) -> str:
    """The dotted path of the last module from the first, where each was called by the one before it."""
    names: list[str] = []
    for parent, child in pairwise(entered):
        names += [name for name, module in parent.named_modules() if module is child][:1]
    return ".".join(names)
