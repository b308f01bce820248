"""What torch says of its devices, and where it must learn that there is one, on machines without it. For
``fake_cuda``."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fake_streams import FakeEvent, FakeStream, current

TYPES = {"cuda": 1, "mps": 13, "meta": 14}
"""Of devices, as c10/core/DeviceType.h numbers them."""


class FakeGenerator:
    """What ``torch.Generator`` makes for CUDA: one of the CPU."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return _GENERATOR("cpu" if torch.device(device).type == current().type else device)


_GENERATOR = torch.Generator


def device_guards() -> Any:
    """By type of device, what torch switches to a device with (c10/core/impl/DeviceGuardImplInterface.h). A build
    without CUDA has none for it; the meta device's does nothing, which is right here, too."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    return (ctypes.c_void_p * (TYPES["meta"] + 1)).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")


def replace_torch(patch: pytest.MonkeyPatch, card: Any, mode: Callable[[], Any]) -> None:
    """mode: under which a thread has the device."""
    (_replace_cuda if card.type == "cuda" else _replace_mps)(patch, card)
    patch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)  # by tensors of another type
    patch.setattr(torch, "compile", lambda function, **_: function)
    patch.setattr(torch, "Generator", FakeGenerator)
    patch.setattr(torch.Tensor, "to", _with_index(torch.Tensor.to))
    for name in ("tensor", "as_tensor"):
        patch.setattr(torch, name, _moved_afterwards(getattr(torch, name)))
    run = threading.Thread.run

    def run_with_mode(thread: threading.Thread) -> None:
        with mode():
            run(thread)

    patch.setattr(threading.Thread, "run", run_with_mode)


def _replace_mps(patch: pytest.MonkeyPatch, card: Any) -> None:
    patch.setattr(torch.backends.mps, "is_available", lambda: True)
    patch.setattr(torch.backends.mps, "get_name", lambda: "Apple M4", raising=False)
    for name, function in {
        "recommended_max_memory": lambda: card.total,
        "driver_allocated_memory": lambda: card.allocated,
        "manual_seed": lambda _: None,
    }.items():
        patch.setattr(torch.mps, name, function)


def _replace_cuda(patch: pytest.MonkeyPatch, card: Any) -> None:
    major, minor = card.capability
    properties = SimpleNamespace(
        name=card.name, major=major, minor=minor, multi_processor_count=132, total_memory=card.total
    )

    def device(_: object = None) -> Any:
        return _Nothing()

    functions: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda _: None,
        "device": device,
        "get_device_name": lambda _=None: card.name,
        "get_device_capability": lambda _=None: card.capability,
        "get_device_properties": lambda _=None: properties,
        "is_bf16_supported": lambda including_emulation=True: True,
        "mem_get_info": lambda _=None: (card.total - card.allocated, card.total),
        "memory_allocated": lambda _=None: card.allocated,
        "memory_reserved": lambda _=None: card.allocated,
        "max_memory_allocated": lambda _=None: card.peak,
        "reset_peak_memory_stats": lambda _=None: setattr(card, "peak", card.allocated),
        "empty_cache": lambda: card.calls.update(["empty_cache"]),
        "synchronize": card.synchronize,
        "manual_seed": lambda _: None,
        "manual_seed_all": lambda _: None,
        "Event": FakeEvent,
        "Stream": FakeStream,
        "stream": card.on_stream,
        "current_stream": lambda _=None: card.stream(),
        "default_stream": lambda _=None: card.default,
        "cudart": lambda: SimpleNamespace(
            cudaHostRegister=lambda start, size, _: card.pin(start, size) or 0,
            cudaHostUnregister=lambda start: card.unpin(start),
        ),
    }
    for name, function in functions.items():
        patch.setattr(torch.cuda, name, function)
    for name in ("flash", "efficient", "cudnn"):
        patch.setattr(torch.backends.cuda, f"can_use_{name}_attention", lambda *_: True)


def _with_index(to: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch asks CUDA for the number of a device without one."""

    def numbered(value: Any) -> Any:
        named = isinstance(value, torch.device | str) and str(value) == current().type
        return current().device if named else value

    def with_index(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return to(tensor, *map(numbered, args), **{name: numbered(value) for name, value in kwargs.items()})

    return with_index


def _moved_afterwards(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch moves what these make before any mode sees it."""

    def made(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device).type != current().type:
            return make(*args, device=device, **kwargs)
        return make(*args, **kwargs).to(current().device)

    return made


class _Nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
