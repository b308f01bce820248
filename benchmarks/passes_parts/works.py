"""The passes that are timed: diffusers as a user gets it and tuned; ours as the product runs it, and with optimisations
disabled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor

from passes_parts.networks import PassInputs
from passes_parts.rows import Row
from sora.models.attention import use_fastest_attention
from sora.models.guidance import GuidedTransformer, should_batch_guidance
from sora.networks.wan.dit import SharedTimesteps, WanDiT
from sora.runtime.compile import compile_blocks
from sora.runtime.speed import Speed

Pass = Callable[[], Tensor]
"""One pass, or the two of a guided step: velocities (B, C, T, H, W), the prompt's first."""

OPTIMIZATIONS = ("fused", "text-once", "distinct-times", "batched-guidance", "attention", "compile")
"""The optimisations of ``sora.runtime.speed`` that apply to a pass."""


def diffusers_pass(network: WanTransformer3DModel, given: PassInputs) -> Pass:
    """As diffusers' pipelines call it: one pass for the prompt, then one for the negative."""

    @torch.no_grad()
    def work() -> Tensor:
        x, times = given.x_BCTHW, given.times_B_or_BN
        return torch.cat([network(x, times, text, return_dict=False)[0] for text in given.text_BLD.split(1)])

    return work


def tuned(network: WanTransformer3DModel, device: str, *, compiled: bool) -> WanTransformer3DModel:
    """What diffusers' own documentation offers: fused projections, cuDNN's attention on CUDA, compiled blocks."""
    network.fuse_qkv_projections()
    if device == "cuda":
        network.set_attention_backend("_native_cudnn")
    if compiled:
        network.compile_repeated_blocks(fullgraph=True)
    return network


@dataclass(frozen=True)
class Variant:
    """Our network with some of the optimisations. work: changes the network it is given, so each wants its own."""

    name: str
    speed: Speed

    def applies(self, row: Row, device: str) -> bool:
        """Whether what is left out would do anything to this row."""
        applicable = {"distinct-times": row.per_token_timesteps, "batched-guidance": row.guided}
        on_device = device == "cuda"
        left_out = self.speed.disabled
        return len(left_out) != 1 or all(applicable.get(w, on_device or w in ("fused", "text-once")) for w in left_out)

    def work(self, network: WanDiT, given: PassInputs) -> Pass:
        """As the Wan family drives a transformer whose weights stay where they are."""
        speed, guided = self.speed, len(given.text_BLD) == 2
        x, times = given.x_BCTHW, given.times_B_or_BN
        if speed.uses("distinct-times") and times.ndim == 2:
            times = shared(times)
        joins = should_batch_guidance(speed, x.device, x[0, 0].numel() // prod(network.config.patch))
        passes = GuidedTransformer(
            given.text_BLD, cache_text=lambda: speed.uses("text-once"), batch_guidance=lambda: joins
        )
        self._optimize(network, x.device)

        use_fastest_attention(network, x.shape[2:], x.device, x.dtype, speed)  # type: ignore[arg-type]

        @torch.inference_mode()
        def work() -> Tensor:
            return passes.velocities(lambda: network, x, times, guided=guided)

        return work

    def cached_bytes(self, network: WanDiT, given: PassInputs) -> int:
        """Bytes that wait between passes: keys and values of the text, for every block."""
        texts, words, _ = given.text_BLD.shape
        numbers = 2 * texts * words * network.config.dim * network.config.num_layers
        return numbers * given.text_BLD.itemsize if self.speed.uses("text-once") else 0

    def _optimize(self, network: WanDiT, device: torch.device) -> None:
        if self.speed.uses("fused"):
            network.fuse_qkv()
        if self.speed.uses("compile") and device.type == "cuda":
            compile_blocks(network.blocks_in_order())


OURS = (
    Variant("ours", Speed()),
    *(Variant(f"ours without {name}", Speed(disabled=frozenset({name}))) for name in OPTIMIZATIONS),
    Variant("ours, all off", Speed(disabled=frozenset(OPTIMIZATIONS))),
)


def shared(times_BN: Tensor) -> SharedTimesteps:
    """Times by the token as neighbours share them."""
    distinct_U, counts_U = torch.unique_consecutive(times_BN[0], return_counts=True)
    ends = counts_U.cumsum(0).tolist()
    return SharedTimesteps(distinct_U[None], tuple(zip([0, *ends], ends, range(len(ends)), strict=False)))
