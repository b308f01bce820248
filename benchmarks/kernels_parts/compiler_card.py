"""A card that is not there, for torch's compiler to generate code for. Its tensors are fake, and nothing of it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch._inductor.compile_fx  # what is patched must be there
import triton  # type: ignore[import-not-found]
from torch import Tensor
from torch._dynamo.device_interface import CudaInterface
from torch._inductor.fx_passes import fuse_attention, misc_patterns, pad_mm
from torch._inductor.runtime import triton_helpers

from kernels_parts.launches import Target


@dataclass(frozen=True)
class Properties:
    """What the compiler asks of a card, as an H100 answers (NVIDIA's H100 white paper)."""

    name: str = "pretended"
    major: int = 9
    minor: int = 0
    multi_processor_count: int = 132
    regs_per_multiprocessor: int = 65536
    max_threads_per_multi_processor: int = 2048
    max_threads_per_block: int = 1024
    warp_size: int = 32
    total_memory: int = 80 * 2**30
    L2_cache_size: int = 50 * 2**20
    shared_memory_per_block: int = 49152
    shared_memory_per_block_optin: int = 232448
    gcnArchName: str = ""


PROPERTIES = Properties()
CAPABILITY = 10 * PROPERTIES.major + PROPERTIES.minor

_plain_getitem = Tensor.__getitem__


def _getitem(tensor: Tensor, index: Any) -> Tensor:
    """Of a tensor on the card by operators alone, since torch's own way asks the card's driver."""
    if tensor.device.type != "cuda":
        return _plain_getitem(tensor, index)
    axis = 0
    for each in index if isinstance(index, tuple) else (index,):
        if isinstance(each, int):
            tensor = torch.select(tensor, axis, each)
            continue
        if each is None:
            tensor = tensor.unsqueeze(axis)
        elif isinstance(each, Tensor):
            tensor = torch.ops.aten.index.Tensor(tensor, [None] * axis + [each])
        elif each != slice(None):
            tensor = torch.ops.aten.slice.Tensor(tensor, axis, each.start, each.stop, each.step or 1)
        axis += 1
    return tensor


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _answers() -> dict[str, Any]:
    state = torch.zeros(16, dtype=torch.uint8)
    return {
        "_get_device_properties": lambda *_: PROPERTIES,
        "get_device_properties": lambda *_: PROPERTIES,
        "get_device_capability": lambda *_: (PROPERTIES.major, PROPERTIES.minor),
        "get_device_name": lambda *_: PROPERTIES.name,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "is_bf16_supported": lambda *_, **__: True,
        "get_rng_state": lambda *_: state,
        "set_rng_state": _nothing,
        "set_device": _nothing,
        "synchronize": _nothing,
        "_lazy_init": _nothing,
        "_exchange_device": lambda *_: 0,
        "_maybe_exchange_device": lambda *_: 0,
    }


@contextmanager
def compiler_card() -> Iterator[None]:
    interface = {
        "get_device_properties": lambda *_: PROPERTIES,
        "get_compute_capability": lambda *_: CAPABILITY,
        "current_device": lambda *_: 0,
        "is_available": lambda: True,
    }
    with ExitStack() as stack:
        for name, answer in _answers().items():
            stack.enter_context(patch.object(torch.cuda, name, answer, create=True))
        for name, answer in interface.items():
            stack.enter_context(patch.object(CudaInterface, name, staticmethod(answer)))
        stack.enter_context(patch.object(torch.version, "cuda", "12.8"))
        stack.enter_context(patch.object(torch._C, "_cuda_getCurrentRawStream", _nothing, create=True))
        worker = CudaInterface.Worker
        stack.enter_context(patch.object(worker, "get_device_properties", staticmethod(lambda *_: PROPERTIES)))
        stack.enter_context(patch.object(worker, "current_device", staticmethod(lambda *_: 0)))
        # Patterns of other networks, which are traced on the card.
        stack.enter_context(patch.object(fuse_attention, "_sfdp_init", _nothing))
        stack.enter_context(patch.object(pad_mm, "_pad_mm_init", _nothing))
        stack.enter_context(patch.object(misc_patterns, "_misc_patterns_init", _nothing))
        stack.enter_context(patch.object(triton_helpers, "set_driver_to_gpu", _nothing))
        stack.enter_context(patch.object(Tensor, "__getitem__", _getitem))
        stack.enter_context(patch.dict(vars(triton.runtime.driver)))
        triton.runtime.driver.set_active(Target(CAPABILITY))  # type: ignore[arg-type]
        yield
