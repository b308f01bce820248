"""One operator of torch for all attention kernels. A compiled block contains whichever is chosen without a graph break,
and one that fails while it paints gives way to torch's own.

Axis letters: B batch; H heads; N queries; M keys; K channels of a head.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sora.errors import SoraWarning
from sora.runtime.attention_kernels import KERNELS, KernelFunction

Attention = Callable[[Tensor, Tensor, Tensor, "Tensor | None"], Tensor]
"""Attention of queries, keys, values and a mask, as ``networks.layers.AttentionFunction``."""

_failed: set[str] = set()

_numbered: list[str] = []  # kernels, by their numbers


def _number_of(kernel: str) -> Tensor:
    """A kernel's number in this process, by which the operator is given it: a compiler knows no more of it than that it
    is a number, so that a graph serves all kernels. int64, on the CPU, and so at hand without waiting for a device."""
    if kernel not in _numbered:
        _numbered.append(kernel)
    with torch.inference_mode(False):  # a compiler tells tensors of that mode from others
        return torch.tensor(_numbered.index(kernel), device="cpu")


def has_failed(kernel: str) -> bool:
    """Whether a kernel failed in this process; it is not called any more."""
    return kernel in _failed


@cache
def load_kernel(kernel: str) -> KernelFunction:
    """The function of a kernel in ``KERNELS``. Raises whatever stands in the way of it."""
    return KERNELS[kernel].load()


def _attend(q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor, kernel: str) -> Tensor:
    if kernel not in _failed:
        try:
            return load_kernel(kernel)(q_BHNK, k_BHMK, v_BHMK)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # an optional package fails in many ways, and none of them should end a film
            _failed.add(kernel)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            message = f"{KERNELS[kernel].name} failed, so attention is left to torch: {reason}"
            warnings.warn(message, SoraWarning, stacklevel=2)
    return F.scaled_dot_product_attention(q_BHNK, k_BHMK, v_BHMK)


@torch.library.custom_op(
    "sora::attention", mutates_args=(), schema="(Tensor q, Tensor k, Tensor v, Tensor number) -> Tensor"
)
def attention_op(q: Tensor, k: Tensor, v: Tensor, number: Tensor) -> Tensor:
    """The attention of the kernel of that number as (B, N, H, K), contiguous: the layout in which nearly all kernels
    write it and in which the heads are joined next. A compiler must know strides beforehand."""
    q, k, v = (x.contiguous() if _is_expanded(x) else x for x in (q, k, v))
    return _attend(q, k, v, _numbered[int(number)]).transpose(1, 2).contiguous()


def _is_expanded(x: Tensor) -> bool:
    """Whether one sample stands for several, in a layout that some kernels cannot read."""
    return any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True))


@attention_op.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, number: Tensor) -> Tensor:  # noqa: ARG001
    b, h, n, _ = q.shape
    return q.new_empty(b, n, h, v.shape[-1])


class KernelAttention:
    """Attention by a kernel; by ``default`` where there is a mask, which not every kernel takes, and where gradients
    are wanted. An ``AttentionFunction``."""

    def __init__(self, kernel: str, default: Attention) -> None:
        self.number, self.default = _number_of(kernel), default

    def __call__(self, q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor, mask_BM: Tensor | None = None) -> Tensor:
        if mask_BM is not None or _wants_gradients(q_BHNK, k_BHMK, v_BHMK):
            return self.default(q_BHNK, k_BHMK, v_BHMK, mask_BM)
        return torch.ops.sora.attention(q_BHNK, k_BHMK, v_BHMK, self.number).transpose(1, 2)


def _wants_gradients(*inputs: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
