"""How much memory is free. torch is imported only for devices that are torch's to ask."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FALLBACK = 8 * 2**30
"""Where a system says nothing about its memory."""

MEMINFO = Path("/proc/meminfo")
STATM = Path("/proc/self/statm")
CGROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int:
    """Bytes that could be allocated on the device now, including torch's unused reserve."""
    if device.type == "cuda":
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps":
        import torch

        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return free_ram()


@dataclass(frozen=True)
class FreeMemory:
    """Free bytes. device: on the device. host: of CPU memory, for offloaded weights; None where the device's memory is
    the machine's own and is counted already."""

    device: int
    host: int | None = None


def measure_free(device: torch.device) -> FreeMemory:
    """The memory that is free now for a model on the device."""
    return FreeMemory(free_memory(device), free_ram() if device.type == "cuda" else None)


def measure_least_free(device: torch.device, processes: int) -> FreeMemory:
    """The same where several processes have a card each, of which the fullest decides; on a CPU all that is free."""
    free = measure_free(device)
    if device.type != "cuda":
        return free
    import torch

    others = (free_memory(torch.device("cuda", number)) for number in range(processes))
    return FreeMemory(min(free.device, *others), free.host)


def free_ram() -> int:
    """Bytes of the machine's memory that a program may still take, within the limits of its container."""
    return min(_machine(), _container())


def free_with_swap() -> int:
    """The most bytes that a program may still take, however slow that makes it: swap space counts, and a limit on
    address space (``ulimit -v``)."""
    return min(free_ram() + _meminfo("SwapFree:"), _address_space())


def _address_space() -> int:
    """What ``ulimit -v`` leaves; more than there is where nothing limits."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(STATM.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError, IndexError):
        return 2**63
    return 2**63 if limit == resource.RLIM_INFINITY else max(0, limit - used)


def _meminfo(name: str) -> int:
    """Bytes by Linux's own account; 0 where it says nothing."""
    try:
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _machine() -> int:
    """What Linux says is available; elsewhere half of what is built in; FALLBACK where nobody says."""
    if available := _meminfo("MemAvailable:"):
        return available
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return FALLBACK


def _container() -> int:
    """What a Linux control group leaves; more than there is where none limits."""
    try:
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        stat = (CGROUP / "memory.stat").read_text(encoding="ascii").split()
        files = int(stat[stat.index("inactive_file") + 1])  # given up when asked for
    except (OSError, ValueError):
        return 2**63
    return max(0, limit - used + files)
