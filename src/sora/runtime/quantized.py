"""Linear layers whose weights stay quantized in memory, as they are in a file: eight-bit floats or ggml's blocks (the
formats of ``weights.formats``). They are dequantized on every use, on their own device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sora.weights.formats import FORMATS, STORABLE, dequantize


class QuantizedLinear(nn.Module):
    """x W^T + b with W in one of the STORABLE formats.

    Everything but the bias is held as bytes, the float32 scales too, so that ``module.to(dtype)`` leaves it alone. A
    new one is uninitialised: fill it with ``load_state_dict``.
    """

    blocks: Tensor
    scale: Tensor | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        format: str,
        *,
        bias: bool = True,
        scales: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        """scales: 0, 1 or out_features. dtype: of ``weight`` and the bias. ValueError where rows do not divide into
        blocks."""
        super().__init__()
        layout = FORMATS[format]
        if in_features % layout.block or format not in STORABLE:
            raise ValueError(f"rows of {in_features} numbers cannot be stored as {format}")
        self.in_features, self.out_features, self.format, self.dtype = in_features, out_features, format, dtype
        row = in_features // layout.block * layout.size
        self.register_buffer("blocks", torch.empty(out_features, row, dtype=torch.uint8, device=device))
        self.register_buffer("scale", torch.empty(4 * scales, dtype=torch.uint8, device=device) if scales else None)
        parameter = nn.Parameter(torch.empty(out_features, dtype=dtype, device=device)) if bias else None
        self.register_parameter("bias", parameter)

    @property
    def weight(self) -> Tensor:
        """(out_features, in_features) in ``dtype``, dequantized anew each time."""
        return self.dequantize(self.dtype)

    def dequantize(self, dtype: torch.dtype) -> Tensor:
        scale_R = None if self.scale is None else self.scale.view(torch.float32)
        return dequantize(self.blocks, self.format, dtype, scale_R)

    def forward(self, x: Tensor) -> Tensor:
        """In the dtype of x."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.dequantize(x.dtype), bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, format={self.format}"


@torch.no_grad()
def quantize_to_float8(module: nn.Module) -> None:
    """Quantize the weight of every linear layer inside to float8, with one scale for each row so that the row's largest
    number is float8's largest. Layers are converted one by one, to need little memory. Quantized layers stay as they
    are."""
    for path, linear in [(path, child) for path, child in module.named_modules() if isinstance(child, nn.Linear)]:
        weight = linear.weight.float()
        scale_R = (weight.abs().amax(dim=1) / torch.finfo(torch.float8_e4m3fn).max).clamp(min=1e-12)
        replace_with_quantized(module, path, "F8_E4M3", scales=len(scale_R), dtype=linear.weight.dtype)
        quantized = module.get_submodule(path)
        assert isinstance(quantized, QuantizedLinear) and quantized.scale is not None
        quantized.blocks.copy_((weight / scale_R[:, None]).to(torch.float8_e4m3fn).view(torch.uint8))
        quantized.scale.copy_(scale_R.view(torch.uint8))
        quantized.bias = linear.bias


def replace_with_quantized(
    module: nn.Module, path: str, format: str, *, scales: int = 0, dtype: torch.dtype = torch.float32
) -> None:
    """Replace the ``nn.Linear`` at a dotted path with an uninitialised ``QuantizedLinear`` on the same device."""
    linear = module.get_submodule(path)
    if not isinstance(linear, nn.Linear):
        raise ValueError(f"{path} is a {type(linear).__name__}; only linear maps are stored")
    quantized = QuantizedLinear(
        linear.in_features,
        linear.out_features,
        format,
        bias=linear.bias is not None,
        scales=scales,
        dtype=dtype,
        device=linear.weight.device,
    )
    parent, _, child = path.rpartition(".")
    setattr(module.get_submodule(parent), child, quantized)
