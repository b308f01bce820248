"""What ``sora.memory`` estimates for a clip, against what networks take: ``python benchmarks/memory.py [TABLE ...]``.

TABLE is one of these; all by default:
    true    published sizes on the meta device: live tensors of a pass, with two blocks (the others add nothing)
    rss     small networks on the CPU, a program each: how far resident memory rises over what was there before the pass
    plans   published checkpoints at their own sizes: bytes by plan and phase, and what is chosen on cards of some sizes

``benchmarks/memory_clips.py`` compares whole clips, under every plan, on a pretended card.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from live_bytes import Live
from sora import memory
from sora.errors import OutOfMemory
from sora.memory import plans
from sora.models.wan import transformer_memory as transformer
from sora.models.wan import vae_memory as maps
from sora.models.wan.layout import CONFIGS
from sora.models.wan.needs import memory_needs_of
from sora.models.wan.sizes import Autoencoder, TextEncoder, Transformer, Workload
from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import SharedTimesteps
from sora.networks.wan.vace import build_transformer
from sora.networks.wan.vae import WAN21, WAN22, WanVAE, WanVAEConfig
from sora.runtime.norm_silu import FusedActivation
from sora.runtime.winograd import Winograd

GB = 2**30
Shape = tuple[int, int, int]
Run = Callable[[], object]

SIZES = {"480p": (21, 60, 104), "720p": (21, 90, 160), "5B 704p": (31, 44, 80)}
SMALL = WanConfig(num_layers=2, heads=6, head_dim=64, text_dim=64, ffn_dim=1024)


@torch.inference_mode()
def live_peak(run: Run) -> int:
    with Live() as live:
        run()
    return live.peak


def workload_of(config: WanConfig, shape: Shape, batch: int, number: int, *, experts: int = 1) -> Workload:
    """Of a checkpoint, from networks that take no memory. number: bytes of a number of the transformer's."""
    vae = WAN22 if config.out_channels == 48 else WAN21
    with torch.device("meta"):
        network, umt5, autoencoder = build_transformer(config), UMT5(UMT5Config()), WanVAE(vae)
    return Workload(
        Transformer.of(network, number, experts=experts),
        TextEncoder.of(umt5, number),
        Autoencoder.of(autoencoder, itemsize=number),
        latents=(vae.z_dim, *shape),
        batch=batch,
        itemsize=number,
    )


def transformer_run(config: WanConfig, shape: Shape, needs: Workload, device: str, *, times: bool = False) -> Run:
    """A pass of the network as a sampler calls it, without what the sampler itself holds. times: whether the first
    frame's is another than the rest's."""
    number = torch.float32 if needs.itemsize == 4 else torch.bfloat16
    with torch.device(device):
        network = build_transformer(config).to(number).eval()
        x = torch.zeros(needs.batch, config.in_channels, *shape, dtype=number)
        t: Tensor | SharedTimesteps = torch.zeros(needs.batch)
        if times:
            first = needs.tokens // shape[0]
            t = SharedTimesteps(torch.zeros(needs.batch, 2), ((0, first, 1), (first, needs.tokens, 0)))
        text = torch.zeros(needs.batch, *needs.transformer.text, dtype=number)
        further: dict[str, Any] = {}
        if config.vace_layers:
            further["control_BCTHW"] = torch.zeros(needs.batch, config.vace_in_channels, *shape, dtype=number)
        if config.image_dim:
            further["image_BLD"] = torch.zeros(needs.batch, config.pos_embed_seq_len or 257, config.image_dim)
        if config.inject_sample_info:
            further["fps"] = 24.0
    return lambda: network(x, t, text, **further)


@torch.library.custom_op("sora_memory::norm_silu", mutates_args=("out",))
def _norm_silu(x: Tensor, gamma: Tensor, out: Tensor) -> None:
    """As the kernel on a card: nothing is made on the way."""


class OnACard(FusedActivation):
    """The meta device does not keep track of the order in memory."""

    def is_faster(self, x_BCTHW: Tensor) -> bool:  # noqa: ARG002
        return True


def _kernel(x: Tensor, gamma: Tensor, out: Tensor) -> None:
    _norm_silu(x, gamma, out)


def vae_runs(
    config: WanVAEConfig, shape: Shape, number: torch.dtype, device: str, tile: int | None, *, fused: bool = False
) -> dict[str, Run]:
    """fused: with norms in one kernel, as on a card."""
    time, height, width = shape
    with torch.device(device):
        network = WanVAE(config).to(number).eval()
        network.convolver = Winograd
        network.activation = OnACard(_kernel) if fused else None
        latents = torch.zeros(1, config.z_dim, *shape, dtype=number)
        frames = 1 + config.time * (time - 1)
        pixels = torch.zeros(1, 3, frames, height * config.space, width * config.space, dtype=number)

    def decode() -> None:
        for _ in network.stream(latents, tile):
            pass

    return {"encode": lambda: network.encode(pixels, tile), "decode": decode}


def text_run(config: UMT5Config, number: torch.dtype, device: str) -> Run:
    with torch.device(device):
        network = UMT5(config).to(number).eval()
        ids, mask = torch.zeros(2, 512, dtype=torch.long), torch.ones(2, 512, dtype=torch.bool)
    return lambda: network(ids, mask)


Row = tuple[str, int, int]


def true_sizes() -> Iterator[Row]:
    """(case, live bytes, estimate)"""
    for name, size, number, times in [
        ("wan2.1-1.3b", "480p", 2, False),
        ("wan2.1-1.3b", "480p", 4, False),
        ("wan2.1-vace-1.3b", "480p", 2, False),
        ("skyreels-v2-df-1.3b", "480p", 2, True),
        ("wan2.1-i2v-14b-720p", "720p", 2, False),
        ("wan2.1-vace-14b", "720p", 2, False),
        ("wan2.2-ti2v-5b", "5B 704p", 2, False),
        ("wan2.2-ti2v-5b", "5B 704p", 2, True),
        ("wan2.2-ti2v-5b", "5B 704p", 4, True),
    ]:
        config, shape = CONFIGS[name], SIZES[size]
        needs = workload_of(config, shape, 2, number)
        layers = tuple(layer for layer in config.vace_layers if layer < 6)
        run = transformer_run(replace(config, num_layers=6, vace_layers=layers), shape, needs, "meta", times=times)
        case = f"{name} {size} {'float32' if number == 4 else 'bfloat16'}{' two times' if times else ''}"
        yield case, live_peak(run), transformer.transformer(needs, quantized=False)
    for number in (torch.float32, torch.bfloat16):
        fusions = (False,) if number == torch.float32 else (False, True)
        for name, vae, size in (("wan 2.1", WAN21, "480p"), ("wan 2.2", WAN22, "5B 704p")):
            for fused, tile in ((f, t) for f in fusions for t in (None, plans.TILE)):
                with torch.device("meta"):
                    sizes = Autoencoder.of(WanVAE(vae), number.itemsize, fused=fused)
                shape = (4, *SIZES[size][1:])
                for direction, run in vae_runs(vae, shape, number, "meta", tile, fused=fused).items():
                    count = maps.decoding if direction == "decode" else maps.encoding
                    case = f"{name} {direction} {size} {str(number)[6:]}"
                    case += f"{' norms fused' if fused else ''}{' in tiles' if tile else ''}"
                    yield case, live_peak(run), count(sizes, (vae.z_dim, *shape), tile)
        with torch.device("meta"):
            encoder = TextEncoder.of(UMT5(UMT5Config()))
        yield (
            f"umt5-xxl {str(number)[6:]}",
            live_peak(text_run(UMT5Config(), number, "meta")),
            transformer.text(encoder, 2, number.itemsize),
        )


def small_cases() -> dict[str, tuple[Callable[[], Run], int]]:
    """Name to what makes a pass on the CPU, and the estimate of it. Large enough to stand out of a program's noise. The
    autoencoder has its own width, since narrower convolutions use more memory there."""
    cases: dict[str, tuple[Callable[[], Run], int]] = {}
    wide = replace(SMALL, ffn_dim=3072)
    for name, config, number, times in [
        ("transformer, attention dearest, float32", SMALL, 4, False),
        ("transformer, attention dearest, bfloat16", SMALL, 2, False),
        ("transformer, feed-forward dearest, bfloat16", wide, 2, False),
        ("transformer, two times, float32", SMALL, 4, True),
    ]:
        needs, shape = workload_of(config, (5, 48, 64), 2, number), (5, 48, 64)
        make = lambda c=config, s=shape, n=needs, t=times: transformer_run(c, s, n, "cpu", times=t)  # noqa: E731
        cases[name] = make, transformer.transformer(needs, quantized=False)
    shape, latents = (2, 6, 8), (WAN21.z_dim, 2, 6, 8)
    with torch.device("meta"):
        sizes = Autoencoder.of(WanVAE(WAN21))
    for direction, count in (("encode", maps.encoding), ("decode", maps.decoding)):
        make = lambda d=direction: vae_runs(WAN21, shape, torch.float32, "cpu", None)[d]  # noqa: E731
        cases[f"wan 2.1 autoencoder, {direction}, float32"] = make, count(sizes, latents, None)
    return cases


def status(field: str) -> int:
    """Bytes of a line of Linux's /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


@torch.inference_mode()
def rise_here(case: str) -> int:
    """How far this program's resident memory rises during one pass, the second."""
    torch.set_num_threads(1)
    run = small_cases()[case][0]()
    run()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    run()
    return status("VmHWM") - before


def rise(case: str) -> int:
    """``rise_here`` in a program of its own. Memory goes back to the system at once, so that it is seen to rise."""
    env = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, __file__, "--rise", case],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )
    return int(done.stdout)


def table(title: str, rows: Iterator[Row]) -> None:
    print(f"\n{title:62} {'measured':>9} {'estimate':>9} {'off by':>7}")
    for case, measured, estimated in rows:
        off = 100 * (estimated / measured - 1)
        print(f"{case:62} {measured / GB:6.2f} GB {estimated / GB:6.2f} GB {off:+6.1f}%", flush=True)


def print_plans() -> None:
    cards = (8, 12, 16, 24, 48, 80)
    for name, size in [
        ("wan2.1-1.3b", "480p"),
        ("wan2.1-vace-1.3b", "480p"),
        ("wan2.1-vace-14b", "480p"),
        ("wan2.1-i2v-14b-720p", "720p"),
        ("wan2.2-ti2v-5b", "5B 704p"),
        ("wan2.2-t2v-a14b", "720p"),
    ]:
        experts = 2 if "a14b" in name else 1
        needs = workload_of(CONFIGS[name], SIZES[size], 2, 2, experts=experts)
        needs = replace(
            needs, vae=replace(needs.vae, weights=replace(needs.vae.weights, bytes_per_parameter=4), number=4)
        )
        print(f"\n{name} {size}, {needs.tokens} tokens{'':14} {'text':>7} {'encode':>7} {'sample':>7} {'decode':>7}")
        for plan in memory.PLANS_BY_SPEED:
            found = memory.estimate(memory_needs_of(replace(needs, encodes=True)), plan)
            print(f"  {plan.name:44}", *(f"{found.phase(p).total / GB:7.1f}" for p in memory.PHASES))
        for card in cards:
            try:
                plan, found = memory.choose_plan(memory_needs_of(needs), round(0.96 * card * GB))
                print(f"  {card:2} GB  {memory.summary(plan, found)}")
            except OutOfMemory as error:
                print(f"  {card:2} GB  {error}")


def main() -> None:
    if sys.argv[1:2] == ["--rise"]:
        print(rise_here(sys.argv[2]))
        return
    wanted = sys.argv[1:] or ["true", "rss", "plans"]
    if "true" in wanted:
        table("live tensors at published sizes (meta device)", true_sizes())
    if "rss" in wanted:
        rows = ((case, rise(case), estimated) for case, (_, estimated) in small_cases().items())
        table("rise of resident memory, small networks (CPU)", rows)
    if "plans" in wanted:
        print_plans()


if __name__ == "__main__":
    main()
