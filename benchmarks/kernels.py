"""What the kernels for cards are made of, on a machine without one: ``python benchmarks/kernels.py [--rows NAME ...]``.

Triton's compiler makes machine code for every generation of cards from Ampere on. First the project's own kernels, as
they are launched; then those that torch's compiler makes of a block, for Hopper, in bfloat16 and in float8, with the
bytes that they move. A kernel that spills registers moves bytes that nobody counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from kernels_parts.compiled import Kernel, kernels_of
from kernels_parts.launches import CAPABILITIES, compiling_for, launches, machine_code
from kernels_parts.machine_code import MachineCode
from minitrain.eval.verdicts import markdown_table
from passes_parts.rows import CUDA, Row

HEADS = ("kernel", "registers", "spilled bytes", "occupancy", "128-bit reads", "128-bit writes", "instructions")
SECONDS_A_GIGABYTE = 1 / (0.85 * 3350)
"""An H100's memory moves 3.35 TB/s by its data sheet; kernels that only move bytes reach about 0.85 of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", choices=list(CUDA), default=list(CUDA)[::2], help="networks and canvases")
    args = parser.parse_args()
    for capability in CAPABILITIES:
        print(f"\n## Our own, compute capability {capability / 10}\n\n{markdown_table(HEADS, list(own(capability)))}")
    for name in args.rows:
        for float8 in (False, True):
            print(f"\n## {name}, {'float8' if float8 else 'bfloat16'}\n")
            print(report(kernels_of(CUDA[name], float8=float8), CUDA[name]), flush=True)


def own(capability: int) -> Iterator[tuple[str, ...]]:
    with compiling_for(capability) as compiled:
        called = launches(capability)
        for launch in called.values():
            launch()
    for name, kernel in zip(called, compiled, strict=True):
        yield name, *line(machine_code(kernel, capability))


def line(code: MachineCode) -> tuple[str, ...]:
    registers, spilled = code.usage
    shares = code.occupancy, code.share_of_widest("LDG"), code.share_of_widest("STG")
    return str(registers), str(spilled), *(f"{share:.0%}" for share in shares), str(code.instructions.total())


def report(kernels: list[Kernel], row: Row) -> str:
    lines = [
        (f"{place}: {kernel.name[-40:]}", f"{kernel.gigabytes:.2f}", *line(code))
        for place, kernel in enumerate(kernels)
        for code in kernel.ways
    ]
    moved = sum(kernel.gigabytes for kernel in kernels)
    seconds = moved * row.config.num_layers * SECONDS_A_GIGABYTE
    total = f"{len(kernels)} kernels move {moved:.2f} GB a block: {1000 * seconds:.0f} ms a pass at an H100's rate"
    return f"{markdown_table((HEADS[0], 'GB', *HEADS[1:]), lines)}\n{total}"


if __name__ == "__main__":
    main()
