"""What a pass of a Wan transformer holds, and what is counted of it: tensors that are let go or overwritten, step
caches, weights that are converted to float8."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from live_tensors import live_peak, painting_of
from sora import catalog, memory
from sora.memory import FreeMemory, Needs
from sora.models.wan import memory_needs
from sora.models.wan import transformer_memory as work
from sora.models.wan.float8_blocks import convert_blocks_to_float8
from sora.models.wan.needs import memory_needs_of
from sora.models.wan.sizes import Transformer
from sora.networks.layers import rope, rope_tables, tanh_gelu
from sora.networks.wan.blocks import ActivatedLinear, TanhGELU
from sora.networks.wan.config import WanConfig
from sora.networks.wan.vace import build_transformer
from sora.runtime.speed import Speed
from sora.runtime.step_cache import FirstBlockCache

GB = 2**30
CPU = torch.device("cpu")
SMALL = WanConfig(num_layers=3, heads=2, head_dim=32, text_dim=24, ffn_dim=128)
BY_NAME = {plan.name: plan for plan in memory.PLANS_BY_SPEED}


@pytest.mark.parametrize("vace_layers", [(), (0, 1)])
def test_tokens_from_before_the_blocks_are_let_go_after_the_first(vace_layers: tuple[int, ...]) -> None:
    network = build_transformer(replace(SMALL, vace_layers=vace_layers)).eval().requires_grad_(False)
    seen: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []
    network.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(weakref.ref(args[0])))
    network.blocks[1].register_forward_pre_hook(lambda *_: alive.append(seen[0]() is not None))
    control = {"control_BCTHW": torch.zeros(1, SMALL.vace_in_channels, 1, 4, 4)} if vace_layers else {}
    network(torch.zeros(1, 16, 1, 4, 4), torch.tensor([5.0]), torch.zeros(1, 8, 24), **control)
    assert alive == [False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gelu_in_place_has_the_same_bits(dtype: torch.dtype) -> None:
    x = torch.randn(3, 70_001, dtype=dtype)
    expected, before = tanh_gelu(x), x.clone()
    assert torch.equal(x, before)
    assert tanh_gelu(x, in_place=True) is x and torch.equal(x, expected)
    strided = before.T
    assert torch.equal(tanh_gelu(strided, in_place=True), expected.T)


def test_a_gelu_whose_gradient_is_wanted_is_not_in_place() -> None:
    layer, x = ActivatedLinear(8, 16, TanhGELU()), torch.randn(5, 8)
    layer(x).sum().backward()
    weight = layer.proj.weight.detach().clone().requires_grad_()
    F.gelu(F.linear(x, weight, layer.proj.bias.detach()), approximate="tanh").sum().backward()
    assert layer.proj.weight.grad is not None and weight.grad is not None
    torch.testing.assert_close(layer.proj.weight.grad, weight.grad)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.gelu(layer.proj(x), approximate="tanh"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rope_leaves_what_it_is_given(dtype: torch.dtype) -> None:
    x, tables = torch.randn(1, 2, 24, 12).to(dtype), rope_tables((2, 3, 4), 12, CPU)
    before = x.clone()
    torch.compile(rope, backend="eager", fullgraph=True)(x, *tables)  # in real arithmetic, as on a GPU
    assert torch.equal(x, before)


def test_a_step_cache_is_counted() -> None:
    config, shape = WanConfig(num_layers=3, heads=4, head_dim=32, text_dim=24, ffn_dim=256), (5, 24, 32)
    needs = painting_of(config, shape, 1, 2)
    needs = replace(needs, transformer=replace(needs.transformer, text=(16, 24)), prompts=1, step_cache=True)
    with torch.device("meta"):
        network = build_transformer(config).bfloat16().eval().requires_grad_(False)
        x, text = torch.zeros(1, 16, *shape, dtype=torch.bfloat16), torch.zeros(1, 16, 24, dtype=torch.bfloat16)
        t = torch.zeros(1)
    cache = FirstBlockCache(0.0)
    cache._is_similar = lambda *_: False  # type: ignore[method-assign]  # nothing can be compared on the meta device

    def two_passes() -> None:
        for _ in range(2):
            network(x, t, text, step_cache=cache)

    expected = work.transformer(needs, quantized=False) + work.step_cache(needs)
    assert live_peak(two_passes) == pytest.approx(expected, rel=0.15)
    assert work.step_cache(replace(needs, step_cache=False)) == 0


def test_weights_in_float8_are_counted() -> None:
    config = WanConfig(num_layers=2, heads=8, head_dim=128, text_dim=24, ffn_dim=2048)
    with torch.device("meta"):
        network = build_transformer(config).bfloat16().requires_grad_(False)
    needs = replace(painting_of(config, (1, 8, 8), 1, 2), transformer=Transformer.of(network, 2))
    convert_blocks_to_float8(network)
    assert work.float8_weights(needs) == pytest.approx(_bytes_of(network), rel=0.01)


def _bytes_of(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))


def converted(share: float, work_bytes: int) -> Needs:
    """Of a transformer of 20 GB whose weights shrink to a share of that."""
    of_14b = painting_of(WanConfig(num_layers=2, heads=4, head_dim=32, text_dim=24, ffn_dim=256), (1, 8, 8), 1, 2)
    size = memory.NetworkSize(memory.WeightsSize(10 * GB), 10 * GB, 40, GB // 4)
    size = replace(memory_needs_of(of_14b), transformer=size, dtype_bytes=2, sampling_bytes=lambda **_: work_bytes)
    return replace(size, converted_bytes=round(share * 20 * GB))


def test_weights_that_are_converted_are_all_there_once() -> None:
    plain = replace(converted(1, GB), converted_bytes=None)
    for work_bytes, most in ((GB, 20 * GB), (12 * GB, 22 * GB)):
        found = memory.estimate(converted(0.5, work_bytes), BY_NAME["decode-alone"])
        assert found.sample.total == most, "loaded whole, then half of it and the work"
    streamed = [memory.estimate(each, BY_NAME["streamed"]) for each in (plain, converted(0.5, GB))]
    assert streamed[1].host == streamed[0].host / 2 and streamed[1].sample.weights == streamed[0].sample.weights / 2
    fp8 = [memory.estimate(each, BY_NAME["fp8"]) for each in (plain, converted(0.5, GB))]
    assert fp8[0] == fp8[1], "they are quantized already"
    plan, _ = memory.plan_memory(converted(0.5, 4 * GB), FreeMemory(22 * GB))
    assert plan.resident_blocks is None
    assert (
        memory.plan_memory(replace(plain, sampling_bytes=lambda **_: 4 * GB), FreeMemory(22 * GB))[0].name == "streamed"
    )


def test_speed_is_in_the_needs() -> None:
    row, device = catalog.find("wan2.1-1.3b"), torch.device("mps")
    how: Any = {"sequential_guidance": True, "quantized": False, "caches_text": True}

    def sampling(**options: Any) -> int:
        needs = memory_needs(row, (81, 480, 832), device, torch.bfloat16, encodes=False, **options)
        return needs.sampling_bytes(**how)

    tokens = 21 * 30 * 52 * 1536 * 2
    assert sampling(speed=Speed("fast")) - sampling() == (2 * 2 + 3) * tokens
    kept_text = 30 * 2 * 512 * 1536 * 2
    assert sampling() - sampling(guided=False) == kept_text
