"""How much memory a plan takes on the device in each phase, before anything is loaded. Pure arithmetic, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from sora.memory.needs import Needs, WeightsSize
from sora.memory.plans import MemoryPlan

SLOTS = 2
"""Places on the device through which streamed blocks pass: one at work, one on its way."""

GB = 2**30


@dataclass(frozen=True)
class Phase:
    """weights: bytes of loaded weights. work: bytes allocated temporarily while the phase runs."""

    weights: int = 0
    work: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.work


PHASES = ("text", "encode", "sample", "decode")


@dataclass(frozen=True)
class Estimate:
    """Bytes on the device by phase: encoding the texts, encoding known pixels, sampling, decoding. host: bytes of CPU
    memory that hold offloaded weights. free, free_host: free bytes of either, where known."""

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


def estimate(needs: Needs, plan: MemoryPlan) -> Estimate:
    """The memory that ``needs`` takes under ``plan``. Offloaded weights count as the device's where its memory is the
    machine's."""
    text_weights, text_streamed = _text(needs, plan)
    sampling = needs.sampling_bytes(
        sequential_guidance=plan.sequential_guidance,
        quantized=_quantized(needs, plan),
        caches_text=plan.resident_blocks is None,
    )
    network, network_streamed = _transformer(needs, plan)
    saved = _saved_by_conversion(needs, plan)
    loaded_last, network = network, network - saved * _experts_together(needs, plan)
    if needs.unified_memory:
        text_weights, network = text_weights + text_streamed, network + network_streamed
    vae, tile = needs.vae.bytes, plan.tile
    resident_text = text_weights if plan.text_encoder == "resident" else 0
    all_else = loaded_last + vae if plan.text_encoder == "resident" else 0
    around_vae = (0 if plan.separate_vae else network) + vae + resident_text
    return Estimate(
        text=Phase(text_weights + all_else, needs.text_bytes),
        encode=Phase() if needs.encoding_bytes is None else Phase(around_vae, needs.encoding_bytes(tile)),
        # What conversion saves is there until the last network is converted, before any pass.
        sample=Phase(network + (0 if plan.separate_vae else vae) + resident_text, max(sampling, saved)),
        decode=Phase(around_vae, needs.decoding_bytes(tile)),
        host=network_streamed + text_streamed,
    )


def _text(needs: Needs, plan: MemoryPlan) -> tuple[int, int]:
    """Bytes of the text and image encoders on the device, and bytes of offloaded ones."""
    encoder, image = needs.text, needs.image.bytes
    if plan.text_encoder != "streamed" or encoder.block_count <= SLOTS:
        return encoder.weights.bytes + image, 0
    block = encoder.block_parameters / encoder.block_count
    bytes_per_parameter = encoder.weights.bytes_per_parameter
    there = (encoder.weights.parameters - encoder.block_parameters + SLOTS * block) * bytes_per_parameter
    return round(there) + image, round(encoder.block_parameters * bytes_per_parameter)


def _transformer(needs: Needs, plan: MemoryPlan) -> tuple[int, int]:
    """Bytes of the transformer on the device, and bytes offloaded."""
    t = needs.transformer
    weights = WeightsSize(t.weights.parameters, parameter_bytes(needs, plan))
    together = _experts_together(needs, plan)
    if plan.resident_blocks is None or plan.resident_blocks + SLOTS >= t.block_count:
        return weights.bytes * together, 0
    block = t.block_parameters / t.block_count
    there = t.weights.parameters - t.block_parameters + plan.resident_blocks * block + SLOTS * t.largest_block
    offloaded = (t.block_count - plan.resident_blocks) * block * needs.experts
    return round(there * weights.bytes_per_parameter) * together, round(offloaded * weights.bytes_per_parameter)


def _experts_together(needs: Needs, plan: MemoryPlan) -> int:
    return 1 if plan.single_expert else needs.experts


def _saved_by_conversion(needs: Needs, plan: MemoryPlan) -> int:
    """Bytes of one transformer that are freed when its weights are converted; only those that all stay as they are in
    the file are."""
    if needs.converted_bytes is None or plan.resident_blocks is not None or _quantized(needs, plan):
        return 0
    return needs.transformer.weights.bytes - needs.converted_bytes


def parameter_bytes(needs: Needs, plan: MemoryPlan) -> float:
    """Bytes of a parameter of the transformer under ``plan``."""
    own = needs.transformer.weights.bytes_per_parameter
    return min(own, 1.0) if plan.storage == "fp8" else own


def _quantized(needs: Needs, plan: MemoryPlan) -> bool:
    return parameter_bytes(needs, plan) < needs.dtype_bytes
