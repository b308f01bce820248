"""The memory that a Wan model needs, from the sizes of its networks, before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from sora.catalog.spec import ModelSpec
from sora.memory import Needs, NetworkSize, WeightsSize
from sora.models.guidance import should_batch_guidance, step_cache_threshold
from sora.models.wan import transformer_memory as work
from sora.models.wan import vae_memory as maps
from sora.models.wan.layout import EXPERTS, meta_module
from sora.models.wan.sizes import Autoencoder, TextEncoder, Transformer, Workload
from sora.models.wan.work import encodes_canvas
from sora.networks.layers import MPS_ATTENTION_LIMIT
from sora.runtime import float8
from sora.runtime.norm_silu import may_fuse_activation
from sora.runtime.parallel.config import ParallelConfig, config_of_canvas
from sora.runtime.speed import DEFAULT_SPEED, Speed

COMMUNICATOR_BYTES = 100 * 2**20
"""Of NCCL's buffers for a group of processes, with its usual number of channels (so reported by users of vLLM). Those
of the groups that sample are there when free memory is measured."""


def memory_needs(
    spec: ModelSpec,
    component_paths: Mapping[str, Path] | None,
    shape_FYX: tuple[int, int, int],
    device: torch.device,
    dtype: torch.dtype,
    *,
    encodes: bool,
    references: int = 0,
    vae_dtype: torch.dtype = torch.float32,
    speed: Speed = DEFAULT_SPEED,
    windows: int = 1,
    processes: int = 1,
    guided: bool = True,
) -> Needs:
    """component_paths: of ``layout.component_paths``; None for a model that is not downloaded. shape_FYX: of the
    largest canvas. encodes: whether any pixel is known. references: pictures that are shown with it. vae_dtype: in
    which the VAE runs. windows: canvases that are sampled at once. processes: that paint together. guided: whether a
    step has two passes. The prompt and the negative prompt are counted as one batch where ``models.guidance`` makes
    them one."""
    itemsize = dtype.itemsize
    paths = {} if component_paths is None else component_paths
    experts = len([name for name in EXPERTS if name in paths]) if paths else 1 + (spec.boundary is not None)
    dit = meta_module(spec, EXPERTS[0], paths.get(EXPERTS[0]))
    dit_bytes = _bytes_per_parameter(dit, paths.get(EXPERTS[0]), itemsize)
    _, t, h, w = latents = spec.grid.latent_shape(*shape_FYX)
    tokens = (references + t) * h * w // spec.grid.patch**2
    divided = config_of_canvas(processes, dit.config.heads, guided=guided) or ParallelConfig()  # type: ignore[union-attr]
    prompts = 2 if guided and spec.defaults.guidance != 1 else 1
    batches_guidance = prompts == 2 and divided.cfg_degree == 1 and should_batch_guidance(speed, device, tokens)
    workload = Workload(
        transformer=Transformer.of(dit, dit_bytes, experts=experts),
        text=_text_encoder(spec, paths.get("text_encoder"), itemsize),
        vae=autoencoder_sizes(meta_module(spec, "vae", paths.get("vae")), device, vae_dtype),
        latents=latents,
        references=references,
        image=_image_encoder(spec, paths, itemsize),
        prompts=prompts,
        batch=2 if batches_guidance else 1,
        windows=windows,
        float8=dit_bytes == itemsize and multiplies_in_float8(speed, device, dtype),
        step_cache=step_cache_threshold(spec, speed) > 0,
        itemsize=itemsize,
        encodes=encodes_canvas(spec, known=encodes),
        scores=MPS_ATTENTION_LIMIT if device.type == "mps" else 0,
        unified=device.type != "cuda",
        processes=processes,
        ulysses_degree=divided.ulysses_degree,
    )
    return memory_needs_of(workload)


def _text_encoder(spec: ModelSpec, path: Path | None, itemsize: int) -> TextEncoder:
    network = meta_module(spec, "text_encoder", path)
    return TextEncoder.of(network, _bytes_per_parameter(network, path, itemsize))


def _image_encoder(spec: ModelSpec, paths: Mapping[str, Path], itemsize: int) -> WeightsSize:
    """Of size 0 where there is none. paths: of what is downloaded, or empty."""
    is_there = "image_encoder" in paths if paths else "image_encoder/config.json" in spec.files
    if not is_there:
        return WeightsSize()
    return WeightsSize.of(meta_module(spec, "image_encoder", paths.get("image_encoder")), itemsize)


def memory_needs_of(workload: Workload) -> Needs:
    """The memory that a workload needs."""
    t, text, vae, latents = workload.transformer, workload.text, workload.vae, workload.latents

    def sampling(*, sequential_guidance: bool, quantized: bool, caches_text: bool) -> int:
        one_pass = replace(workload, batch=1) if sequential_guidance else workload
        one_pass = replace(one_pass, float8=workload.float8 and not quantized)
        # Where all blocks stay, they keep the text, and fuse what is not quantized.
        how = {"quantized": quantized, "fused": caches_text and not quantized, "keeps_text": caches_text}
        bytes_needed = work.sampler(one_pass) + work.transformer(one_pass, **how) + work.step_cache(one_pass)
        return bytes_needed + (work.kept_text(workload) if caches_text else 0)

    return Needs(
        transformer=NetworkSize(t.weights, t.in_blocks, t.blocks, t.largest),
        vae=vae.weights,
        latent_side=max(latents[2:]),
        sampling_bytes=sampling,
        decoding_bytes=lambda tile: maps.decoding(vae, latents, tile) + _between_cards(workload),
        encoding_bytes=(lambda tile: maps.encoding(vae, latents, tile)) if workload.encodes else None,
        text=NetworkSize(text.weights, text.in_blocks, text.blocks),
        image=workload.image,
        text_bytes=work.text(text, workload.windows * workload.prompts, workload.itemsize),
        converted_bytes=work.float8_weights(workload) if workload.float8 else None,
        experts=t.experts,
        batches_guidance=workload.batch > 1,
        dtype_bytes=workload.itemsize,
        unified_memory=workload.unified,
        processes=workload.processes,
    )


def _between_cards(workload: Workload) -> int:
    """Of what a card needs besides to send its two neighbours frames of a clip that all decode."""
    return 0 if workload.processes == 1 or workload.unified else 2 * COMMUNICATOR_BYTES


def multiplies_in_float8(speed: Speed, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether wide layers of transformers do, where their weights are not quantized already."""
    return speed.fast and float8.is_fast(device) and dtype == torch.bfloat16


def autoencoder_sizes(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """Of a ``WanVAE`` that runs on a device in a dtype. cuDNN reorders float32; what is smaller is in its order."""
    copies = device.type == "cuda" and dtype == torch.float32
    return Autoencoder.of(network, dtype.itemsize, copies=copies, fused=may_fuse_activation(device, dtype))


def _bytes_per_parameter(network: nn.Module, path: Path | None, itemsize: int) -> float:
    """Bytes of a parameter in memory: as in its file, where it is quantized there, else those of the dtype."""
    if path is None:
        return itemsize
    files = [path] if path.is_file() else [f for f in path.iterdir() if f.suffix in (".safetensors", ".gguf")]
    count = sum(parameter.numel() for parameter in network.parameters())
    return min(float(itemsize), sum(file.stat().st_size for file in files) / max(1, count))
