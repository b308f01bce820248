"""Decoding split in time over several processes, over gloo: bit for bit what one process decodes."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from sora.networks.wan.vae import Float16Overflow, WanVAE, WanVAEConfig
from sora.networks.wan.vae_split import split_chunks
from sora.runtime.norm_silu import FusedActivation, norm_silu_in_torch
from sora.runtime.parallel_vae import DecodeRing
from sora.runtime.winograd import Winograd

RANKS = 4
CASES_OF_TWO = (1, 2, 5)  # of CASES: a chunk's way through two processes is one of those through four
STATISTICS: dict[str, Any] = {"latents_mean": (0.3, -0.7), "latents_std": (2.1, 0.6)}
SMALL = WanVAEConfig(
    base_dim=16, z_dim=2, dim_mult=(1, 2, 2), num_res_blocks=1, temperal_downsample=(True, True), **STATISTICS
)
RESIDUAL = WanVAEConfig(**{**vars(SMALL), "is_residual": True, "in_channels": 12, "out_channels": 12, "patch_size": 2})
CONFIGS = {"2.1": SMALL, "2.2": RESIDUAL}

Case = tuple[str, int, int | None, int, str]
"""Autoencoder, latents, tile, latents at once, and how its layers compute."""

CASES: list[Case] = [
    ("2.1", 6, None, 1, "plain"),
    ("2.1", 6, None, 1, "winograd"),
    ("2.1", 6, 5, 1, "winograd"),
    ("2.1", 9, None, 2, "channels last"),
    ("2.2", 6, None, 1, "plain"),
    ("2.2", 5, 5, 1, "fused"),
    ("2.2", 7, 5, 3, "winograd"),
    ("2.1", 2, 5, 1, "channels last"),
    ("2.2", 1, None, 1, "plain"),
    ("2.1", 1, 5, 1, "winograd"),
]


def network(name: str, how: str) -> WanVAE:
    torch.manual_seed(0)
    vae = WanVAE(CONFIGS[name]).eval().requires_grad_(False)
    for parameter in vae.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
        parameter.normal_(std=1.2 * fan_in**-0.5)
    if how == "winograd":
        vae.convolver = Winograd
    if how == "fused":
        vae.activation = FusedActivation(norm_silu_in_torch)
    return vae.in_channels_last() if how in ("channels last", "fused") else vae


def latents(length: int) -> Tensor:
    return torch.randn(2, 2, length, 6, 9, generator=torch.Generator().manual_seed(1))


def one_of(rank: int, folder: str) -> None:
    """One process; whatever rank 0 finds goes to a file."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    found: list[tuple[str, bool]] = []
    for size in (RANKS, 2):
        if rank < size:
            dist.init_process_group("gloo", f"file://{folder}/{size}", rank=rank, world_size=size)
            found += [(f"{size} ranks, {case}", right) for case, right in findings(DecodeRing(), cases_of(size))]
            dist.destroy_process_group()
    if rank == 0:
        Path(folder, "found.json").write_text(json.dumps(found), encoding="utf-8")


def cases_of(size: int) -> list[Case]:
    return CASES if size == RANKS else [CASES[i] for i in CASES_OF_TWO]


@torch.inference_mode()
def findings(ring: DecodeRing, cases: list[Case]) -> Iterator[tuple[str, bool]]:
    """(what, whether it is as it should be); of all ranks, rank 0's alone mean something."""
    for case in cases:
        yield str(case), equals_one_process(ring, *case)
    yield "a caller that stops early", goes_on_after_an_early_stop(ring)
    yield "an overflow of one chunk", raises_an_overflow(ring)


def equals_one_process(ring: DecodeRing, name: str, length: int, tile: int | None, at_once: int, how: str) -> bool:
    vae, given = network(name, how), latents(length)
    chunks = list(ring.stream(split_chunks(vae, given, ring, tile, at_once)))
    if ring.rank:
        return not chunks
    alone = list(vae.stream(given, tile, at_once))
    same = all(torch.equal(a, b) for a, b in zip(chunks, alone, strict=True))
    return same and float(torch.cat(alone, dim=2).std()) > 0.1


def goes_on_after_an_early_stop(ring: DecodeRing) -> bool:
    vae, given = network("2.1", "plain"), latents(6)
    stream = ring.stream(split_chunks(vae, given, ring))
    if ring.rank:
        return not list(stream)
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    return torch.equal(first, next(vae.stream(given)))


def raises_an_overflow(ring: DecodeRing) -> bool:
    """Of the fourth latent, wherever it is decoded, after the frames before it."""
    vae, given = network("2.1", "plain").half(), latents(6)
    given[:, :, 3] *= 3e6
    frames, overflown = list[Tensor](), False
    try:
        for each in ring.stream(split_chunks(vae, given, ring)):
            frames.append(each)
    except Float16Overflow:
        overflown = True
    return overflown == (ring.rank == 0) and len(frames) == (3 if overflown else 0)


def test_processes_decode_the_very_frames_of_one(tmp_path: Path) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])  # torch is imported once for all
    mp.start_processes(one_of, (str(tmp_path),), nprocs=RANKS, start_method="forkserver")  # type: ignore[attr-defined]
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert len(found) == sum(len(cases_of(size)) + 2 for size in (RANKS, 2))
    assert [what for what, right in found if not right] == []
