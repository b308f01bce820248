"""How fast devices compute, for predictions: a table of what datasheets promise, and which share of it lasts.

Peaks are dense, with sums in float32, in the number format of tensor cores (bfloat16, or float16 where a card has no
other): NVIDIA's datasheets and architecture papers of each card; AMD's of MI300X and RX 7900 XTX; Apple's figures of
GPU float32 and memory for M chips. The shares are those that an H100 SXM (datasheet 989 TFLOP/s, 3.35 TB/s) was
measured to keep: products of matrices 713 to 756 TFLOP/s, cuDNN's attention 574, text attention 264, norms and other
pointwise work of a Wan pass as if 320 bytes a number moved at 2.68 TB/s (72 when compiled), convolutions of a Wan VAE
as products and 78 bytes an output (140 in float32). Other cards are assumed to keep the same shares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSION = 2
"""Of these rates and of how they are applied: what was measured against others is no measure of these."""

MATRIX_SHARE, ATTENTION_SHARE, TEXT_SHARE, MEMORY_SHARE, FLOAT8_SHARE = 0.743, 0.58, 0.267, 0.8, 0.91
FLOAT32_SHARE, TF32_SHARE = 0.75, 0.4  # of the float32 peak; of the tensor cores' peak, in float32 convolutions


@dataclass(frozen=True)
class DeviceRates:
    """What lasts. name: for a person. matrix, attention, text_attention, convolution: 10^12 operations a second in
    products of matrices, attention among tokens, attention to text, and 3x3 convolutions; each first in half precision,
    then in float32. float8: in products of ``--speed fast``; 0 where there are none. memory: 10^12 bytes a second.
    loading: 10^9 bytes a second from the page cache to the device. transfer: the same from pinned memory. call: seconds
    that a pass takes at least. overhead: that a call of the transformer takes on top of its work. start: seconds until
    torch is there and the device answers."""

    name: str
    matrix: tuple[float, float]
    attention: tuple[float, float]
    text_attention: tuple[float, float]
    convolution: tuple[float, float]
    memory: float
    float8: float = 0.0
    loading: float = 3.0
    transfer: float = 22.0
    call: float = 0.025
    overhead: float = 0.0
    start: float = 3.0


@dataclass(frozen=True)
class Datasheet:
    """half, full: 10^12 operations a second, dense, in half precision and in float32. memory: 10^12 bytes a second.
    float8: whether there are float8 tensor cores. pcie: the generation."""

    half: float
    full: float
    memory: float
    float8: bool = False
    pcie: int = 4


CARDS: dict[str, Datasheet] = {
    "B200": Datasheet(2250, 75, 8.0, True, 5),
    "H200": Datasheet(989, 67, 4.8, True, 5),
    "GH200": Datasheet(989, 67, 4.0, True, 5),
    "H100 PCIe": Datasheet(756, 51, 2.0, True, 5),
    "H100 NVL": Datasheet(835, 60, 3.9, True, 5),
    "H100": Datasheet(989, 67, 3.35, True, 5),
    "H800": Datasheet(989, 67, 3.35, True, 5),
    "H20": Datasheet(148, 44, 4.0, True, 5),
    "A100": Datasheet(312, 19.5, 1.94),
    "A800": Datasheet(312, 19.5, 1.94),
    "A40": Datasheet(150, 37, 0.696),
    "A30": Datasheet(165, 10.3, 0.933),
    "A10": Datasheet(125, 31, 0.6),
    "L40S": Datasheet(362, 92, 0.864, True),
    "L40": Datasheet(181, 91, 0.864, True),
    "L4": Datasheet(121, 30, 0.3, True),
    "RTX PRO 6000": Datasheet(503, 125, 1.79, True, 5),
    "RTX 6000 Ada": Datasheet(364, 91, 0.96, True),
    "RTX A6000": Datasheet(155, 39, 0.768),
    "RTX A5000": Datasheet(111, 28, 0.768),
    "RTX 5090": Datasheet(209, 105, 1.79, True, 5),
    "RTX 5080": Datasheet(113, 56, 0.96, True, 5),
    "RTX 5070 Ti": Datasheet(88, 44, 0.896, True, 5),
    "RTX 5070": Datasheet(62, 31, 0.672, True, 5),
    "RTX 4090": Datasheet(165, 83, 1.01, True),
    "RTX 4080": Datasheet(97, 49, 0.717, True),
    "RTX 4070 Ti": Datasheet(80, 40, 0.504, True),
    "RTX 4070": Datasheet(58, 29, 0.504, True),
    "RTX 4060": Datasheet(30, 15, 0.272, True),
    "RTX 3090": Datasheet(71, 36, 0.936),
    "RTX 3080": Datasheet(60, 30, 0.76),
    "RTX 3070": Datasheet(41, 20, 0.448),
    "RTX 3060": Datasheet(26, 13, 0.36),
    "RTX 2080 Ti": Datasheet(54, 13, 0.616, pcie=3),
    "V100": Datasheet(125, 15.7, 0.9, pcie=3),
    "T4": Datasheet(65, 8, 0.32, pcie=3),
    "MI300X": Datasheet(1307, 163, 5.3, True, 5),
    "RX 7900 XTX": Datasheet(123, 61, 0.96),
}
"""By words of the name that torch gives a card."""

APPLE: dict[str, tuple[float, float]] = {
    "M1": (2.6, 0.068), "M1 Pro": (5.2, 0.2), "M1 Max": (10.4, 0.4), "M1 Ultra": (20.8, 0.8),
    "M2": (3.6, 0.1), "M2 Pro": (6.8, 0.2), "M2 Max": (13.6, 0.4), "M2 Ultra": (27.2, 0.8),
    "M3": (4.1, 0.1), "M3 Pro": (6.4, 0.15), "M3 Max": (14.2, 0.4), "M3 Ultra": (28.4, 0.8),
    "M4": (4.3, 0.12), "M4 Pro": (8.6, 0.27), "M4 Max": (17.2, 0.55),
    "M5": (4.9, 0.15),
}  # fmt: skip
"""(10^12 float32 operations, 10^12 bytes of memory) a second of the GPU, by the chip."""

HALF_PER_CLOCK = {(7, 0): 1024, (7, 5): 512, (8, 0): 2048, (8, 6): 512, (8, 7): 512, (8, 9): 512, (9, 0): 4096}
HALF_PER_CLOCK |= {(10, 0): 8192, (10, 3): 8192, (12, 0): 512, (12, 1): 512}
"""Operations in half precision, of one multiprocessor in one cycle, by compute capability (the CUDA programming guide's
tables of tensor cores)."""
CLOCK = 1.7e9  # cycles a second, of a card that is in no row
OPERATIONS_PER_BYTE = 120  # of the half-precision peak by the memory's, of such a card

PER_CORE = {"AVX512": 0.085, "AVX2": 0.06}  # 10^12 float32 operations a second that a CPU's core keeps up
PER_OTHER_CORE = 0.03
CALL = 0.015  # seconds of Python and of starting threads in a call of the transformer
WINOGRAD_GAIN = 1.6  # of a CPU's convolutions, over products of matrices


def of_card(name: str, multiprocessors: int = 0, capability: tuple[int, int] = (0, 0)) -> DeviceRates | None:
    """Of a card by the name that torch gives it, or where that is in no row by its multiprocessors and its compute
    capability; None for one of which neither is known."""
    found = [key for key in CARDS if re.search(rf"\b{re.escape(key)}\b", _spaced(name), re.IGNORECASE)]
    if found and "laptop" not in name.lower():
        key = max(found, key=len)
        return _lasting(key, CARDS[key])
    peak = multiprocessors * HALF_PER_CLOCK.get(capability, 0) * CLOCK / 1e12
    if not peak:
        return None
    return _lasting(name, Datasheet(peak, peak / 2, peak / OPERATIONS_PER_BYTE, capability >= (8, 9)))


def _spaced(name: str) -> str:
    """The name with its parts apart: "A100-SXM4-80GB" as "A100 SXM4 80GB"."""
    return name.replace("-", " ").replace("_", " ")


def _lasting(name: str, sheet: Datasheet) -> DeviceRates:
    full = sheet.full * FLOAT32_SHARE
    return DeviceRates(
        name,
        matrix=(sheet.half * MATRIX_SHARE, full),
        attention=(sheet.half * ATTENTION_SHARE, full),
        text_attention=(sheet.half * TEXT_SHARE, full),
        convolution=(sheet.half * MATRIX_SHARE, max(full, sheet.half * TF32_SHARE)),
        memory=sheet.memory * MEMORY_SHARE,
        float8=sheet.half * FLOAT8_SHARE if sheet.float8 else 0.0,
        loading={5: 14.6, 4: 8.0}.get(sheet.pcie, 5.0),
        transfer={5: 50.0, 4: 22.0}.get(sheet.pcie, 11.0),
    )


NOMINAL = _lasting("a card", CARDS["A100"])
"""To compare measurements with, on a device of which nothing is known."""


def of_apple(chip: str) -> DeviceRates | None:
    """Of the GPU of a chip, by the name that the system gives it ("Apple M2 Max"); None for an unknown one."""
    found = [key for key in APPLE if re.search(rf"\b{key}\b", chip)]
    if not found:
        return None
    key = max(found, key=len)
    operations, memory = APPLE[key]
    both = operations * 0.6, operations * 0.6
    return DeviceRates(key, both, both, both, both, memory * MEMORY_SHARE, loading=3.0, transfer=20.0)


def of_cpu(capability: str, threads: int) -> DeviceRates:
    """Of a CPU that computes with so many threads. capability: as torch names it, "AVX2" and so on."""
    each = PER_CORE.get(capability, PER_OTHER_CORE) * threads
    matrix, attention, convolution = (
        (each, each),
        (0.5 * each, 0.5 * each),
        (WINOGRAD_GAIN * each, WINOGRAD_GAIN * each),
    )
    name = f"{threads} core{'s' if threads > 1 else ''}"
    overheads = {"call": 0.0, "overhead": CALL, "start": 1.2}
    return DeviceRates(
        name, matrix, attention, attention, convolution, memory=0.02, loading=1.5, transfer=1e3, **overheads
    )
