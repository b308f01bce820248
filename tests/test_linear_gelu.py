"""A linear layer and its GELU in one product, which CUDA's library has; on a CPU through a stand-in for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from small_dit import distance, inputs, small_dit
from sora.networks.wan.config import WanConfig
from sora.runtime import linear_gelu
from sora.runtime.compile import compile_blocks
from sora.runtime.linear_gelu import agrees_with_tanh, is_supported

CPU = torch.device("cpu")
CONFIG = WanConfig(num_layers=2, heads=2, head_dim=32, in_channels=4, out_channels=4, text_dim=8, freq_dim=16)


def _activated(bias: Tensor, x: Tensor, weight: Tensor, *, use_gelu: bool) -> Tensor:
    assert use_gelu
    return F.gelu(torch.addmm(bias.float(), x.float(), weight.float()), approximate="tanh").type_as(x)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """torch's operator as it is on CUDA, one rounding after the GELU; the shapes of the weights that it was given."""
    calls = []

    def activated(bias: Tensor, x: Tensor, weight: Tensor, *, use_gelu: bool) -> Tensor:
        calls.append(tuple(weight.shape))
        return _activated(bias, x, weight, use_gelu=use_gelu)

    monkeypatch.setattr(torch, "_addmm_activation", activated)
    return calls


def test_it_is_used_where_the_gelu_is_the_approximation(products: list[tuple[int, ...]]) -> None:
    assert agrees_with_tanh(CPU, torch.bfloat16) and agrees_with_tanh(CPU, torch.float16) and products


def test_it_is_not_used_where_the_gelu_is_exact_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch's own operator computes it on a CPU."""
    for dtype in (torch.bfloat16, torch.float16):
        assert not agrees_with_tanh(CPU, dtype) and not is_supported(CPU, dtype)
    monkeypatch.delattr(torch, "_addmm_activation")
    assert not agrees_with_tanh(CPU, torch.bfloat16)


def test_a_card_in_float32_keeps_both_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_gelu, "agrees_with_tanh", lambda *_: True)
    card = torch.device("cuda", 7)
    assert is_supported(card, torch.bfloat16) and not is_supported(card, torch.float32)
    is_supported.cache_clear()


def test_a_network_is_as_near_to_the_truth_with_it(products: list[tuple[int, ...]]) -> None:
    dit, (x, t, text) = small_dit(CONFIG), inputs()
    exact = small_dit(CONFIG).float()(x.float(), t, text.float())
    with torch.inference_mode():
        separate = dit(x, t, text)
        assert not products
        dit.use_linear_gelu(linear_gelu.linear_gelu)
        fused = dit(x, t, text)
    assert products == [(CONFIG.dim, CONFIG.ffn_dim)] * CONFIG.num_layers
    assert distance(fused, separate) < 0.02
    assert distance(fused, exact) <= 1.05 * distance(separate, exact)


def test_what_trains_or_carries_adapters_is_left_alone(products: list[tuple[int, ...]]) -> None:
    dit: Any = small_dit(CONFIG)
    dit.use_linear_gelu(linear_gelu.linear_gelu)
    feed_forward, x = dit.blocks[0].ffn, torch.randn(3, CONFIG.dim).bfloat16()
    feed_forward(x.clone().requires_grad_()).sum().backward()
    feed_forward.net[0].proj.weight.requires_grad_(True)
    feed_forward(x)
    feed_forward.net[0].proj = nn.Sequential(nn.Linear(CONFIG.dim, CONFIG.ffn_dim).bfloat16().requires_grad_(False))
    feed_forward(x)
    assert not products


def test_compiled_blocks_contain_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "_addmm_activation", _activated)
    dit, (x, t, text) = small_dit(CONFIG), inputs()
    dit.use_linear_gelu(linear_gelu.linear_gelu)
    with torch.inference_mode():
        plain = dit(x, t, text)
        torch.compiler.reset()
        counter = CompileCounterWithBackend("eager")
        compile_blocks(dit.blocks_in_order(), backend=counter)  # type: ignore[arg-type]
        assert distance(dit(x, t, text), plain) < 1e-2
    assert counter.frame_count == 1
