"""The attention kernels that may compute a block's attention on CUDA, as rows of ``KERNELS``: torch's own, and those of
optional packages, which are used where they are installed. Nothing is downloaded.

Axis letters: B batch; H heads; N queries; M keys; K channels of a head. A kernel takes queries (B, H, N, K) and keys
and values (B, H, M, K) with any strides between the heads and tokens, and no mask.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

HALF = frozenset({torch.bfloat16, torch.float16})
ANY_CAPABILITY = ((0, 0), (99, 0))
FROM_AMPERE, HOPPER, FROM_HOPPER = ((8, 0), (99, 0)), ((9, 0), (9, 0)), ((9, 0), (12, 99))
HUB_PACKAGE, FLASH3_REPOSITORY, FLASH3_VERSION = "kernels", "kernels-community/flash-attn3", 1
"""FlashAttention-3 on the Hugging Face hub, in the layout of the package ``kernels``."""

KernelFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of queries, keys and values without a mask, (B, H, N, K)."""


@dataclass(frozen=True)
class Kernel:
    """name: for people. load: imports what the kernel needs and returns its function; raises where that is not
    installed or does not work. packages: modules of which it needs one; none for torch's own. exact: whether it differs
    from other kernels by no more than rounding in the dtype of its inputs. dtypes, max_head_dim: what it takes.
    capabilities: the lowest and the highest CUDA capability that it runs on. fits: whether it can compute this, asked
    without any warning."""

    name: str
    load: Callable[[], KernelFunction]
    packages: tuple[str, ...] = ()
    exact: bool = True
    dtypes: frozenset[torch.dtype] = HALF
    max_head_dim: int = 256
    capabilities: tuple[tuple[int, int], tuple[int, int]] = ANY_CAPABILITY
    device_types: frozenset[str] = frozenset({"cuda"})
    fits: Callable[[Tensor, Tensor, Tensor], bool] = lambda *_: True

    def takes(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
        """Whether the kernel is made for such inputs on such a device."""
        low, high = self.capabilities
        return (
            device.type in self.device_types
            and dtype in self.dtypes
            and head_dim <= self.max_head_dim
            and (device.type != "cuda" or low <= torch.cuda.get_device_capability(device) <= high)
        )

    @property
    def found_in(self) -> str | None:
        """The first of its packages that is installed, with its version; "torch" and its version for torch's own; None
        where none is."""
        if not self.packages:
            return f"torch {torch.__version__}"
        versions = ((package, _usable_version(package)) for package in self.packages)
        return next((f"{package} {found}".strip() for package, found in versions if found is not None), None)


DISTRIBUTIONS = {"flash_attn_interface": "flash_attn_3", "flash_attn.cute": "flash-attn-4"}
"""What the distribution of a module is called where it has another name."""


def installed_version(package: str) -> str | None:
    """Of a package, by the name of its module, found without importing it; "" where it does not say, None where it is
    not installed."""
    try:
        if find_spec(package) is None:
            return None
        return version(DISTRIBUTIONS.get(package, package))
    except PackageNotFoundError:
        return ""
    except Exception:  # the package around a part of it is missing, or does not import
        return None


def _usable_version(package: str) -> str | None:
    """As ``installed_version``, but of the hub's package only where it has the kernel on disk."""
    found = installed_version(package)
    if package == HUB_PACKAGE:
        if not found:  # a folder of that name is not it
            return None
        try:
            _flash3_function()
        except Exception:  # not downloaded, or for another card
            return None
    return found


def _torch_kernel(backend: SDPBackend) -> KernelFunction:
    """torch's attention by this kernel, or by another of its own where it cannot compute that."""
    others = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
    order = list(dict.fromkeys((backend, *others)))

    def attend(q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor) -> Tensor:
        with sdpa_kernel(order, set_priority=True):
            return F.scaled_dot_product_attention(q_BHNK, k_BHMK, v_BHMK)

    return attend


def _torch_fits(name: str, q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor) -> bool:
    """Whether torch's kernel can compute this. Asked of torch, since trying what it cannot prints warnings."""
    if not q_BHNK.is_cuda:
        return True
    own: Any = torch.backends.cuda
    parameters = own.SDPAParams(q_BHNK, k_BHMK, v_BHMK, None, 0.0, False, False)
    return bool(getattr(own, f"can_use_{name}_attention")(parameters))


def _torch_row(name: str, backend: SDPBackend, **more: Any) -> Kernel:
    """name: as ``torch.backends.cuda`` calls it."""
    return Kernel(f"torch's {name}", partial(_torch_kernel, backend), fits=partial(_torch_fits, name), **more)


def _first(result: Any) -> Tensor:
    """A kernel's output; some versions return more than that."""
    return result[0] if isinstance(result, tuple) else result


def _by_tokens(function: Callable[..., Any]) -> KernelFunction:
    """A kernel that takes (B, N, H, K)."""

    def attend(q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor) -> Tensor:
        return _first(function(*(x.transpose(1, 2) for x in (q_BHNK, k_BHMK, v_BHMK)))).transpose(1, 2)

    return attend


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what packages print, warn and log as they are imported from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _offline() -> Iterator[None]:
    """Keeps the Hugging Face hub's libraries to what they have on disk."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@cache
def _flash3_function() -> Callable[..., Any]:
    """``flash_attn_func`` of FlashAttention-3 (Shah et al., arXiv 2407.08608): of the package, else of the hub's cache
    where ``kernels`` is installed and the kernel was downloaded before."""
    with _quiet():
        if find_spec("flash_attn_interface") is not None:
            return import_module("flash_attn_interface").flash_attn_func
        kernels: Any = import_module(HUB_PACKAGE)
        with _offline():
            return kernels.get_kernel(FLASH3_REPOSITORY, version=FLASH3_VERSION).flash_attn_func


def _flash3() -> KernelFunction:
    return _by_tokens(_flash3_function())


def _flash3_float8() -> KernelFunction:
    """FlashAttention-3 with queries, keys and values in float8 e4m3, each head with a scale of its own. The mean of the
    keys, which softmax cancels, is taken from them first."""
    function = _flash3_function()

    def attend(q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor) -> Tensor:
        scaled = [_to_float8(x) for x in (q_BHNK, k_BHMK - k_BHMK.mean(dim=2, keepdim=True), v_BHMK)]
        q, k, v = (x_BHNK.transpose(1, 2) for x_BHNK, _ in scaled)
        scales = dict(zip(("q_descale", "k_descale", "v_descale"), (scale_BH for _, scale_BH in scaled), strict=True))
        return _first(function(q, k, v, **scales)).transpose(1, 2).to(q_BHNK.dtype)

    return attend


def _to_float8(x_BHNK: Tensor) -> tuple[Tensor, Tensor]:
    """In float8, and the scale (B, H) by which each head was divided."""
    largest = torch.finfo(torch.float8_e4m3fn).max
    peak_BH = torch.linalg.vector_norm(x_BHNK, ord=math.inf, dim=(2, 3), dtype=torch.float32)
    scale_BH = peak_BH.clamp(min=1e-12) / largest
    factor_BH = scale_BH.reciprocal().to(torch.promote_types(x_BHNK.dtype, torch.bfloat16))  # float16 could overflow
    return (x_BHNK * factor_BH[..., None, None]).to(torch.float8_e4m3fn), scale_BH


def _flash4() -> KernelFunction:
    """FlashAttention-4, written in CuTe DSL; it compiles itself when it is first called."""
    with _quiet():
        return _by_tokens(import_module("flash_attn.cute").flash_attn_func)


def _sage() -> KernelFunction:
    """SageAttention (Zhang et al., arXiv 2410.02367 and 2411.10958): queries and keys in int8; in version 2, values in
    float8 where the card has it. Version 1 takes the mean from the caller's own keys, in place, so it gets others."""
    with _quiet():
        sageattn = import_module("sageattention").sageattn
    smooths = not (installed_version("sageattention") or "1").startswith(("0.", "1"))

    def attend(q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor) -> Tensor:
        if smooths:
            return _first(sageattn(q_BHNK, k_BHMK, v_BHMK, tensor_layout="HND"))
        smooth_BHMK = k_BHMK - k_BHMK.mean(dim=2, keepdim=True)
        return _first(sageattn(q_BHNK, smooth_BHMK, v_BHMK, tensor_layout="HND", smooth_k=False))

    return attend


FLASH3: dict[str, Any] = {"packages": ("flash_attn_interface", HUB_PACKAGE), "capabilities": HOPPER}

KERNELS: dict[str, Kernel] = {
    "cudnn": _torch_row("cudnn", SDPBackend.CUDNN_ATTENTION, capabilities=FROM_AMPERE, max_head_dim=128),
    "flash": _torch_row("flash", SDPBackend.FLASH_ATTENTION, capabilities=FROM_AMPERE),
    "efficient": _torch_row(
        "efficient", SDPBackend.EFFICIENT_ATTENTION, dtypes=HALF | {torch.float32}, max_head_dim=2**16
    ),
    "flash3": Kernel("FlashAttention-3", _flash3, **FLASH3),
    "flash4": Kernel("FlashAttention-4", _flash4, ("flash_attn.cute",), capabilities=FROM_HOPPER, max_head_dim=128),
    "flash3-fp8": Kernel("FlashAttention-3 in float8", _flash3_float8, exact=False, **FLASH3),
    "sage": Kernel("SageAttention", _sage, ("sageattention",), exact=False, capabilities=FROM_AMPERE, max_head_dim=128),
}
"""Every kernel, by the name under which a choice is kept. Only exact ones are used unless ``--speed fast`` asks for
more."""
