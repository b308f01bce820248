"""ICC profiles of a matrix and a curve, made of the numbers that stand for them elsewhere.

Code points are those of ITU-T H.273; the layout is that of ICC.1:2001-04; transfer functions of HDR are those of ITU-R
BT.2100-2.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np

from sora.media.colorimetry import KNEE, PEAK, WHITE

D65 = (0.3127, 0.3290)
PRIMARIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
"""x and y of red, green and blue; all with the white of D65."""

LINEAR, PQ, HLG = 8, 16, 18
HDR = {PQ: "PQ", HLG: "HLG"}

_ENTRIES = 4096  # of a curve
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def of_code_points(primaries: int, transfer: int) -> bytes | None:
    """None for those of sRGB, and for what is not known. A screen shows all curves of SDR alike."""
    if transfer in (LINEAR, PQ, HLG) or primaries in PRIMARIES:
        return _profile((*PRIMARIES.get(primaries, PRIMARIES[1]), *D65), transfer)
    return None


def of_gamma(gamma: float | None, chromaticity: tuple[float, ...] | None) -> bytes | None:
    """Of a PNG's gAMA and cHRM (white first), None for one that is missing. None for numbers that no picture has."""
    exponent = 0.0 if gamma is None or abs(gamma - 1 / 2.2) < 0.01 else 1 / gamma if gamma > 0 else -1
    white_first = (*D65, *PRIMARIES[1]) if chromaticity is None else tuple(chromaticity)
    x, y = np.array(white_first[0::2]), np.array(white_first[1::2])
    triangle = (x[2] - x[1]) * (y[3] - y[1]) - (x[3] - x[1]) * (y[2] - y[1])
    if not (exponent == 0 or 0.5 <= exponent <= 4) or (y <= 0).any() or (x + y > 1).any() or abs(triangle) < 0.01:
        return None
    return _profile((*white_first[2:], *white_first[:2]), -exponent)


def adobe_rgb() -> bytes:
    """Adobe RGB (1998)."""
    return _profile((0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65), -563 / 256)


@lru_cache(maxsize=8)
def _profile(places: tuple[float, ...], curve: float) -> bytes:
    """places: x and y of red, green, blue and white. curve: a code point; 0 for that of sRGB, below it a power."""
    table = (_light(np.linspace(0, 1, _ENTRIES), curve).clip(0, 1) * 65535 + 0.5).astype(">u2").tobytes()
    trc = b"curv" + bytes(4) + struct.pack(">I", _ENTRIES) + table
    columns = [b"XYZ " + bytes(4) + _fixed(column) for column in _to_d50(places).T]
    white = b"XYZ " + bytes(4) + _fixed(_D50)
    names = (b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"rTRC", b"gTRC", b"bTRC")
    bodies = (*columns, white, trc)
    starts = np.cumsum([128 + 4 + 12 * len(names), *(len(body) for body in bodies)]).tolist()
    entries = b""
    for number, name in enumerate(names):
        at = min(number, len(bodies) - 1)  # all curves are the same one
        entries += name + struct.pack(">II", starts[at], len(bodies[at]))
    body = struct.pack(">I", len(names)) + entries + b"".join(bodies)
    header = struct.pack(">I", 128 + len(body)) + bytes(4) + bytes.fromhex("02400000") + b"mntrRGB XYZ "
    return header.ljust(36, b"\0") + b"acsp".ljust(32, b"\0") + _fixed(_D50).ljust(60, b"\0") + body


def _to_d50(places: tuple[float, ...]) -> np.ndarray:
    """(3, 3): linear RGB to XYZ, adapted to D50."""
    x, y = np.array(places[0::2]), np.array(places[1::2])
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    white = xyz[:, 3]
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], white)
    cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    return np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ matrix


def _fixed(numbers: np.ndarray) -> bytes:
    """ICC's s15Fixed16Number."""
    return (np.asarray(numbers) * 65536).round().astype(">i4").tobytes()


def _light(values: np.ndarray, curve: float) -> np.ndarray:
    """Linear light, 0 to 1, of which sRGB's own curve makes the value to show."""
    if curve < 0:
        return values**-curve
    if curve == LINEAR:
        return values
    if curve in HDR:
        light = (_pq_light(values) if curve == PQ else _hlg_light(values)) / WHITE
        values = _tone_mapped(light) ** (1 / 2.4)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _pq_light(values: np.ndarray) -> np.ndarray:
    """cd/m2."""
    root = values ** (32 / 2523)
    return 10_000 * (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)


def _hlg_light(values: np.ndarray) -> np.ndarray:
    """cd/m2 on a screen of 1000, whose system gamma is applied to each colour by itself."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return 1000 * np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12) ** 1.2


def _tone_mapped(light: np.ndarray) -> np.ndarray:
    """As ffmpeg's tonemap=mobius. light: 1 is white."""
    a = -(KNEE**2) * (PEAK - 1) / (KNEE**2 - 2 * KNEE + PEAK)
    b = (KNEE**2 - 2 * KNEE * PEAK + PEAK) / (PEAK - 1)
    bent = (b**2 + 2 * b * KNEE + KNEE**2) / (b - a) * (light + a) / (light + b)
    return np.where(light <= KNEE, light, bent)
