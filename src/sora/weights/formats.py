"""Number formats: the bytes of a file to numbers. Eight-bit floats, ggml's blocks and plain formats, in one table.

Formats: float8 of arXiv 2209.05433 with a scale; blocks of github.com/ggml-org/ggml (ggml-common.h, ggml-quants.c).
This module imports torch, so it is imported where tensors are wanted.

Axis letters: R rows; S bytes of a row; B blocks; K numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sora.weights.finite import is_finite
from sora.weights.tensor_entry import BLOCKS, SIZES

IQ4_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
AT_ONCE = {"cpu": 2**20}
"""Numbers unpacked at once by kind of device, so that the float32 values in between never add up to a whole matrix:
what a CPU's caches hold (2 to 5 times faster than 2^24 there, torch 2.13), and 2^24 elsewhere."""


@dataclass(frozen=True)
class Format:
    """How ``block`` numbers stand in ``size`` bytes. values: uint8 (B, size) to floats (B, block), float32 but for
    plain formats of another dtype. steps: where in a block a float16 stands that all its numbers are multiplied by."""

    block: int
    size: int
    values: Callable[[Tensor], Tensor]
    dtype: torch.dtype | None = None
    steps: tuple[int, ...] = ()


def _plain(dtype: torch.dtype) -> Format:
    return Format(1, dtype.itemsize, lambda bytes_BS: bytes_BS.view(dtype), dtype)


def _float8(dtype: torch.dtype) -> Format:
    """Looked up among all 256, but on CUDA: MPS lacks these dtypes, and CPUs are 16 times faster so (torch 2.13)."""

    def values(bytes_BS: Tensor) -> Tensor:
        if bytes_BS.is_cuda:
            return bytes_BS.view(dtype).float()
        table = torch.arange(256, dtype=torch.uint8).view(dtype).float().to(bytes_BS.device)
        return table.index_select(0, bytes_BS.flatten().int()).view_as(bytes_BS)

    return Format(1, 1, values)


def _half(bytes_BS: Tensor) -> Tensor:
    """Float16 at the two bytes of each block, as float32 (B, 1)."""
    return bytes_BS.contiguous().view(torch.float16).float()


def _nibbles(bytes_BS: Tensor, run: int) -> Tensor:
    """The low halves of each run of bytes, then its high halves: (B, 2 * S)."""
    runs = bytes_BS.unflatten(1, (-1, 1, run))
    return torch.cat([runs & 15, runs >> 4], dim=2).flatten(1)


def _bits(bytes_BS: Tensor, width: int) -> Tensor:
    """(B, 8 / width, S): the first ``width`` bits of each byte, from the low end, then the next, ..."""
    parts = [(bytes_BS >> shift) & (2**width - 1) for shift in range(0, 8, width)]
    return torch.stack(parts, dim=1)


def _two_bits(bytes_BS: Tensor) -> Tensor:
    """256 numbers of two bits in 64 bytes: (B, 256). Each half of the bytes holds half of the numbers."""
    return torch.cat([_bits(half, 2).flatten(1) for half in bytes_BS.split(32, dim=1)], dim=1)


def _fifth_bits(bytes_B4: Tensor) -> Tensor:
    """32 bits, each in the place of a number's fifth: (B, 32)."""
    return _bits(bytes_B4, 1).mT.flatten(1) << 4


def _q8_0(bytes_BS: Tensor) -> Tensor:
    """A float16 step, 32 whole numbers."""
    return bytes_BS[:, 2:].view(torch.int8).float() * _half(bytes_BS[:, :2])


def _q4_0(bytes_BS: Tensor) -> Tensor:
    """A float16 step, 32 numbers of four bits, less 8."""
    return _half(bytes_BS[:, :2]) * (_nibbles(bytes_BS[:, 2:], 16).float() - 8)


def _q4_1(bytes_BS: Tensor) -> Tensor:
    """A float16 step and floor, 32 numbers of four bits."""
    return _half(bytes_BS[:, :2]) * _nibbles(bytes_BS[:, 4:], 16).float() + _half(bytes_BS[:, 2:4])


def _q5_0(bytes_BS: Tensor) -> Tensor:
    """A float16 step, the fifth bits of 32 numbers, their low four bits; less 16."""
    whole = _nibbles(bytes_BS[:, 6:], 16) | _fifth_bits(bytes_BS[:, 2:6])
    return _half(bytes_BS[:, :2]) * (whole.float() - 16)


def _q5_1(bytes_BS: Tensor) -> Tensor:
    """A float16 step and floor, the fifth bits of 32 numbers, their low four bits."""
    whole = _nibbles(bytes_BS[:, 8:], 16) | _fifth_bits(bytes_BS[:, 4:8])
    return _half(bytes_BS[:, :2]) * whole.float() + _half(bytes_BS[:, 2:4])


def _iq4_nl(bytes_BS: Tensor) -> Tensor:
    """A float16 step, 32 numbers of four bits that count uneven levels."""
    return _half(bytes_BS[:, :2]) * _levels(_nibbles(bytes_BS[:, 2:], 16))


def _levels(whole_BK: Tensor) -> Tensor:
    levels = torch.tensor(IQ4_LEVELS, dtype=torch.float32, device=whole_BK.device)
    return levels.index_select(0, whole_BK.flatten().int()).view_as(whole_BK)


def _iq4_xs(bytes_BS: Tensor) -> Tensor:
    """A float16 step, the high two bits of eight scales, their low four bits, 256 numbers as those of IQ4_NL."""
    step, high, low, whole = bytes_BS.split([2, 2, 4, 128], dim=1)
    low_bits = torch.stack([low & 15, low >> 4], dim=2).flatten(1)
    scales = (low_bits | (_bits(high, 2).mT.flatten(1) << 4)).float() - 32
    return ((_half(step) * scales)[..., None] * _levels(_nibbles(whole, 16)).unflatten(1, (8, 32))).flatten(1)


def _q2_k(bytes_BS: Tensor) -> Tensor:
    """16 scales and floors of four bits each, 256 numbers of two bits, two float16 steps."""
    groups, whole, step, floor_step = bytes_BS.split([16, 64, 2, 2], dim=1)
    scales, floors = _half(step) * (groups & 15).float(), _half(floor_step) * (groups >> 4).float()
    numbers = _two_bits(whole).unflatten(1, (16, 16)).float()
    return (scales[..., None] * numbers - floors[..., None]).flatten(1)


def _q3_k(bytes_BS: Tensor) -> Tensor:
    """The third bits of 256 numbers, of which those not set take 4 away, their low two bits, 16 scales of six bits, a
    float16 step."""
    third, whole, scales, step = bytes_BS.split([32, 64, 12, 2], dim=1)
    low, high = scales.split([8, 4], dim=1)
    scales = (_bits(low, 4).flatten(1) | (_bits(high, 2).flatten(1) << 4)).float() - 32
    numbers = _two_bits(whole).float() - 4 * (1 - _bits(third, 1).flatten(1).float())
    return ((_half(step) * scales)[..., None] * numbers.unflatten(1, (16, 16))).flatten(1)


def _scales_and_floors(bytes_B12: Tensor) -> tuple[Tensor, Tensor]:
    """Eight scales and eight floors of six bits each, (B, 8, 1) float32: four of each in six bits of their own byte,
    the other four in four bits of the last bytes and the two bits left above."""
    scale, floor, low = bytes_B12.split(4, dim=1)
    scales = torch.cat([scale & 63, (low & 15) | ((scale >> 2) & 48)], dim=1)
    floors = torch.cat([floor & 63, (low >> 4) | ((floor >> 2) & 48)], dim=1)
    return scales.float()[..., None], floors.float()[..., None]


def _over_floor(bytes_BS: Tensor, whole_BK: Tensor) -> Tensor:
    """Whole numbers in eight groups of 32, each with a scale and a floor: the head of Q4_K and Q5_K says which."""
    scales, floors = _scales_and_floors(bytes_BS[:, 4:16])
    step, floor_step = _half(bytes_BS[:, :2])[..., None], _half(bytes_BS[:, 2:4])[..., None]
    whole = whole_BK.unflatten(1, (8, 32)).float()
    return (step * scales * whole - floor_step * floors).flatten(1)


def _q4_k(bytes_BS: Tensor) -> Tensor:
    """Two float16 steps, 12 bytes of scales and floors, 256 numbers of four bits."""
    return _over_floor(bytes_BS, _nibbles(bytes_BS[:, 16:], 32))


def _q5_k(bytes_BS: Tensor) -> Tensor:
    """As Q4_K, with the fifth bits of all numbers in 32 bytes of their own."""
    fifth = _bits(bytes_BS[:, 16:48], 1).flatten(1)
    return _over_floor(bytes_BS, _nibbles(bytes_BS[:, 48:], 32) | (fifth << 4))


def _q6_k(bytes_BS: Tensor) -> Tensor:
    """Low four bits of 256 numbers, their high two bits, 16 scales of eight bits, a float16 step."""
    low, high, scales, step = bytes_BS.split([128, 64, 16, 2], dim=1)
    whole = (_nibbles(low, 64) | (_two_bits(high) << 4)).view(torch.int8) - 32
    steps = _half(step) * scales.view(torch.int8).float()
    return (steps[..., None] * whole.unflatten(1, (16, 16)).float()).flatten(1)


def _of_blocks(name: str, values: Callable[[Tensor], Tensor], *steps: int) -> Format:
    block, size = SIZES[name]
    return Format(block, size, values, steps=steps)


FORMATS = {
    "F64": _plain(torch.float64),
    "F32": _plain(torch.float32),
    "F16": _plain(torch.float16),
    "BF16": _plain(torch.bfloat16),
    "F8_E4M3": _float8(torch.float8_e4m3fn),
    "F8_E5M2": _float8(torch.float8_e5m2),
    "Q4_0": _of_blocks("Q4_0", _q4_0, 0),
    "Q4_1": _of_blocks("Q4_1", _q4_1, 0, 2),
    "Q5_0": _of_blocks("Q5_0", _q5_0, 0),
    "Q5_1": _of_blocks("Q5_1", _q5_1, 0, 2),
    "Q8_0": _of_blocks("Q8_0", _q8_0, 0),
    "Q2_K": _of_blocks("Q2_K", _q2_k, 80, 82),
    "Q3_K": _of_blocks("Q3_K", _q3_k, 108),
    "Q4_K": _of_blocks("Q4_K", _q4_k, 0, 2),
    "Q5_K": _of_blocks("Q5_K", _q5_k, 0, 2),
    "Q6_K": _of_blocks("Q6_K", _q6_k, 208),
    "IQ4_NL": _of_blocks("IQ4_NL", _iq4_nl, 0),
    "IQ4_XS": _of_blocks("IQ4_XS", _iq4_xs, 0),
}
"""By the names that files use."""

STORABLE = ("F8_E4M3", "F8_E5M2", *BLOCKS)
"""The formats worth keeping a weight in."""

_NOT_FINITE = {"F8_E4M3": 127, "F8_E5M2": 124}
"""Without the sign: the first byte of an eight-bit float that is no number (arXiv 2209.05433, table 1)."""


def blocks_are_finite(bytes_RS: Tensor, format: str) -> bool:
    """Whether ``dequantize`` would give neither NaN nor infinity, from the few bytes that decide it. format: of
    STORABLE."""
    if format in _NOT_FINITE:
        pieces = bytes_RS.reshape(-1).split(AT_ONCE["cpu"])
        return all(int((piece & 127).max()) < _NOT_FINITE[format] for piece in pieces if len(piece))
    layout = FORMATS[format]
    bytes_BS = bytes_RS.reshape(-1, layout.size)
    return all(is_finite(_half(bytes_BS[:, at : at + 2])) for at in layout.steps)


def dequantize(
    bytes_RS: Tensor, format: str, dtype: torch.dtype, scale_R: Tensor | None = None, at_once: int | None = None
) -> Tensor:
    """The numbers, (R, K), where the bytes stand: uint8, contiguous, each row whole blocks of a format of FORMATS.

    scale_R: what they are multiplied by, in float32, one for all or one a row. at_once: most numbers that are worked
    on at a time, at least a row; None for what suits the device.
    """
    layout = FORMATS[format]
    out_RK = torch.empty(
        len(bytes_RS), bytes_RS.shape[1] // layout.size * layout.block, dtype=dtype, device=bytes_RS.device
    )
    dequantize_into(out_RK, bytes_RS, format, scale_R, at_once)
    return out_RK


def dequantize_into(
    out_RK: Tensor, bytes_RS: Tensor, format: str, scale_R: Tensor | None = None, at_once: int | None = None
) -> None:
    """As ``dequantize``, into a tensor that is there, of any floating dtype."""
    layout = FORMATS[format]
    at_once = at_once or AT_ONCE.get(bytes_RS.device.type, 2**24)
    step = max(1, at_once // max(1, out_RK.shape[1]))
    for start in range(0, len(out_RK), step):
        rows = slice(start, start + step)
        values_RK = layout.values(bytes_RS[rows].reshape(-1, layout.size)).reshape(-1, out_RK.shape[1])
        if scale_R is not None:
            scale = scale_R[rows] if len(scale_R) > 1 else scale_R
            values_RK = values_RK.float() * scale[:, None]
        out_RK[rows] = values_RK
