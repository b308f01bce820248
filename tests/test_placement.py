"""The choice of device and number format, with machines pretended."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sora import memory
from sora.errors import UsageError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretends a machine: machine(cuda=True, mps=False, bf16=True)."""

    def pretend(cuda: bool = False, mps: bool = False, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)

    return pretend


def test_the_best_device_is_taken(machine):
    machine(cuda=True)
    assert memory.choose_device(None).type == "cuda"
    machine(mps=True)
    assert memory.choose_device(None).type == "mps"
    machine()
    assert memory.choose_device(None).type == "cpu"


def test_the_named_device_is_taken(machine):
    machine(cuda=True)
    assert memory.choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["mps", "tpu", ""])
def test_an_absent_device_is_refused_naming_what_there_is(machine, name: str):
    machine(cuda=True)
    with pytest.raises(UsageError, match="try --device cuda or cpu"):
        memory.choose_device(name)


def test_the_format_suits_the_device(machine):
    machine(cuda=True, bf16=True)
    assert memory.choose_dtype(None, torch.device("cuda")) == torch.bfloat16
    machine(cuda=True, bf16=False)
    assert memory.choose_dtype(None, torch.device("cuda")) == torch.float16
    assert memory.choose_dtype(None, torch.device("cpu")) == torch.float32
    assert memory.choose_dtype(None, torch.device("mps")) == torch.float32


@pytest.mark.parametrize("name", memory.DTYPES)
def test_the_named_format_is_taken(name: str):
    assert memory.choose_dtype(name, torch.device("cpu")) == getattr(torch, name)


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match="float32, bfloat16, float16"):
        memory.choose_dtype("float8", torch.device("cpu"))


def test_importing_it_leaves_torch_alone():
    code = "import sora.memory, sora.weights, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
