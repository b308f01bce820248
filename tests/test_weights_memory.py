"""What loading costs: memory for what is loaded, and little else."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

MEASURED = """
import os
import sys
from pathlib import Path

import torch
from sora import weights
from sora.runtime.quantized import replace_with_quantized

def most():  # not getrusage's: that begins with what the program that started this one held
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

class Wide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(8192, 4096)
        self.maps = torch.nn.ModuleList([torch.nn.Linear(4096, 1024) for _ in range(8)])

small, *cases = sys.argv[1:]
while len(cases) > 2 and os.fork():  # a process of its own for each case, all of which have imported torch
    os.wait()
    cases = cases[2:]
KIND = weights.LayoutRules()
with torch.device("meta"):
    module = Wide()
weights.load_checkpoint(torch.nn.Linear(256, 1), Path(small), rules=KIND, dtype=torch.bfloat16)  # imports
before = most()
dtype = getattr(torch, cases[1])
weights.load_checkpoint(module, Path(cases[0]), rules=KIND, dtype=dtype, store=replace_with_quantized)
print(most() - before, sum(t.nbytes for t in [*module.parameters(), *module.buffers()]), flush=True)
"""


CASES = (("float32", "bfloat16"), ("float32", "float32"), ("float8_e4m3fn", "bfloat16"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[int, int]]:
    """Bytes held at most while loading, and of what was loaded, by the number formats of the file and in memory."""
    folder = tmp_path_factory.mktemp("files")
    save_file({"weight": torch.zeros(1, 256), "bias": torch.zeros(1)}, folder / "small.safetensors")
    for stored in {stored for stored, _ in CASES}:
        numbers = torch.zeros(8192, 4096).to(getattr(torch, stored))
        held = {"words.weight": numbers} | {f"maps.{i}.weight": numbers[:1024].clone() for i in range(8)}
        held |= {f"maps.{i}.bias": torch.zeros(1024) for i in range(8)}
        save_file(held, folder / f"{stored}.safetensors")
    program = [sys.executable, "-c", MEASURED, str(folder / "small.safetensors")]
    program += [word for stored, dtype in CASES for word in (str(folder / f"{stored}.safetensors"), dtype)]
    lines = subprocess.run(program, check=True, capture_output=True, text=True).stdout.splitlines()
    for file in folder.iterdir():
        file.unlink()
    found = [tuple(map(int, line.split())) for line in lines]
    return dict(zip(CASES, found, strict=True))  # type: ignore[arg-type]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the most memory that was held")
@pytest.mark.parametrize(("stored", "dtype"), CASES)
def test_memory_holds_what_is_loaded_and_little_else(
    measured: dict[tuple[str, str], tuple[int, int]], stored: str, dtype: str
):
    peak, kept = measured[stored, dtype]
    assert 0.9 * kept <= peak <= kept + 64e6, f"{peak / 1e6:.0f} MB at most for {kept / 1e6:.0f} MB of weights"
