"""How much memory a plan takes on the device in each phase, before anything is loaded. Pure arithmetic, in bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sora.memory.needs import Needs
from sora.memory.plans import MemoryPlan

SLOTS = 2
"""Places on the device through which streamed blocks pass: one at work, one on its way."""

GB = 2**30

PROCESS_BYTES = 350 * 2**20
"""Of another process itself: Python, torch and what it imports took 310 MB of Linux's memory where nothing was
loaded."""


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
    # Blocks that are streamed are converted one by one; of networks that stay, the last that is loaded all at once.
    converted = _saved_by_conversion(needs, plan) if plan.resident_blocks is None else 0
    if needs.unified_memory:
        text_weights, network = text_weights + text_streamed, network + network_streamed
    vae, tile = needs.vae.bytes, plan.tile
    resident_text = text_weights if plan.text_encoder == "resident" else 0
    all_else = network + converted + vae if plan.text_encoder == "resident" else 0
    around_vae = (0 if plan.separate_vae else network) + vae
    found = Estimate(
        text=Phase(text_weights + all_else, needs.text_bytes),
        encode=Phase()
        if needs.encoding_bytes is None
        else Phase(around_vae + resident_text, needs.encoding_bytes(tile)),
        sample=Phase(network + (0 if plan.separate_vae else vae) + resident_text, max(sampling, converted)),
        decode=Phase(around_vae + resident_text, needs.decoding_bytes(tile)),
        host=needs.processes * network_streamed + text_streamed,
    )
    if needs.processes == 1 or not needs.unified_memory:
        return found
    return _in_one_memory(found, needs.processes - 1, network + (0 if plan.separate_vae else vae), around_vae)


def _in_one_memory(one: Estimate, others: int, sampling: int, decoding: int) -> Estimate:
    """Of several processes together. one: of the first. others: how many there are besides, which keep their
    transformer while the first encodes. sampling, decoding: bytes of the weights that each of them has then."""
    waiting, share = others * (PROCESS_BYTES + sampling), 1 + others
    return replace(
        one,
        text=replace(one.text, weights=one.text.weights + waiting),
        encode=replace(one.encode, weights=one.encode.weights + waiting),
        sample=Phase(one.sample.weights + waiting, share * one.sample.work),
        decode=Phase(one.decode.weights + others * (PROCESS_BYTES + decoding), share * one.decode.work),
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
    t, own, saved = needs.transformer, parameter_bytes(needs, plan), _saved_by_conversion(needs, plan)
    together = _experts_together(needs, plan)
    if plan.resident_blocks is None or plan.resident_blocks + SLOTS >= t.block_count:
        return (round(t.weights.parameters * own) - saved) * together, 0
    block = (t.block_parameters * own - saved) / t.block_count
    largest = t.largest_block * own - saved / t.block_count
    there = (t.weights.parameters - t.block_parameters) * own + plan.resident_blocks * block + SLOTS * largest
    return round(there) * together, round((t.block_count - plan.resident_blocks) * block * needs.experts)


def _experts_together(needs: Needs, plan: MemoryPlan) -> int:
    return 1 if plan.single_expert else needs.experts


def _saved_by_conversion(needs: Needs, plan: MemoryPlan) -> int:
    """Bytes by which one transformer becomes smaller as its weights are converted."""
    if needs.converted_bytes is None or _quantized(needs, plan):
        return 0
    return needs.transformer.weights.bytes - needs.converted_bytes


def parameter_bytes(needs: Needs, plan: MemoryPlan) -> float:
    """Bytes of a parameter of the transformer under ``plan``."""
    own = needs.transformer.weights.bytes_per_parameter
    return min(own, 1.0) if plan.storage == "fp8" else own


def _quantized(needs: Needs, plan: MemoryPlan) -> bool:
    return parameter_bytes(needs, plan) < needs.dtype_bytes
