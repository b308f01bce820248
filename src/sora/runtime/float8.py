"""Linear layers whose products are computed in eight-bit floats (arXiv 2209.05433), for accelerators that compute them
at twice the rate of sixteen bits: NVIDIA's from Ada and Hopper on. It changes the picture.

Each row of the weight and each token has a scale of its own, so that its largest number is float8's largest. Axis
letters: N tokens; K channels in; R channels out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sora.runtime import float8_rounding
from sora.runtime.float8_rounding import FLOAT8

CHANNEL_MULTIPLE = 16
"""Channels in and out are multiples of it, or the product is not to be had. The number of tokens is free."""

MIN_CHANNELS_OUT = 1024
"""A product with fewer costs as much in rounding as it saves. A token of K channels is read and written in 3 K bytes to
be rounded, and saves 2 K R operations times the difference between the rates. On an H100, with 3 TB/s and 750 against
1,170 TFLOP/s, the two meet at R = 1,045 channels out; a faster product or rounding that is fused into what precedes it
moves that down."""

MIN_CAPABILITY = (8, 9)
"""CUDA's compute capability from which on accelerators multiply eight-bit floats themselves."""


def is_fast(device: torch.device) -> bool:
    """Whether products in float8 work on the device and save time there: CPUs only emulate them."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= MIN_CAPABILITY and is_supported(device)


def is_supported(device: torch.device) -> bool:
    """Whether the installed build of torch computes such products on the device, tested on one whose answer is known:
    torch 2.6 has none on CPUs, and which devices and processors take a scale for each row differs between builds."""
    ones_RK = torch.ones(CHANNEL_MULTIPLE, CHANNEL_MULTIPLE, device=device).to(FLOAT8)
    scale_R1 = 2.0 ** (
        torch.arange(CHANNEL_MULTIPLE, device=device, dtype=torch.float32)[:, None] - CHANNEL_MULTIPLE // 2
    )
    bias_R = scale_R1.flatten().bfloat16()
    try:
        y_RR = scaled_matmul(ones_RK, ones_RK, scale_R1, scale_R1, bias_R, torch.bfloat16)
    except (RuntimeError, ValueError, TypeError, AttributeError):  # no operator, no such scales, or another signature
        return False
    return torch.equal(y_RR, (CHANNEL_MULTIPLE * scale_R1 * scale_R1.T + bias_R).bfloat16())


class RoundedInputs(NamedTuple):
    """Inputs of layers in float8, rounded once for all of them. scale_N1, rows_NK: of ``quantize_rows``. shape, dtype:
    of the inputs."""

    scale_N1: Tensor
    rows_NK: Tensor
    shape: torch.Size
    dtype: torch.dtype

    @classmethod
    def of(cls, x: Tensor, gelu: bool = False) -> RoundedInputs:
        return cls(*float8_rounding.quantize_rows(x.reshape(-1, x.shape[-1]), gelu), x.shape, x.dtype)

    def times(self, weight_RK: Tensor, scale_R1: Tensor, bias_R: Tensor | None = None) -> Tensor:
        """(..., R) in the inputs' dtype."""
        y_NR = scaled_matmul(self.rows_NK, weight_RK, self.scale_N1, scale_R1, bias_R, self.dtype)
        return y_NR.view(*self.shape[:-1], len(weight_RK))


class Float8Linear(nn.Module):
    """Replaces a trained ``nn.Linear``, with inputs and outputs in its dtype, bfloat16 or float16. gelu: whether the
    tanh approximation of GELU is applied to its inputs, which costs no pass over memory there.

    Every tensor of ``row_tensors`` has a row for each channel out: layers with the same inputs are one layer, bit for
    bit, whose tensors are theirs joined.
    """

    scale: Tensor
    weight: Tensor

    def __init__(self, linear: nn.Linear, gelu: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features, self.gelu = linear.in_features, linear.out_features, gelu
        scale_R1, weight_RK = float8_rounding.quantize_rows(linear.weight.detach())
        self.register_buffer("scale", scale_R1)
        self.register_buffer("weight", weight_RK)
        self.bias = linear.bias

    def forward(self, x: Tensor | RoundedInputs) -> Tensor:
        rounded = x if isinstance(x, RoundedInputs) else RoundedInputs.of(x, self.gelu)
        return rounded.times(self.weight, self.scale, self.bias)

    @staticmethod
    def round_inputs(x: Tensor) -> RoundedInputs:
        """What ``forward`` of several layers without a GELU takes in place of the same x."""
        return RoundedInputs.of(x)

    def row_tensors(self) -> dict[str, Tensor]:
        """By their names here, in the order in which ``product`` takes them."""
        tensors = {"weight": self.weight, "scale": self.scale}
        return tensors if self.bias is None else tensors | {"bias": self.bias}

    @staticmethod
    def product(x: Tensor, weight_RK: Tensor, scale_R1: Tensor, bias_R: Tensor | None = None) -> Tensor:
        """(..., R) in the dtype of x (..., K), which is rounded to float8 once, whatever the number of rows."""
        return RoundedInputs.of(x).times(weight_RK, scale_R1, bias_R)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Weight and scale move with the module and keep their number formats, as the bytes that they are."""

        def keep_format(t: Tensor) -> Tensor:
            return fn(t) if isinstance(t, nn.Parameter) else fn(t.view(torch.uint8)).view(t.dtype)

        return super()._apply(keep_format, recurse)


def scaled_matmul(
    x_NK: Tensor,
    weight_RK: Tensor,
    scale_N1: Tensor,
    scale_R1: Tensor,
    bias_R: Tensor | None,
    dtype: torch.dtype,
    fast_accum: bool = True,
) -> Tensor:
    """(N, R) in ``dtype``: float8 ``x_NK`` and ``weight_RK``, each row times its float32 scale, multiplied, plus a bias
    in the same ``dtype``.

    fast_accum: whether sums stay in the tensor cores throughout, as is usual for inference and as torch's kernels with
    row scales are made for: without it they are slower on Hopper (pytorch/pytorch #147971). Other devices take no
    notice of it.
    """
    scales = {"scale_a": scale_N1, "scale_b": scale_R1.t()}
    return torch._scaled_mm(  # type: ignore[attr-defined]
        x_NK, weight_RK.t(), **scales, bias=bias_R, out_dtype=dtype, use_fast_accum=fast_accum
    )


def pays(linear: nn.Linear) -> bool:
    """Whether a layer of this size is faster in float8, where it multiplies thousands of tokens."""
    return linear.out_features >= MIN_CHANNELS_OUT


def convert_to_float8(
    modules: Iterable[nn.Module], wanted: Callable[[str, nn.Linear], bool] = lambda _, linear: pays(linear)
) -> None:
    """Replace every plain linear layer inside whose sizes allow it with a ``Float8Linear``, one by one. wanted: given a
    layer and its dotted name in the module, decides whether it is replaced."""
    for module in modules:
        for path, linear in list(module.named_modules()):
            if type(linear) is nn.Linear and _is_possible(linear) and wanted(path, linear):
                parent, _, name = path.rpartition(".")
                setattr(module.get_submodule(parent), name, Float8Linear(linear))


def _is_possible(linear: nn.Linear) -> bool:
    return not (linear.in_features % CHANNEL_MULTIPLE or linear.out_features % CHANNEL_MULTIPLE)
