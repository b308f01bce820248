"""The layers networks share: every way of computing attention agrees, and positions are relative."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sora.networks import layers
from sora.networks.layers import attention, layer_norm, rms_norm, rope, rope_channels, rope_tables, timestep_embedding

CPU = torch.device("cpu")


def qkv(queries: int = 9, keys: int = 9, dim: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(queries + 31 * keys)
    return torch.randn(2, 3, queries, dim), torch.randn(2, 3, keys, dim), torch.randn(2, 3, keys, dim)


def by_hand(q: Tensor, k: Tensor, v: Tensor, mask_BM: Tensor | None) -> Tensor:
    scores = torch.einsum("bhnk,bhmk->bhnm", q, k) / math.sqrt(q.shape[-1])
    if mask_BM is not None:
        scores = scores + torch.where(mask_BM, 0.0, -torch.inf)[:, None, None]
    return torch.einsum("bhnm,bhmk->bhnk", scores.softmax(-1), v)


@given(queries=st.integers(1, 12), keys=st.integers(1, 12), limit=st.integers(0, 700), masked=st.booleans())
@settings(max_examples=40)
def test_every_limit_gives_the_same_attention(queries: int, keys: int, limit: int, masked: bool) -> None:
    q, k, v = qkv(queries, keys)
    mask = torch.arange(keys)[None] < torch.tensor([[max(1, keys // 2)], [keys]]) if masked else None
    torch.testing.assert_close(attention(q, k, v, mask, limit=limit), by_hand(q, k, v, mask))


@pytest.mark.parametrize("limit", [None, 2 * 3 * 9 * 4])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_has_the_same_gradients(limit: int | None, masked: bool) -> None:
    ours, wanted = ([x.requires_grad_() for x in qkv()] for _ in range(2))
    mask = torch.arange(9)[None] < torch.tensor([[4], [9]]) if masked else None
    attention(ours[0], ours[1], ours[2], mask, limit=limit).square().sum().backward()
    by_hand(wanted[0], wanted[1], wanted[2], mask).square().sum().backward()
    for a, b in zip(ours, wanted, strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(a.grad, b.grad)


def test_attention_is_written_out_only_for_small_training_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    explicit = layers._explicit_attention
    monkeypatch.setattr(layers, "_explicit_attention", lambda *a: calls.append("explicit") or explicit(*a))
    q, k, v = qkv()
    attention(q, k, v)
    with torch.no_grad():
        attention(q.requires_grad_(), k, v)
    assert calls == []
    attention(q, k, v)
    assert calls == ["explicit"]
    monkeypatch.setattr(layers, "EXPLICIT_LIMIT", 80)
    attention(q, k, v)
    assert calls == ["explicit"]


@pytest.mark.parametrize(
    ("head_dim", "split"), [(24, (8, 8, 8)), (48, (16, 16, 16)), (64, (24, 20, 20)), (128, (44, 42, 42))]
)
def test_rope_splits_a_head_as_wan_does(head_dim: int, split: tuple[int, int, int]) -> None:
    assert rope_channels(head_dim) == split and sum(split) == head_dim


def test_rope_keeps_lengths_and_sees_only_differences_of_place() -> None:
    shape = (3, 4, 5)
    cos, sin = rope_tables(shape, 24, CPU)
    assert cos.shape == sin.shape == (60, 24) and cos.dtype == torch.float32
    q, k = torch.randn(2, 1, 1, 1, 24)
    turned_q, turned_k = (rope(x.expand(1, 1, 60, 24), cos, sin)[0, 0] for x in (q, k))
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(60))
    scores = (turned_q @ turned_k.T).view(*shape, *shape)
    torch.testing.assert_close(scores[0, 0, 0, 1, 2, 3], scores[1, 1, 1, 2, 3, 4])
    torch.testing.assert_close(scores[2, 3, 4, 0, 1, 2], scores[2, 2, 3, 0, 0, 1])


def test_rope_in_real_arithmetic_is_that_of_complex_numbers() -> None:
    """Compiled code, CUDA and MPS turn pairs of channels without complex numbers, and without stacking them."""
    x, (cos, sin) = torch.randn(2, 3, 60, 24), rope_tables((3, 4, 5), 24, CPU)
    real = torch.compile(rope, backend="eager", fullgraph=True)(x, cos, sin)
    stacked = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    assert torch.equal(real, torch.addcmul(x * cos, stacked, sin))
    torch.testing.assert_close(real, rope(x, cos, sin), rtol=0, atol=1e-6)
    half = x.bfloat16()
    found = torch.compile(rope, backend="eager")(half, cos, sin)
    torch.testing.assert_close(found, rope(half, cos, sin), rtol=2**-7, atol=2**-7)


def test_rope_tables_made_for_sampling_serve_training() -> None:
    with torch.inference_mode():
        tables = rope_tables((1, 1, 7), 24, CPU)
    x = torch.randn(1, 1, 7, 24, requires_grad=True)
    rope(x, *tables).sum().backward()
    assert rope_tables((1, 1, 7), 24, CPU)[0] is tables[0]


def test_norms_compute_in_float32() -> None:
    x, weight = torch.randn(4, 16), torch.randn(16)
    half, half_weight = x.bfloat16(), weight.bfloat16()
    exact = half.float() * (half.float().square().mean(-1, keepdim=True) + 1e-6).rsqrt() * half_weight.float()
    assert torch.equal(rms_norm(half, half_weight, 1e-6), exact.bfloat16())
    assert layer_norm(half, 1e-6).dtype == torch.float32
    torch.testing.assert_close(layer_norm(x, 1e-6, weight, weight), F.layer_norm(x, (16,), weight, weight, 1e-6))


def test_timestep_embedding_is_cosines_then_sines() -> None:
    e = timestep_embedding(torch.tensor([[0.0, 250.0, 1000.0]]), 8)
    assert e.shape == (1, 3, 8) and e.dtype == torch.float32
    assert e[0, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    rates = torch.tensor([1.0, 0.1, 0.01, 0.001])
    torch.testing.assert_close(e[0, 1], torch.cat([(250 * rates).cos(), (250 * rates).sin()]), atol=1e-4, rtol=0)
