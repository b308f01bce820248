"""Optimisations by name, and which of them a person asked for.

``exact`` changes no number beyond rounding, so all its optimisations are on; each can be disabled alone. ``fast`` and
``turbo`` change the picture a little and save a lot of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sora.errors import UsageError

MODES = {
    "exact": "every step in full",
    "fast": "steps that change little are taken from the last one; guidance only where it matters",
    "turbo": "few-step weights, which take no guidance",
}

OPTIMIZATIONS = {
    "attention": "the attention kernels that were measured to be the fastest on this GPU",
    "batched-guidance": "both passes of a guided step at once where the canvas is small",
    "batched-windows": "windows that do not depend on each other at once where the canvas is small, on CUDA",
    "compile": "blocks compiled where that saves time, on CUDA",
    "distinct-times": "a time that many tokens share is embedded once",
    "fused": "queries, keys and values in one product; a GELU within its product, on CUDA",
    "half-vae": "the autoencoder in float16, on CUDA; float32 or bfloat16 where that overflows",
    "kept-latents": "painted latents are handed to the next window, not encoded again; the film drifts less",
    "load-ahead": "networks are loaded, or their files read, while those before them work",
    "overlap": "frames are encoded while the next are decoded",
    "text-once": "keys and values of the text once a clip, not once a pass",
    "winograd": "3x3 convolutions with fewer multiplications on a CPU",
}
"""The exact optimisations, by the name that ``--disable`` takes. ``kept-latents`` loses less than an encoding would."""


@dataclass(frozen=True)
class Speed:
    """mode: a name in ``MODES``. disabled: names in ``OPTIMIZATIONS`` that are off. Raises UsageError for others."""

    mode: str = "exact"
    disabled: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"--speed {self.mode} is not known; there is {', '.join(MODES)}")
        unknown = sorted(self.disabled - OPTIMIZATIONS.keys())
        if unknown:
            raise UsageError(f"--disable {unknown[0]} is not known; there is {', '.join(OPTIMIZATIONS)}")

    def uses(self, name: str) -> bool:
        """Whether an exact optimisation is used where it applies."""
        return name in OPTIMIZATIONS and name not in self.disabled

    @property
    def fast(self) -> bool:
        """Whether steps and guidance may be skipped."""
        return self.mode == "fast"


DEFAULT_SPEED = Speed()
