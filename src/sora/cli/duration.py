"""How long something will take, for a person and for a script."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sora.jobs.forecast import Forecast

NAMES = {
    "load": "loading",
    "compile": "compiling",
    "encode": "encoding",
    "sample": "sampling",
    "decode": "decoding",
    "blend": "blending",
    "write": "writing",
}
WORTH_A_WORD = 0.05  # of the whole; less is not listed
UNKNOWN = "not known on this device until a film was painted on it"
UNITS = (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48), ("days", 86400, math.inf))
"""(what it is called, its seconds, how many there are at most before the next one is taken)."""
STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
SMALLEST = 0.1
BASES = {
    "measured": "measured here",
    "measured while busy": "measured here while other programs ran",
    "measured on other models": "measured here on other models",
}


def line(expected: Forecast) -> str:
    """For a person: "about 40 s: 3 s loading, 28 s sampling, 9 s decoding (measured here)"."""
    if not expected.seconds:
        return UNKNOWN
    exact = expected.basis != "rates"
    listed = [name for name in NAMES if expected.seconds.get(name, 0) >= WORTH_A_WORD * expected.total]
    parts = ", ".join(f"{rounded(expected.seconds[name], exact=exact)} {NAMES[name]}" for name in listed)
    basis = BASES.get(expected.basis, f"from the usual rates of {expected.device}")
    files = f" for {expected.files} files" if expected.files > 1 else ""
    return f"about {rounded(expected.total, exact=exact)}{files}: {parts} ({basis})"


def facts(expected: Forecast | None) -> dict[str, Any] | None:
    """For a script: seconds by phase and in all, and what they rest on. None where they are not known."""
    if expected is None or not expected.seconds:
        return None
    seconds = {name: round(each, 3) for name, each in expected.seconds.items()}
    return seconds | {"total": round(expected.total, 3), "basis": expected.basis, "device": expected.device}


def rounded(seconds: float, *, exact: bool) -> str:
    """To two digits, "0.4 s", "28 s", "4.5 min", "2.5 h"; where it is not exact, to steps of a fifth or so."""
    unit, size = next(each for each in UNITS if seconds < each[2] * each[1])[:2]
    value = seconds / size
    if value < SMALLEST:
        return f"under {SMALLEST:g} {unit}"
    digits = float(f"{value:.2g}")
    if not exact:
        power = 10.0 ** math.floor(math.log10(value))
        digits = power * min(STEPS, key=lambda step: abs(math.log(step * power / value)))
    return f"{digits:g} {unit}"
