"""What a compiled kernel takes of a multiprocessor, and how it reads and writes, by NVIDIA's own tools, which Triton
brings along."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import triton  # type: ignore[import-not-found]

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"

REGISTERS = 65536  # of a multiprocessor
MAX_WARPS = {80: 64, 89: 48, 90: 64, 100: 64, 120: 48}
"""Warps that a multiprocessor of each compute capability holds (CUDA C++ programming guide, table of technical
specifications per compute capability)."""
REGISTERS_TOGETHER = 8  # a thread has a multiple of it

WARP = 32
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P[\dT]\s+)?([A-Z][\w.]*)", re.MULTILINE)
USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


@dataclass(frozen=True)
class MachineCode:
    """Of one kernel. shared: bytes of shared memory that it asks for when it is launched."""

    cubin: bytes
    capability: int
    warps: int
    shared: int

    @cached_property
    def usage(self) -> tuple[int, int]:
        """(registers of a thread, bytes of a thread that did not fit into them)."""
        found = USAGE.search(self._inspect("cuobjdump", "-res-usage"))
        assert found is not None, "cuobjdump prints what a kernel uses"
        registers, stack, _, local = map(int, found.groups())
        return registers, stack + local

    @property
    def occupancy(self) -> float:
        """The share of the warps that a multiprocessor can hold which the registers leave room for."""
        registers = -(-self.usage[0] // REGISTERS_TOGETHER) * REGISTERS_TOGETHER * WARP * self.warps
        most = MAX_WARPS[self.capability]
        return min(REGISTERS // registers * self.warps, most // self.warps * self.warps) / most

    @cached_property
    def instructions(self) -> Counter[str]:
        """How many of each there are in the code. Padding is left out."""
        return Counter(name for name in INSTRUCTION.findall(self._inspect("nvdisasm", "-c")) if name != "NOP")

    def share_of_widest(self, access: str) -> float:
        """How many of the instructions that read or write the card's memory (access: LDG or STG) move 128 bits."""
        widths = {name: count for name, count in self.instructions.items() if name.startswith(access)}
        widest = sum(count for name, count in widths.items() if ".128" in name)
        return widest / max(1, sum(widths.values()))

    def _inspect(self, tool: str, option: str) -> str:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(self.cubin)
            file.flush()
            command = [str(TOOLS / tool), option, file.name]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout
