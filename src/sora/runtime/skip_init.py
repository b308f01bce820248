"""Networks created without initialising their weights, for weights that come from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

INIT_FUNCTIONS = (
    *(Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_),
    *(nn.init.uniform_, nn.init.normal_, nn.init.constant_, nn.init.kaiming_uniform_),
)
"""What ``reset_parameters`` of torch's modules calls; each gives back the tensor that it fills."""


class SkipInit(TorchFunctionMode):
    """A context in which parameters stay uninitialised. Initialising the embedded model's weights took a third of a
    second; torch's meta device, which skips it too, imports torch's compiler first, a second."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in INIT_FUNCTIONS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
