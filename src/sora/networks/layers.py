"""What several networks share: attention, RMS norm, rotary positions, the embedding of time.

Axis letters: B batch; H heads; N queries or tokens; M keys; K channels of a head; D width.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MPS_ATTENTION_LIMIT = 2**31 - 1
"""Most elements a matrix of attention scores may have on MPS; past 2^31 its results are silently wrong."""

EXPLICIT_LIMIT = 2**17
"""Most queries x keys for which training on a CPU writes attention out in full: forward and backward took 0.7 to 1.0
times the fused kernel's time up to 320 x 320 (one thread, torch 2.13), and 1.7 to 1.9 times from 640 x 640 on."""


class AttentionFunction(Protocol):
    """What computes attention: ``attention`` below, or another kernel with the same result but for rounding."""

    def __call__(self, q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor, mask_BM: Tensor | None = None) -> Tensor: ...


def attention(
    q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor, mask_BM: Tensor | None = None, limit: int | None = None
) -> Tensor:
    """softmax(q k^T / sqrt(K)) v, of shape (B, H, N, K).

    mask_BM: bool, True where a key may be looked at; None looks at all. A row of the batch must have one True at least.
    limit: most score elements (B x H x queries x keys) computed at once; None is ``MPS_ATTENTION_LIMIT`` on MPS and
    no limit elsewhere.

    Which way is taken changes speed and memory, not the result:
    - over the limit, queries go in chunks;
    - where a CPU wants gradients and queries x keys is at most ``EXPLICIT_LIMIT``, the three products are written out
      (up to a third faster there than the fused kernel and its backward);
    - otherwise torch's fused kernel.
    """
    mask = None if mask_BM is None else mask_BM[:, None, None, :]
    rows = _rows_at_once(q_BHNK, k_BHMK, limit)
    if rows < q_BHNK.shape[2]:
        parts = [F.scaled_dot_product_attention(q, k_BHMK, v_BHMK, mask) for q in q_BHNK.split(rows, dim=2)]
        return torch.cat(parts, dim=2)
    if _wants_explicit(q_BHNK, k_BHMK, v_BHMK):
        return _explicit_attention(q_BHNK, k_BHMK, v_BHMK, mask)
    return F.scaled_dot_product_attention(q_BHNK, k_BHMK, v_BHMK, mask)


def _rows_at_once(q_BHNK: Tensor, k_BHMK: Tensor, limit: int | None) -> int:
    """How many queries fit under the limit; at least one."""
    b, h, n, _ = q_BHNK.shape
    if limit is None:
        limit = MPS_ATTENTION_LIMIT if q_BHNK.device.type == "mps" else None
    return n if limit is None else max(1, limit // (b * h * k_BHMK.shape[2]))


def _wants_explicit(q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor) -> bool:
    gradients = torch.is_grad_enabled() and (q_BHNK.requires_grad or k_BHMK.requires_grad or v_BHMK.requires_grad)
    return gradients and q_BHNK.device.type == "cpu" and q_BHNK.shape[2] * k_BHMK.shape[2] <= EXPLICIT_LIMIT


def _explicit_attention(q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor, mask: Tensor | None) -> Tensor:
    scores_BHNM = (q_BHNK * q_BHNK.shape[-1] ** -0.5) @ k_BHMK.transpose(-1, -2)
    if mask is not None:
        scores_BHNM = scores_BHNM.masked_fill(~mask, -math.inf)
    return scores_BHNM.softmax(dim=-1) @ v_BHMK


def rms_norm(x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang & Sennrich, arXiv 1910.07467), in float32 inside."""
    return F.rms_norm(x.float(), weight_D.shape, weight_D.float(), eps).type_as(x)


def layer_norm(x: Tensor, eps: float, weight_D: Tensor | None = None, bias_D: Tensor | None = None) -> Tensor:
    """Layer norm over the last axis, computed and returned in float32, whatever the dtype of x and of the weights."""
    weight_D = None if weight_D is None else weight_D.float()
    bias_D = None if bias_D is None else bias_D.float()
    return F.layer_norm(x.float(), x.shape[-1:], weight_D, bias_D, eps)


def timestep_embedding(t: Tensor, dim: int, period: float = 10000.0) -> Tensor:
    """t of any shape, in [0, 1000], to float32 of shape (*t.shape, dim): cosines first, then sines.

    The i-th of dim/2 frequencies is period^(-2i/dim) (Vaswani et al., arXiv 1706.03762). dim is even.
    """
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[..., None] * torch.exp(-math.log(period) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rope_channels(head_dim: int) -> tuple[int, int, int]:
    """How many of a head's channels turn with time, height and width: a third each, time taking the remainder (Wan)."""
    space = 2 * (head_dim // 6)
    return head_dim - 2 * space, space, space


def rope_tables(shape: tuple[int, int, int], head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines, float32, each (N, head_dim), for the tokens of a T x H x W volume in row-major order.

    Both channels of a pair share an angle. Angles are position x 10000^(-2i/d) along each axis (RoFormer, arXiv
    2104.09864). The last few shapes are remembered; a compiled graph takes its table as a constant.
    """
    return _rope_tables(shape, head_dim, device)


# What torch.compiler.assume_constant_result does, but that this does not import the compiler, which takes a second.
rope_tables.__dict__["_dynamo_marked_constant"] = True


@lru_cache(maxsize=4)
def _rope_tables(shape: tuple[int, int, int], head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Made in float64 on the CPU, since MPS has no float64, and outside inference mode, so that a table first wanted
    for sampling still serves training."""
    with torch.inference_mode(False), torch.no_grad():
        angles = []
        for axis, dim in enumerate(rope_channels(head_dim)):
            rates = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64, device="cpu") / dim)
            positions = torch.arange(shape[axis], dtype=torch.float64, device="cpu")
            view = [1, 1, 1, dim // 2]
            view[axis] = shape[axis]
            angles.append(torch.outer(positions, rates).view(view).expand(*shape, -1))
        angles_NK = torch.cat(angles, dim=-1).flatten(0, 2).repeat_interleave(2, dim=-1)
        return angles_NK.cos().float().to(device), angles_NK.sin().float().to(device)


def rope(x_BHNK: Tensor, cos_NK: Tensor, sin_NK: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels by its angle, float32 inside.

    On a CPU as products of complex numbers, which take a tenth of the time there (0.4 ms for 1.2 ms, 1950 tokens of
    384 channels, one thread, torch 2.13); elsewhere in real arithmetic, which MPS has and compilers fuse with the norm
    that comes before: by swapping the channels of a pair and not by stacking, which they would write to memory.
    """
    dtype = x_BHNK.dtype
    x = x_BHNK.float()
    del x_BHNK  # whatever is not held any more makes room: most of a pass's memory is taken here
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        rotations = torch.complex(cos_NK[:, 0::2], sin_NK[:, 0::2])
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * rotations).flatten(-2).to(dtype)
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    signs_K = 2 * (torch.arange(x.shape[-1], device=x.device) % 2) - 1  # -1 for the first of a pair, 1 for the second
    turned = x * cos_NK if dtype == x.dtype else x.mul_(cos_NK)  # a copy may be overwritten
    turned.addcmul_(swapped, sin_NK * signs_K)
    del x, swapped
    return turned.to(dtype)


def _is_plain(x: Tensor) -> bool:
    """Whether it is a CPU's float32 without gradients, where our own implementations are used."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()
    return plain and not (torch.is_grad_enabled() and x.requires_grad)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x).

    On a CPU in float32 without gradients as x / (1 + exp(-x)), which depends on x alone (and takes 1.06 times as long).
    Torch's own SiLU and sigmoid do the last few numbers of every thread's share in another way, off by one in the last
    place, so that the number of threads shows.
    """
    if not _is_plain(x):
        return F.silu(x)
    below = torch.neg(x).exp_().add_(1)
    return torch.div(x, below, out=below)


GELU_CHUNK = 2**17
"""Elements that ``tanh_gelu`` takes at once on a CPU: half a megabyte, which stays in its cache between the steps."""


def tanh_gelu(x: Tensor, *, in_place: bool = False) -> Tensor:
    """x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) * (x + 0.044715 x^3).

    in_place: whether the result may overwrite x, which no gradient may want then.

    On a CPU in float32 without gradients as x / (1 + exp(-2 u)), the same number: torch's tanh takes three times as
    long as its exponential (in all 15.5 ms for 9 ms, 4.2 million elements, one thread, torch 2.13). Not by torch's
    sigmoid, for the reason given at ``silu``.
    """
    if not _is_plain(x):
        return torch.ops.aten.gelu_(x, approximate="tanh") if in_place else F.gelu(x, approximate="tanh")
    slope = -2 * math.sqrt(2 / math.pi)
    in_place = in_place and x.is_contiguous()
    flat, out = x.reshape(-1), x if in_place else torch.empty_like(x, memory_format=torch.contiguous_format)
    for chunk, result in zip(flat.split(GELU_CHUNK), out.view(-1).split(GELU_CHUNK), strict=True):
        y = torch.empty_like(result) if in_place else result
        torch.mul(chunk, chunk, out=y)
        y.mul_(0.044715 * slope).add_(slope).mul_(chunk).exp_().add_(1)
        torch.div(chunk, y, out=result)
    return out
