"""What the tensors of a LoRA, or of one of its relatives, change of a network's weights.

A weight W becomes W + B A (LoRA, Hu et al., arXiv 2106.09685), W + w1 (x) w2 with the Kronecker product (LoKr, Yeh et
al., arXiv 2309.14859), or W + (a1 b1) * (a2 b2) element by element (LoHa, Hyeon-Woo et al., arXiv 2108.06098). With
magnitudes m (DoRA, Liu et al., arXiv 2402.09353) each row of that sum is scaled to the length m; of older trainers,
each column. The tensors' names are those of ``weights.lora_file``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sora.errors import printable

Factors = Mapping[str, Tensor]
"""What changes one parameter, by the ending of its name: "lora_A.weight", "dora_scale", "diff", ..."""

DORA = "dora_scale"
_HADA = tuple(f"hada_w{number}_{side}" for number in (1, 2) for side in "ab")
_OF_WEIGHTS = ("lora_A.weight", "lora_B.weight", "lokr_w1", "lokr_w2", *_HADA, DORA)
_SHOWN = 3  # kinds of weights that a note names


def by_parameter(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The parameters that a LoRA changes, and what does it. A tensor that is no part of a LoRA stands for itself, under
    no ending."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        ending = next((e for e in _OF_WEIGHTS if name.endswith("." + e)), "diff" if name.endswith(".diff") else "")
        parameter = name.removesuffix("." + ending) if ending else name
        found.setdefault(parameter if ending in ("", "diff") else parameter + ".weight", {})[ending] = tensor
    return found


def misfit(parameter: str, factors: Factors, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Why something cannot be added to a parameter, for a person; empty where it can. shapes: of the network's."""
    shape = shapes.get(parameter)
    if shape is None:
        return f"it changes {printable(parameter)}, which is not there"
    if all(_fits(ending, factors, shape) for ending in factors):
        return ""
    sizes = " x ".join(str(tuple(factor.shape)) for _, factor in sorted(factors.items(), reverse=True))
    return f"{sizes} for {printable(parameter)} of {shape}"


def _fits(ending: str, factors: Factors, shape: tuple[int, ...]) -> bool:
    """Whether a factor, with those it belongs to, has the shape of a parameter."""
    factor, rows, columns = factors[ending], shape[0] if shape else 1, math.prod(shape[1:])
    if ending == "diff":
        return [n for n in factor.shape if n != 1] == [n for n in shape if n != 1]
    if ending == DORA:
        by_column = factor.ndim == len(shape) == 2 and factor.numel() == columns
        return factor.numel() == rows if _by_row(factor, rows) else by_column
    if factor.ndim < 2 or not ending:
        return False
    if ending.startswith("lora"):
        up, down = _matrix(factors["lora_B.weight"]), _matrix(factors["lora_A.weight"])
        return up[1] == down[0] and (up[0], down[1]) == (rows, columns)
    if ending.startswith("lokr"):
        w1, w2 = _matrix(factors["lokr_w1"]), _matrix(factors["lokr_w2"])
        return (w1[0] * w2[0], w1[1] * w2[1]) == (rows, columns)
    w1_a, w1_b, w2_a, w2_b = (_matrix(factors[each]) for each in _HADA)
    return all(a[1] == b[0] and (a[0], b[1]) == (rows, columns) for a, b in ((w1_a, w1_b), (w2_a, w2_b)))


def _matrix(factor: Tensor) -> tuple[int, int]:
    """Rows and columns; those of a convolution's kernel are one column each."""
    return factor.shape[0] if factor.ndim else 0, math.prod(factor.shape[1:])


def _by_row(magnitude: Tensor, rows: int) -> bool:
    """Whether magnitudes are of a weight's rows, as in the paper, in peft and in most files, and not of columns."""
    return magnitude.ndim == 1 or (magnitude.shape[0] == rows if magnitude.ndim else rows == 1)


def changed(weight: Tensor, factors: Factors, strength: float) -> Tensor:
    """The weight with ``strength`` times the change, in float32."""
    old = weight.float()
    added = _added(factors, old)
    if DORA not in factors:
        return old + strength * added
    new_RK = (old + added).flatten(1)
    dim = 1 if _by_row(factors[DORA], len(new_RK)) else 0
    lengths = new_RK.norm(dim=dim, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    new_RK = new_RK * (factors[DORA].to(old).view_as(lengths) / lengths)
    return old + strength * (new_RK.view_as(old) - old)


def _added(factors: Factors, like: Tensor) -> Tensor:
    """What is added to a weight, in its shape and dtype, on its device."""

    def matrix(ending: str) -> Tensor:
        return factors[ending].to(like).flatten(1)

    terms = [factors["diff"].to(like)] if "diff" in factors else []
    if "lora_B.weight" in factors:
        terms.append(matrix("lora_B.weight") @ matrix("lora_A.weight"))
    if "lokr_w1" in factors:
        terms.append(torch.kron(matrix("lokr_w1"), matrix("lokr_w2")))
    if "hada_w1_a" in factors:
        terms.append((matrix("hada_w1_a") @ matrix("hada_w1_b")) * (matrix("hada_w2_a") @ matrix("hada_w2_b")))
    total = terms[0].reshape(like.shape) if terms else torch.zeros_like(like)
    for term in terms[1:]:
        total = total + term.reshape(like.shape)
    return total


def summary(misfits: Mapping[str, str]) -> str:
    """Weights that were left out, a few names for many: '80 blocks.*.attn2.add_k_proj.weight, ...'."""
    kinds = [re.sub(r"(?<=\.)\d+(?=\.)", "*", printable(parameter)) for parameter in misfits]
    counts, examples = Counter(kinds), dict(zip(kinds, map(printable, misfits), strict=True))
    shown = [f"{n} {kind}" if n > 1 else examples[kind] for kind, n in counts.most_common(_SHOWN)]
    return ", ".join(shown) + (f" and {len(counts) - _SHOWN} more kinds" if len(counts) > _SHOWN else "")


def names(tensors: Mapping[str, Tensor], parameters: Iterable[str]) -> dict[str, Tensor]:
    """The tensors that change some parameters."""
    wanted = set(parameters)
    return {n: t for n, t in tensors.items() if by_parameter({n: t}).keys() & wanted}
