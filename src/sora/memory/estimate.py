"""How much memory a plan takes on the device in each phase, before anything is loaded. Pure arithmetic, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from sora.memory.needs import Needs, Weights
from sora.memory.plans import Plan

SLOTS = 2
"""Places on the device through which streamed blocks pass: one at work, one on its way."""

GB = 2**30


@dataclass(frozen=True)
class Phase:
    """weights: what is loaded. work: what comes and goes while it runs."""

    weights: int = 0
    work: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.work


PHASES = ("text", "encode", "sample", "decode")


@dataclass(frozen=True)
class Estimate:
    """Bytes on the device by phase: reading the texts, encoding known pixels, sampling, decoding. host: bytes of CPU
    memory that hold what streams. free, free_host: what there is of either, where it is known."""

    text: Phase
    encode: Phase
    sample: Phase
    decode: Phase
    host: int = 0
    free: int | None = None
    free_host: int | None = None

    def phase(self, name: str) -> Phase:
        """One of PHASES."""
        return {"text": self.text, "encode": self.encode, "sample": self.sample, "decode": self.decode}[name]

    @property
    def fullest(self) -> str:
        """The phase that takes the most."""
        return max(PHASES, key=lambda name: self.phase(name).total)

    @property
    def peak(self) -> int:
        return self.phase(self.fullest).total


def estimate(needs: Needs, plan: Plan) -> Estimate:
    """What ``needs`` takes under ``plan``. Streamed weights count as the device's where its memory is the machine's."""
    words, words_streamed = _text(needs, plan)
    sampling = needs.sampling(
        one_prompt=plan.one_prompt, quantised=_quantised(needs, plan), keeps_text=plan.blocks is None
    )
    network, streamed = _transformer(needs, plan)
    if needs.unified:
        words, network = words + words_streamed, network + streamed
    vae, tile = needs.vae.bytes, plan.tile
    stays = words if plan.text == "resident" else 0
    all_else = network + vae if plan.text == "resident" else 0
    beside = (0 if plan.alone else network) + vae + stays
    return Estimate(
        text=Phase(words + all_else, needs.reading),
        encode=Phase() if needs.encoding is None else Phase(beside, needs.encoding(tile)),
        sample=Phase(network + (0 if plan.alone else vae) + stays, sampling),
        decode=Phase(beside, needs.decoding(tile)),
        host=streamed + words_streamed,
    )


def _text(needs: Needs, plan: Plan) -> tuple[int, int]:
    """Weights on the device, and streamed ones, of the text and image encoders."""
    encoder, image = needs.text, needs.image.bytes
    if plan.text != "streamed" or encoder.blocks <= SLOTS:
        return encoder.weights.bytes + image, 0
    block = encoder.in_blocks / encoder.blocks
    stored = encoder.weights.stored
    there = (encoder.weights.parameters - encoder.in_blocks + SLOTS * block) * stored
    return round(there) + image, round(encoder.in_blocks * stored)


def _transformer(needs: Needs, plan: Plan) -> tuple[int, int]:
    """Weights on the device, and streamed ones."""
    t = needs.transformer
    weights = Weights(t.weights.parameters, stored(needs, plan))
    together = 1 if plan.one_expert else needs.experts
    if plan.blocks is None or plan.blocks + SLOTS >= t.blocks:
        return weights.bytes * together, 0
    block = t.in_blocks / t.blocks
    there = t.weights.parameters - t.in_blocks + plan.blocks * block + SLOTS * t.largest
    streamed = (t.blocks - plan.blocks) * block * needs.experts
    return round(there * weights.stored) * together, round(streamed * weights.stored)


def stored(needs: Needs, plan: Plan) -> float:
    """Bytes of a parameter of the transformer under ``plan``."""
    own = needs.transformer.weights.stored
    return min(own, 1.0) if plan.storage == "fp8" else own


def _quantised(needs: Needs, plan: Plan) -> bool:
    return stored(needs, plan) < needs.number
