"""Whether cost grows as it must: ``python benchmarks/scaling.py [PART ...]``.

PART is one of these; all by default:
    tokens  a pass's time against tokens: a + b n + c n^2
    batch   a pass's time against the samples of a batch: a + b n
    decode  an autoencoder's time against frames: a + b n
    memory  resident memory of a pass and of a decode against what ``sora.memory`` estimates
    length  resident memory of a long film, of ``mini``, against a short one's; live tensors of a long decode likewise
On one core, in float32, with random weights where these do not matter. Times are the least of several, taken by turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import memory
from minitrain.eval.verdicts import Verdicts, machine_summary
from sora import catalog, models
from sora.engine import engine
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT
from sora.networks.wan.vae import WanVAE, WanVAEConfig
from sora.plan import operations
from sora.runtime.winograd import Winograd
from timing import Work, by_turns, forget_peak, peak_memory

TIME_TOLERANCE, MEMORY_TOLERANCE, FLAT = 0.10, 0.15, 1.15
"""How far times may be from the curve, memory from the estimate, and a long film's memory from a short one's."""

SHORT, LONG = 32, 240
"""Frames of 4 s and of 30 s at mini's 8 a second."""

MIB = 2**20
Line = tuple[str, str, str, bool | None]
"""(what, target, found, whether the target is met; None where there is no target)."""


@dataclass(frozen=True)
class Fit:
    """coefficients: seconds, by rising power of the size. off: the largest relative deviation of any size."""

    coefficients: tuple[float, ...]
    off: float


def fit(seconds: Mapping[int, float], degree: int) -> Fit:
    """The polynomial with the least sum of squared relative deviations."""
    sizes, took = np.array(list(seconds), float), np.array(list(seconds.values()))
    powers = np.stack([sizes**power for power in range(degree + 1)], axis=1)
    found = np.linalg.lstsq(powers / took[:, None], np.ones(len(took)), rcond=None)[0]
    return Fit(tuple(found.tolist()), float(np.abs(powers @ found / took - 1).max()))


def fastest(works: Mapping[int, Work], runs: int) -> dict[int, float]:
    """Seconds of each, the least of some runs by turns: what disturbs a run only ever makes it longer."""
    return {size: min(timed.seconds) for size, timed in zip(works, by_turns(list(works.values()), runs), strict=True)}


def tokens() -> Iterator[Line]:
    shapes = [(1, 32, 32), (2, 32, 32), (4, 32, 32), (6, 32, 32), (10, 32, 32), (16, 32, 32)]
    network = transformer()
    found = fastest({t * h * w // 4: one_pass(network, (t, h, w)) for t, h, w in shapes}, runs=5)
    yield grown("a pass against tokens", found, 2)


def batch() -> Iterator[Line]:
    network = transformer()
    for shape in ((1, 16, 32), (2, 32, 32)):
        found = fastest({b: one_pass(network, shape, b) for b in (1, 2, 3, 4, 6, 8)}, runs=5)
        number = shape[0] * shape[1] * shape[2] // 4
        yield grown(f"a pass of {number} tokens against samples", found, 1)
        most = max(found)
        share = found[most] / most / found[1]
        yield f"a sample among {most}, {number} tokens, against one alone", "", f"{share:.2f}", None


def decode() -> Iterator[Line]:
    torch.manual_seed(0)
    mini = models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)
    for name, channels, side, stream in (
        ("Wan's autoencoder (width 32)", 16, 8, small_vae().stream),
        ("mini's autoencoder", mini.spec.grid.channels, 16, mini.decode),
    ):
        works = {1 + 4 * (t - 1): decoding(stream, torch.randn(1, channels, t, side, side)) for t in (3, 5, 8, 11, 16)}
        yield grown(f"{name} against frames", fastest(works, runs=4), 1)


def against_placement() -> Iterator[Line]:
    """See ``memory.rise``."""
    cases = memory.small_cases()
    for case in [name for name in cases if name.endswith("float32")]:
        measured, estimated = memory.rise(case), cases[case][1]
        off = estimated / measured - 1
        found = f"{measured / MIB:.0f} MiB, estimated {estimated / MIB:.0f}: {100 * off:+.0f} %"
        yield f"memory: {case}", f"within {100 * MEMORY_TOLERANCE:.0f} %", found, abs(off) <= MEMORY_TOLERANCE


def length() -> Iterator[Line]:
    short, long = (film(frames) for frames in (SHORT, LONG))
    for key, what in (("peak", "most resident memory"), ("rise", "its rise over the loaded model")):
        found = f"{long[key] / MIB:.0f} over {short[key] / MIB:.0f} MiB = {long[key] / short[key]:.3f}"
        target = f"<= {FLAT}" if key == "peak" else ""
        met = long[key] <= FLAT * short[key] if target else None
        yield f"a film of {LONG} frames against {SHORT}: {what}", target, found, met
    few, many = (memory.live_peak(decoding(small_vae().stream, torch.randn(1, 16, t, 8, 8))) for t in (9, 65))
    found = f"{many / few:.3f}"
    yield "live tensors of a Wan decode of 257 frames against 33", f"<= {FLAT}", found, many <= FLAT * few


PARTS: dict[str, Callable[[], Iterator[Line]]] = {
    "tokens": tokens,
    "batch": batch,
    "decode": decode,
    "memory": against_placement,
    "length": length,
}


def grown(what: str, seconds: Mapping[int, float], degree: int) -> Line:
    """A row of the table: how far the times are from the curve, and the curve."""
    found = fit(seconds, degree)
    terms = " + ".join(f"{1000 * c:.3g}{('', ' n', ' n²')[power]}" for power, c in enumerate(found.coefficients))
    sizes = ", ".join(f"{size}: {1000 * took:.0f}" for size, took in seconds.items())
    deviation = f"{100 * found.off:.1f} % off {terms} ms ({sizes})"
    return what, f"<= {100 * TIME_TOLERANCE:.0f} %", deviation, found.off <= TIME_TOLERANCE


def transformer() -> WanDiT:
    torch.manual_seed(0)
    return WanDiT(WanConfig(num_layers=1, heads=3, ffn_dim=2240, text_dim=64)).eval().requires_grad_(False)


def one_pass(network: WanDiT, shape: tuple[int, int, int], samples: int = 1) -> Work:
    """As in a clip: keys and values of the text are there already."""
    x, t = torch.randn(samples, network.config.in_channels, *shape), torch.full((samples,), 640.0)
    with torch.inference_mode():
        text = network.cache_context(torch.randn(samples, 512, network.config.text_dim))
    return torch.inference_mode()(lambda: network(x, t, text))


def small_vae() -> WanVAE:
    vae = WanVAE(WanVAEConfig(base_dim=32)).eval().requires_grad_(False)
    vae.convolver = Winograd
    return vae


def decoding(stream: Callable[[Tensor], Iterator[Tensor]], latents_BCTHW: Tensor) -> Work:
    @torch.inference_mode()
    def work() -> None:
        for _ in stream(latents_BCTHW):
            pass

    return work


def film(frames: int) -> dict[str, int]:
    """``film_here`` in a program of its own."""
    command = [sys.executable, __file__, "--film", str(frames)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def film_here(frames: int) -> dict[str, int]:
    """Bytes resident at most, and over what was resident once the model was loaded. Two steps are enough: what stays
    from window to window does not depend on them."""
    torch.set_num_threads(1)
    spec = catalog.find("mini")
    model, d = models.load(spec, torch.device("cpu"), torch.float32), spec.defaults
    form = spec.format(spec.grid.nearest_size(1.0, d.area), d.fps)
    plan = operations.generate(("a red balloon floats up over a green meadow",), frames=frames, format=form)
    loaded = memory.status("VmRSS")
    forget_peak()
    for _ in engine.paint(model, plan, engine.Settings.from_spec(spec, 1, steps=2, sampler="euler")):
        pass
    peak = peak_memory()
    return {"peak": peak, "rise": peak - loaded}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--film", type=int, metavar="FRAMES", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.film:
        print(json.dumps(film_here(args.film)))
        return
    if strange := [name for name in args.parts if name not in PARTS]:
        parser.error(f"no part is called {', '.join(strange)}; there is {', '.join(PARTS)}")
    torch.set_num_threads(1)
    print(f"{machine_summary()}\n")
    verdicts = Verdicts()
    for name in args.parts or PARTS:
        for line in PARTS[name]():
            verdicts.add(*line)
    print(f"\n{verdicts.summary()}")


if __name__ == "__main__":
    main()
