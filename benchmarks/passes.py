"""One transformer pass, ours against diffusers': ``python benchmarks/passes.py [--device cuda] [--quick] [--exact]``.

Both networks have the same random weights and take the same latents, text and timestep, in one process, alternately.
There are always two baselines: diffusers as a user gets it, and diffusers tuned (fused projections; on CUDA cuDNN's
attention and compiled blocks too). Ours runs as the product runs it, and with each exact optimisation disabled. Prints
Markdown tables: times, memory, what each optimisation is worth, and where one pass's time goes before and after.
``--exact`` prints the exactness gate instead, ``--rule`` what the choice of batched guidance rests on. On a CPU the
sizes are scaled to it, in float32; on CUDA they are the published ones, in bfloat16.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from memory import live_peak
from minitrain.eval.verdicts import Verdicts, machine_summary, markdown_table
from passes_parts import exact, networks, rows, rule, works
from passes_parts.rows import Row
from passes_parts.where import KINDS, where
from passes_parts.works import OURS, Pass
from timing import Timed, by_turns, ratio

MIB = 2**20
DEFAULT, TUNED, COMPILED = "diffusers", "diffusers tuned", "diffusers tuned and compiled"
PRODUCT, PLAIN = OURS[0], OURS[-1]
CPU_TARGETS = {DEFAULT: 1.3, TUNED: 1.3}
CUDA_TARGETS = {DEFAULT: 1.35, TUNED: 1.08}
"""Times faster than diffusers as it is, and tuned."""

TARGET_5B, MEMORY_TARGET = 1.45, 0.6
"""Of the 5B against diffusers as it is, on CUDA; and of the memory that a pass takes over its weights there, of what
diffusers' takes."""


@dataclass(frozen=True)
class Measured:
    """Of one row: each work's times, memory and, for ours with all optimisations on and off, milliseconds by kind.
    over_weights: bytes of the memory that are not weights."""

    row: Row
    times: Mapping[str, Timed]
    bytes: Mapping[str, int]
    over_weights: Mapping[str, int]
    where: Mapping[str, Mapping[str, float]]

    def faster(self, other: str, one: str = PRODUCT.name) -> float:
        return ratio(self.times[other], self.times[one])


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
    print(f"{machine_summary()}\n")
    wanted = rows.named(args.device, args.rows, quick=args.quick)
    if args.exact:
        gate(args.device)
        return
    if args.rule:
        print(rule_table(args.device, dtype))
        return
    rate = matrix_rate(args.device, dtype)
    print(f"Matrix products reach {rate:.3g} TFLOP/s ({str(dtype)[6:]}).\n", flush=True)
    found = {}
    for name, row in wanted.items():
        found[name] = measured(row, args.device, dtype, compiled=args.compile, ablate=args.ablate, runs=args.runs)
        print(times_table(name, found[name], rate) + "\n", flush=True)
    if args.ablate and any(m.row.ablates for m in found.values()):
        print(f"What disabling an optimisation costs (times slower than ours):\n\n{optimizations_table(found)}\n")
    print(f"Where the milliseconds go, all optimisations off and on:\n\n{where_table(found)}\n")
    judge(found, args.device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rows", metavar="PARTS", help='"tiny", or parts of rows\' names with ; between')
    parser.add_argument("--quick", action="store_true", help="a few rows of a CPU's")
    parser.add_argument("--exact", action="store_true", help="the exactness gate instead of times")
    parser.add_argument("--rule", action="store_true", help="one batch or two passes for a guided step, by tokens")
    parser.add_argument("--compile", action="store_true", help="diffusers compiled too, on a CPU (slow to start)")
    parser.add_argument(
        "--ablate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also ours with one optimisation disabled at a time, each a network of its own",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, help="of each work, instead of the row's")
    return parser.parse_args()


def measured(row: Row, device: str, dtype: torch.dtype, *, compiled: bool, ablate: bool, runs: int | None) -> Measured:
    """A network of each kind at a time, all on the same tensors."""
    torch.compiler.reset()  # or the last row's shapes would make this one's dynamic
    reference, given = networks.theirs(row.config, device, dtype), networks.pass_inputs(row, device, dtype)
    cuda = device == "cuda"
    made: dict[str, tuple[nn.Module, Pass]] = {DEFAULT: (reference, works.diffusers_pass(reference, given))}
    held: dict[str, int] = {}
    for name, compiles in ((TUNED, cuda), (COMPILED, True)):
        if name == TUNED or (compiled and not cuda):
            other = works.tuned(networks.another(reference), device, compiled=compiles)
            made[name] = other, works.diffusers_pass(other, given)
    for variant in OURS if row.ablates and ablate else (PRODUCT,):
        if variant.applies(row, device):
            own = networks.ours(reference, row.config)
            made[variant.name] = own, variant.work(own, given)
            held[variant.name] = variant.cached_bytes(own, given)
    timed = by_turns([work for _, work in made.values()], runs or row.runs, warm_ups=2 if cuda else 1)
    peak = peak_on_device if cuda else live_peak
    over_weights = {name: peak(work) + held.get(name, 0) for name, (_, work) in made.items() if name != COMPILED}
    return Measured(
        row,
        dict(zip(made, timed, strict=True)),
        {name: networks.weight_bytes(made[name][0]) + more for name, more in over_weights.items()},
        over_weights,
        {variant.name: where(made[variant.name][1]) for variant in (PLAIN, PRODUCT) if variant.name in made},
    )


def peak_on_device(work: Callable[[], object]) -> int:
    """Bytes a work allocates at most, over what was there before."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """TFLOP/s of a square product at its best: 8192 on CUDA, 1536 on a CPU."""
    size = 8192 if device == "cuda" else 1536
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / min(by_turns([lambda: a @ b])[0].seconds) / 1e12


def times_table(name: str, found: Measured, rate: float) -> str:
    """The share of the matrix rate counts what a plain pass has to do, so that work which is spared shows as speed."""
    passes = 2 if found.row.guided else 1
    teraflop = passes * found.row.teraflop
    head = (name, "median s", "spread", "faster than diffusers", "than diffusers tuned", "of the matrix rate", "MiB")
    lines = []
    for work, timed in found.times.items():
        memory = f"{found.bytes[work] / MIB:.0f}" if work in found.bytes else ""
        ratios = [f"{found.faster(base, work):.2f}" for base in (DEFAULT, TUNED)]
        share = f"{100 * teraflop / timed.median / rate:.0f} %"
        lines.append((work, f"{timed.median:.4g}", f"{100 * timed.spread:.0f} %", *ratios, share, memory))
    return markdown_table(head, lines)


def optimizations_table(found: Mapping[str, Measured]) -> str:
    """Empty where an optimisation does nothing."""
    names = [v.name for v in OURS[1:] if any(v.name in m.times for m in found.values())]
    head = ("", *(name.removeprefix("ours ").removeprefix("ours, ") for name in names))
    lines = [(name, *(f"{m.faster(v):.2f}" if v in m.times else "" for v in names)) for name, m in found.items()]
    return markdown_table(head, lines)


def where_table(found: Mapping[str, Measured]) -> str:
    lines = []
    for name, m in found.items():
        for variant, split in m.where.items():
            lines.append((name, variant, *(f"{split[kind]:.3g}" for kind in KINDS), f"{sum(split.values()):.3g}"))
    return markdown_table(("", "", *KINDS, "all"), lines)


def rule_table(device: str, dtype: torch.dtype) -> str:
    lines = [
        (f"{tokens:,}", f"{apart.median:.4g}", f"{joined.median:.4g}", f"{ratio(apart, joined):.2f}")
        for tokens, apart, joined in rule.guided_steps(device, dtype)
    ]
    return markdown_table(("tokens", "two passes, s", "one batch, s", "one batch is faster by"), lines)


def targets(name: str, device: str) -> dict[str, float]:
    """Times faster than each baseline that a row should be."""
    found = dict(CUDA_TARGETS if device == "cuda" else CPU_TARGETS)
    return found | {DEFAULT: TARGET_5B} if device == "cuda" and "5B" in name else found


def judge(found: Mapping[str, Measured], device: str) -> None:
    """On a CPU the worst row against each baseline, on CUDA each row, and its memory."""
    verdicts = Verdicts()
    for base in targets("", device):
        slowest = min(found, key=lambda name: found[name].faster(base))
        for name in found if device == "cuda" else [slowest]:
            wanted = targets(name, device)[base]
            value = found[name].faster(base)
            verdicts.add(f"times faster than {base}", f">= {wanted}", f"{value:.2f} ({name})", value >= wanted)
    for name, m in found.items() if device == "cuda" else ():
        share = m.over_weights[PRODUCT.name] / m.over_weights[DEFAULT]
        shown = f"{share:.2f} ({name})"
        verdicts.add("memory over the weights, of diffusers'", f"<= {MEMORY_TARGET}", shown, share <= MEMORY_TARGET)


def gate(device: str) -> None:
    """The exactness gate, row by row."""
    verdicts = Verdicts()
    for name, row in rows.EXACT.items():
        for v in exact.verdicts(row, device):
            block = "" if v.block is None else f"worst block {v.block:.3f}, "
            found = f"{block}pass {v.whole / v.whole_theirs:.3f} ({v.whole:.3e}), float32 apart {v.apart:.1e}"
            verdicts.add(f"{name}, {v.variant}: error over diffusers'", f"<= {exact.SLACK}", found, v.met)
    print(f"\n{verdicts.summary()}")


if __name__ == "__main__":
    main()
