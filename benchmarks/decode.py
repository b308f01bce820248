"""Wan's autoencoders, ours against diffusers' ``AutoencoderKLWan``: ``python benchmarks/decode.py [--device cuda]``.

Both have the same random weights and are given the same pixels or latents, in one process, by turns. Ours runs as the
product runs it and with each of its switches off. Memory is the most that one decode or encode takes above what was
held before it, and, of ours, what it keeps from then on. Prints a Markdown table. On a CPU sizes are scaled to it, in
float32; on CUDA they are true ones, in bfloat16 and float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor, nn

from minitrain.eval.verdicts import machine_summary, markdown_table
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.winograd import Winograd
from timing import by_turns, forget_peak, peak_memory, ratio

HEAD = ["work", "diffusers s", "ours s", "times faster", "spread", "without winograd", "MB, diffusers", "MB, ours"]
HEAD += ["share", "MB kept", "difference", "error / theirs"]
SCALED22 = replace(WAN22, base_dim=40, decoder_base_dim=64)
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """size: latents (T, H, W). checked: whether the error against float64 is measured too, of float32."""

    name: str
    config: WanVAEConfig
    size: tuple[int, int, int]
    encodes: bool = False
    checked: bool = False
    dtype: torch.dtype = torch.float32


QUICK = [Row("2.1 scaled, decode", replace(WAN21, base_dim=32), (2, 16, 24), checked=True)]
ROWS = [
    *QUICK,
    Row("2.1 true width, decode", WAN21, (2, 16, 16)),
    Row("2.1 true width, encode", WAN21, (2, 12, 12), encodes=True),
    Row("2.2 scaled, decode", SCALED22, (2, 16, 16)),
]
TRUE = [
    Row(f"{name}, {work}, {dtype}".replace("torch.", ""), config, size, encodes=work == "encode", dtype=dtype)
    for name, config, size in [
        ("2.1 480p 81 frames", WAN21, (21, 60, 104)),
        ("2.1 720p 81 frames", WAN21, (21, 90, 160)),
        ("2.2 704p 121 frames", WAN22, (31, 44, 80)),
    ]
    for work in ("decode", "encode")
    for dtype in (torch.bfloat16, torch.float32)
]


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    rows = TRUE if args.device == "cuda" else QUICK if args.quick else ROWS
    print(f"{machine_summary()}\n")
    with torch.inference_mode():
        print(markdown_table(HEAD, [measured(row, args.device, args.runs) for row in rows if args.rows in row.name]))


def measured(row: Row, device: str, runs: int) -> list[str]:
    with torch.inference_mode(False):  # weights are not made under it where the product loads them
        ours, theirs = pair(row.config, device, row.dtype)
    given = given_to(row, device)
    works = [work_of(theirs, row, given), work_of(ours, row, given), without(ours, work_of(ours, row, given))]
    taken, kept = zip(*(memory_of(work, device) for work in works[:2]), strict=True)
    first, second = (work() for work in works[:2])
    difference = float((first - second).abs().max())
    error = against_exact(row, theirs, given, first, second) if row.checked else "-"
    their_times, our_times, plain_times = by_turns(works, runs)
    spread = max(their_times.spread, our_times.spread)
    return [
        f"{row.name}, {'x'.join(map(str, row.size))} latents",
        *(f"{timed.median:.2f}" for timed in (their_times, our_times)),
        f"{ratio(their_times, our_times):.2f}",
        f"{100 * spread:.0f} %",
        f"{ratio(their_times, plain_times):.2f}",
        *(f"{size / MIB:.0f}" for size in taken),
        f"{taken[1] / max(1, taken[0]):.2f}",
        f"{kept[1] / MIB:.0f}",
        f"{difference:.1e}",
        error,
    ]


def pair(config: WanVAEConfig, device: str, dtype: torch.dtype) -> tuple[WanVAE, AutoencoderKLWan]:
    """Ours and theirs with the same weights."""
    torch.manual_seed(0)
    theirs = AutoencoderKLWan(
        base_dim=config.base_dim,
        decoder_base_dim=config.decoder_base_dim,
        z_dim=config.z_dim,
        latents_mean=list(config.latents_mean),
        latents_std=list(config.latents_std),
        is_residual=config.is_residual,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        patch_size=None if config.patch_size == 1 else config.patch_size,
        scale_factor_temporal=config.time,
        scale_factor_spatial=config.space,
    )
    ours = WanVAE(config)
    ours.convolver = Winograd
    ours.load_state_dict(theirs.state_dict())
    networks: list[nn.Module] = [ours, theirs]
    for network in networks:
        network.eval().requires_grad_(False).to(device=device, dtype=dtype)
    return ours, theirs


def given_to(row: Row, device: str) -> Tensor:
    """Pixels, or latents as they come out of the encoder."""
    t, h, w = row.size
    random = torch.Generator().manual_seed(1)
    if not row.encodes:
        return torch.randn(1, row.config.z_dim, t, h, w, generator=random).to(device, row.dtype)
    frames, space = 1 + row.config.time * (t - 1), row.config.space
    pixels = torch.rand(1, 3, frames, h * space, w * space, generator=random) * 2 - 1
    return pixels.to(device, row.dtype)


def work_of(network: WanVAE | AutoencoderKLWan, row: Row, given: Tensor) -> Callable[[], Tensor]:
    if isinstance(network, WanVAE):
        return lambda: network.moments(given)[0] if row.encodes else network.decode(given)
    if row.encodes:
        return lambda: network.encode(given, return_dict=False)[0].mode()
    shape = 1, -1, 1, 1, 1
    scale, shift = (torch.tensor(v).view(shape).to(given) for v in (row.config.latents_std, row.config.latents_mean))
    return lambda: network.decode(given * scale + shift, return_dict=False)[0]


def without(ours: WanVAE, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        ours.convolver = None
        try:
            return work()
        finally:
            ours.convolver = Winograd

    return run


def memory_of(work: Callable[[], object], device: str) -> tuple[int, int]:
    """Bytes that the first run takes at most above what was held before, and that are held after it."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before, torch.cuda.memory_allocated() - before
    forget_peak()
    before = resident()
    work()
    return peak_memory() - before, max(0, resident() - before)


def resident() -> int:
    """Bytes in memory now."""
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def against_exact(row: Row, theirs: AutoencoderKLWan, given: Tensor, first: Tensor, second: Tensor) -> str:
    """Our largest error against diffusers in float64, over theirs; and ours."""
    exact = work_of(theirs.double(), row, given.double())()
    theirs.float()
    wrong, ours = (float((x - exact).abs().max()) for x in (first, second))
    return f"{ours / wrong:.1f} ({ours:.0e})"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--rows", default="", help="only rows whose names hold this")
    parser.add_argument("--quick", action="store_true", help="one row, under a minute")
    return parser.parse_args()


if __name__ == "__main__":
    main()
