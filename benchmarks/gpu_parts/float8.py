"""Linear layers in float8 at the 5B's sizes: the product alone, and with rounding by torch, by Triton and by the
compiler; what it costs in accuracy, and from how many tokens on it pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpu_parts.result import Machine, Result
from sora.runtime.float8 import Float8Linear, is_supported, scaled_matmul
from sora.runtime.float8_rounding import quantize_rows, quantize_rows_in_torch, triton_rounding


class Shape(NamedTuple):
    """gelu: whether a GELU comes before the product."""

    tokens: int
    channels_in: int
    channels_out: int
    gelu: bool = False

    @property
    def name(self) -> str:
        return f"{self.tokens:,} x {self.channels_in} -> {self.channels_out}" + (" after GELU" if self.gelu else "")

    @property
    def teraflop(self) -> float:
        return 2 * self.tokens * self.channels_in * self.channels_out / 1e12


SHAPES = (Shape(27280, 3072, 9216), Shape(27280, 3072, 14336), Shape(27280, 14336, 3072, gelu=True))
"""Queries, keys and values in one; both layers of the feed-forward."""

TOKENS = (512, 1560, 6240, 27280)
"""Of the output projection, 3072 -> 3072: the text, a picture of 832x480, and so on."""

SMALL = (Shape(40, 64, 192), Shape(40, 256, 64, gelu=True))
TARGET = 1000.0  # TFLOP/s, with rounding
SAMPLE = 256  # rows of which the error is computed


@torch.inference_mode()
def measure(machine: Machine) -> Iterator[Result]:
    if not is_supported(machine.device):
        return
    for shape in SMALL if machine.small else SHAPES:
        yield from of(shape, machine)
    for tokens in (16, 40) if machine.small else TOKENS:
        side = 64 if machine.small else 3072
        yield gain(Shape(tokens, side, side), machine)


def of(shape: Shape, machine: Machine) -> Iterator[Result]:
    linear, layer, x = layers(shape, machine)
    scale, rounded = quantize_rows(x, shape.gelu)

    def product(fast_accum: bool) -> Tensor:
        return scaled_matmul(rounded, layer.weight, scale, layer.scale, layer.bias, x.dtype, fast_accum)

    exact = sums(rounded[:SAMPLE], scale[:SAMPLE], layer)
    for fast_accum in (True, False):
        note = f"{distance(product(fast_accum)[:SAMPLE], exact):.2e} from exact sums"
        what = f"{shape.name}: product, sums {'in the tensor cores' if fast_accum else 'in float32'}"
        yield rate(what, shape, machine, lambda fast=fast_accum: product(fast), note)

    activated = F.gelu(x[:SAMPLE].double(), approximate="tanh") if shape.gelu else x[:SAMPLE].double()
    true = activated @ linear.weight.double().T + linear.bias.double()
    yield rate(f"{shape.name}: bfloat16", shape, machine, lambda: in_sixteen_bits(linear, x, shape.gelu), "")
    for name, layer_of in roundings(layer, shape.gelu, machine).items():
        note = f"{distance(layer_of(x)[:SAMPLE], true):.2e} from the exact layer"
        yield rate(f"{shape.name}: with rounding, {name}", shape, machine, lambda f=layer_of: f(x), note, TARGET)


def roundings(layer: Float8Linear, gelu: bool, machine: Machine) -> dict[str, Callable[[Tensor], Tensor]]:
    """The layer as it runs, by who rounds its inputs."""

    def with_rounding(quantize: Callable[[Tensor, bool], tuple[Tensor, Tensor]]) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            scale, rounded = quantize(x, gelu)
            return scaled_matmul(rounded, layer.weight, scale, layer.scale, layer.bias, x.dtype)

        return run

    found = {"torch": with_rounding(quantize_rows_in_torch)}
    kernel = triton_rounding(machine.device) if machine.is_cuda else None
    if kernel is not None:
        found["Triton"] = with_rounding(kernel)
    torch.compiler.reset()
    found["compiled"] = torch.compile(layer.forward, backend="inductor" if machine.is_cuda else "eager")
    return found


def gain(shape: Shape, machine: Machine) -> Result:
    """Uncompiled, as the product runs it without a compiler."""
    linear, layer, x = layers(shape, machine)
    usual, ours = (machine.seconds(lambda f=f: f(x), runs=20) for f in (linear, layer))
    return Result(f"{shape.name}: bfloat16 over float8, uncompiled", usual / ours, "x", note=f"{1e6 * usual:.0f} us")


def layers(shape: Shape, machine: Machine) -> tuple[nn.Linear, Float8Linear, Tensor]:
    torch.manual_seed(0)
    kind = {"device": machine.device, "dtype": torch.bfloat16}
    linear = nn.Linear(shape.channels_in, shape.channels_out, **kind)
    return linear, Float8Linear(linear, shape.gelu), torch.randn(shape.tokens, shape.channels_in, **kind)


def in_sixteen_bits(linear: nn.Linear, x: Tensor, gelu: bool) -> Tensor:
    return linear(F.gelu(x, approximate="tanh") if gelu else x)


def sums(rounded: Tensor, scale: Tensor, layer: Float8Linear) -> Tensor:
    """The product of the rounded numbers, in float64."""
    return (rounded.double() @ layer.weight.double().T) * scale.double() * layer.scale.double().T + layer.bias.double()


def rate(
    what: str, shape: Shape, machine: Machine, work: Callable[[], Tensor], note: str, target: float | None = None
) -> Result:
    found = shape.teraflop / machine.seconds(work, runs=10)
    met = found >= target if target and machine.is_cuda else None
    return Result(what, found, "TFLOP/s", f">= {target:.0f}" if target else "", met, note)


def distance(x: Tensor, y: Tensor) -> float:
    """Of x from y, relative to y."""
    return float((x.double() - y).norm() / y.norm())
