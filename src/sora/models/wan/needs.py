"""What painting with a Wan model needs of memory, from the sizes of its networks, before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from sora.catalog.spec import ModelSpec
from sora.memory import Blocks, Needs, Weights
from sora.models.wan import transformer_memory as work
from sora.models.wan import vae_memory as maps
from sora.models.wan.layout import EXPERTS, meta_module
from sora.models.wan.sizes import Autoencoder, TextEncoder, Transformer, Workload
from sora.networks.layers import MPS_ATTENTION_LIMIT


def memory_needs(
    spec: ModelSpec,
    component_paths: Mapping[str, Path] | None,
    shape_FYX: tuple[int, int, int],
    device: torch.device,
    dtype: torch.dtype,
    *,
    encodes: bool,
) -> Needs:
    """places: of ``wan_places``; None for weights that are not here. shape_FYX: of what is painted at once. encodes:
    whether anything of it is known. Prompt and negative go through the transformer one after the other."""
    number = dtype.itemsize
    here = {} if component_paths is None else component_paths
    experts = len([name for name in EXPERTS if name in here]) if here else 1 + (spec.boundary is not None)
    dit = meta_module(spec, EXPERTS[0], here.get(EXPERTS[0]))
    sees = "image_encoder" in here if here else "image_encoder/config.json" in spec.files
    seen = meta_module(spec, "image_encoder", here.get("image_encoder")) if sees else None
    reader = meta_module(spec, "text_encoder", here.get("text_encoder"))
    dit_bytes, reader_bytes = (
        _stored(dit, here.get(EXPERTS[0]), number),
        _stored(reader, here.get("text_encoder"), number),
    )
    painting = Workload(
        transformer=Transformer.of(dit, dit_bytes, experts=experts),
        text=TextEncoder.of(reader, reader_bytes),
        vae=Autoencoder.of(meta_module(spec, "vae", here.get("vae"))),
        latents=spec.grid.latent_shape(*shape_FYX),
        image=Weights() if seen is None else Weights.of(seen, number),
        batch=1,
        itemsize=number,
        encodes=encodes or spec.known in ("channels", "control"),
        scores=MPS_ATTENTION_LIMIT if device.type == "mps" else 0,
        unified=device.type != "cuda",
    )
    return memory_needs_of(painting)


def memory_needs_of(painting: Workload) -> Needs:
    """What a painting of these sizes needs."""
    t, text, vae, latents = painting.transformer, painting.text, painting.vae, painting.latents

    def sampling(*, one_prompt: bool, quantised: bool, keeps_text: bool) -> int:
        one_pass = replace(painting, batch=1) if one_prompt else painting
        taken = work.sampler(one_pass) + work.transformer(one_pass, quantised=quantised)
        return taken + (work.kept_text(painting) if keeps_text else 0)

    return Needs(
        transformer=Blocks(t.weights, t.in_blocks, t.blocks, t.largest),
        vae=vae.weights,
        side=max(latents[2:]),
        sampling=sampling,
        decoding=lambda tile: maps.decoding(vae, latents, tile),
        encoding=(lambda tile: maps.encoding(vae, latents, tile)) if painting.encodes else None,
        text=Blocks(text.weights, text.in_blocks, text.blocks),
        image=painting.image,
        reading=work.text(text, painting.batch, painting.itemsize),
        experts=t.experts,
        paired=painting.batch > 1,
        number=painting.itemsize,
        unified=painting.unified,
    )


def _stored(part: nn.Module, place: Path | None, number: int) -> float:
    """Bytes a parameter takes in memory: as in its file where that keeps it in fewer bits than it is computed in."""
    if place is None:
        return number
    files = [place] if place.is_file() else [f for f in place.iterdir() if f.suffix in (".safetensors", ".gguf")]
    count = sum(parameter.numel() for parameter in part.parameters())
    return min(float(number), sum(file.stat().st_size for file in files) / max(1, count))
