"""A graphics card that is pretended: a Wan model's own code runs as on one, and every tensor's bytes are counted.

Tensors have a shape, a type and a device, and no numbers (``torch._subclasses.FakeTensorMode``). What a card alone has
is replaced: streams, kernels of Triton's and of attention's, which make only what they return, and questions that hang
on numbers. A C++ compiler is needed, since a torch without CUDA refuses to index a tensor of a device that it has no
guard for.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._pytree import tree_iter

from live_bytes import Live
from sora import weights
from sora.models.compiling import Compiling
from sora.models.wan import components
from sora.models.wan import layout as wan_layout
from sora.models.wan import model as wan_model
from sora.networks.wan import vae as wan_vae
from sora.runtime import float8, float8_rounding, linear_gelu, offload, step_cache
from sora.runtime.norm_silu import FusedActivation

CARD = torch.device("cuda", 0)

GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace { using Guard = c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>; C10_REGISTER_GUARD_IMPL(CUDA, Guard) }
"""


class CardMemory(Live):
    """Counts the bytes of tensors on the card, whoever made them. Convolutions in float32 also take a copy of what goes
    in and comes out, as cuDNN's do."""

    def restart(self) -> None:
        self.peak = self.now

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for thing in tree_iter(out):
            if isinstance(thing, Tensor) and thing.device.type == "cuda":
                storage = thing.untyped_storage()
                if storage._cdata not in self._known:
                    self._count(storage)
        convolves = func is torch.ops.aten.convolution.default and out.dtype == torch.float32
        self.peak = max(self.peak, self.now + (out.nbytes + args[0].nbytes if convolves else 0))
        return out


def attention(q_BHNK: Tensor, _: Tensor, v_BHMK: Tensor, *__: Any, **___: Any) -> Tensor:
    """What a fused kernel makes: tokens with their heads side by side, and a float32 number of each query."""
    b, h, n, _channels = q_BHNK.shape
    sums = torch.empty(b, h, n, dtype=torch.float32, device=q_BHNK.device)
    out = torch.empty(b, n, h, v_BHMK.shape[-1], dtype=q_BHNK.dtype, device=q_BHNK.device).transpose(1, 2)
    del sums
    return out


@torch.library.custom_op("sora_pretended::write", mutates_args=("out",))
def _write(x: Tensor, gamma: Tensor, out: Tensor) -> None:
    """As a kernel on a card: nothing is made on the way."""


def _round(x_RK: Tensor, gelu: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    scale = torch.empty(len(x_RK), 1, dtype=torch.float32, device=x_RK.device)
    return scale, torch.empty_like(x_RK, dtype=float8_rounding.FLOAT8)


def _empty_weights(network: nn.Module, *_: Any, device: Any, dtype: torch.dtype, **__: Any) -> None:
    """In place of reading a checkpoint: tensors of its sizes."""
    _replace_tensors(network, lambda name, each: torch.empty(each.shape, dtype=dtype, device=device(name)))


def _moved(network: nn.Module, device: torch.device) -> nn.Module:
    """In place of ``nn.Module.to``, which would exchange tensors for others under the same name."""
    _replace_tensors(network, lambda _, each: each.to(device))
    return network


def _replace_tensors(network: nn.Module, new: Callable[[str, Tensor], Tensor]) -> None:
    for prefix, module in network.named_modules():
        tables: list[dict[str, Any]] = [module._parameters, module._buffers]
        for table in tables:
            for name, old in table.items():
                if old is not None:
                    tensor = new(f"{prefix}.{name}", old)
                    table[name] = nn.Parameter(tensor, requires_grad=False) if table is module._parameters else tensor


def outside(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with tensors as they usually are."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    return call


@contextmanager
def pretended_card() -> Iterator[CardMemory]:
    """Within it ``CARD`` is there."""
    _register_guard()
    replaced: list[tuple[Any, str, Any]] = [
        (torch.nn.functional, "scaled_dot_product_attention", attention),
        (weights, "load_checkpoint", _empty_weights),
        (components, "fused_activation", lambda *_: FusedActivation(_write)),
        (nn.Module, "to", _moved),
        (components, "meta_module", outside(wan_layout.meta_module)),
        (Compiling, "apply", lambda *_, **__: None),
        (float8, "is_fast", lambda *_: True),
        (float8_rounding, "triton_rounding", lambda *_: _round),
        (linear_gelu, "is_supported", lambda *_: True),
        (offload, "_has_streams", lambda *_: False),
        (step_cache.FirstBlockCache, "_is_similar", lambda *_: False),
        (wan_model, "use_fastest_attention", lambda *_: None),
        (wan_vae, "check_overflow", lambda x: x),
        (torch.cuda, "current_device", lambda: 0),
    ]
    with ExitStack() as stack:
        for owner, name, new in replaced:
            stack.enter_context(mock.patch.object(owner, name, new))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(torch.inference_mode())
        yield stack.enter_context(CardMemory())


@cache
def _register_guard() -> None:
    if torch.backends.cuda.is_built():
        return
    include, libraries = Path(torch.__file__).parent / "include", Path(torch.__file__).parent / "lib"
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "guard.cpp"), Path(folder, "guard.so")
        source.write_text(GUARD, encoding="ascii")
        command = ["g++", "-O1", "-shared", "-fPIC", "-std=c++20", f"-I{include}", str(source), "-o", str(library)]
        subprocess.run([*command, f"-L{libraries}", "-lc10"], check=True)
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
