"""What loading costs: memory for what is loaded, and little else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

MEASURED = """
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

KIND = weights.LayoutRules()
with torch.device("meta"):
    module = Wide()
weights.load_checkpoint(torch.nn.Linear(256, 1), Path(sys.argv[1]), rules=KIND, dtype=torch.bfloat16)  # imports
before = most()
dtype = getattr(torch, sys.argv[3])
weights.load_checkpoint(module, Path(sys.argv[2]), rules=KIND, dtype=dtype, store=replace_with_quantized)
print(most() - before, sum(t.nbytes for t in [*module.parameters(), *module.buffers()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the most memory that was held")
@pytest.mark.parametrize(
    ("stored", "dtype"), [("float32", "bfloat16"), ("float32", "float32"), ("float8_e4m3fn", "bfloat16")]
)
def test_memory_holds_what_is_loaded_and_little_else(tmp_path: Path, stored: str, dtype: str):
    numbers = torch.zeros(8192, 4096).to(getattr(torch, stored))
    held = {"words.weight": numbers} | {f"maps.{i}.weight": numbers[:1024].clone() for i in range(8)}
    held |= {f"maps.{i}.bias": torch.zeros(1024) for i in range(8)}
    save_file({"weight": torch.zeros(1, 256), "bias": torch.zeros(1)}, tmp_path / "a.safetensors")
    save_file(held, tmp_path / "b.safetensors")
    paths = str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")
    program = [sys.executable, "-c", MEASURED, *paths, dtype]
    answer = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    peak, kept = map(int, answer.split())
    assert 0.9 * kept <= peak <= kept + 64e6, f"{peak / 1e6:.0f} MB at most for {kept / 1e6:.0f} MB of weights"
