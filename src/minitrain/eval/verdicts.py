"""How scripts print what they found: the machine it was found on, and Markdown tables."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path


def machine() -> str:
    """What the figures were measured on, in one line."""
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        models = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")]
        device = models[0].split(":")[1].strip() if models else platform.processor()
        device += f", {torch.get_num_threads()} thread(s), {torch.backends.cpu.get_cpu_capability()}"
    return f"{device}; Python {platform.python_version()}, torch {torch.__version__}; {date.today()}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
