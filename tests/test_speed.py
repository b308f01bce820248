"""Ways of painting faster: the exact ones change nothing beyond rounding, the others say what they leave out."""

from __future__ import annotations

import gc
import warnings
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor, nn

from conftest import Studio
from sora import catalog, models
from sora.engine import engine
from sora.errors import UsageError
from sora.models.guidance import GuidedTransformer
from sora.networks.layers import tanh_gelu
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import SharedTimesteps, WanDiT
from sora.plan import operations
from sora.runtime import lora
from sora.runtime.compile import compile_blocks
from sora.runtime.speed import OPTIMIZATIONS, Speed
from sora.runtime.step_cache import FirstBlockCache

TINY = WanConfig(num_layers=3, heads=2, head_dim=12, in_channels=4, out_channels=4, text_dim=8, freq_dim=16, ffn_dim=40)
SPEC = catalog.find("mini")
CPU = torch.device("cpu")


def lively(config: WanConfig = TINY) -> WanDiT:
    torch.manual_seed(0)
    dit = WanDiT(config).eval().requires_grad_(False)
    for p in dit.parameters():
        p.normal_(std=p[0].numel() ** -0.5 if p.ndim > 1 else 0.3)
    return dit


def given(batch: int = 1, words: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, a time, texts."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 4, 3, 4, 6, generator=draw)
    return x, torch.full((batch,), 700.0), torch.randn(words, 5, 8, generator=draw)


# Exact ways, network by network


def test_text_that_was_read_once_says_the_same() -> None:
    dit, (x, t, text) = lively(), given(2)
    said = dit.cache_context(text)
    for time in (t, t / 2):
        torch.testing.assert_close(dit(x, time, said), dit(x, time, text), rtol=0, atol=1e-6)


def test_one_sample_serves_for_many_texts() -> None:
    dit, (x, t, text) = lively(), given()
    together = dit(x, t, text)
    apart = torch.cat([dit(x, t, text[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)


def test_fused_products_are_the_same_and_follow_their_weights() -> None:
    dit, (x, t, text) = lively(), given(2)
    plain, names = dit(x, t, text), dict(dit.state_dict())
    dit.fuse_qkv()
    assert dit.state_dict().keys() == names.keys()
    torch.testing.assert_close(dit(x, t, text), plain, rtol=0, atol=1e-6)
    with torch.no_grad():
        dit.blocks[0].attn1.to_k.weight.mul_(3)  # type: ignore[union-attr, operator]
    changed = dit(x, t, text)
    dit.float()  # what changes the weights' dtype or place undoes it
    torch.testing.assert_close(dit(x, t, text), changed, rtol=0, atol=1e-6)
    assert (changed - plain).abs().max() > 1e-3


def test_fused_weights_may_move_and_learn() -> None:
    dit, (x, t, text) = lively(), given(2)
    dit.fuse_qkv()
    plain = dit(x, t, text)
    torch.testing.assert_close(dit.double()(x.double(), t.double(), text.double()).float(), plain, rtol=0, atol=1e-5)
    dit = dit.float()
    dit.fuse_qkv()
    dit.requires_grad_(True)
    dit(x, t, text).square().sum().backward()
    assert all(p.grad is not None for name, p in dit.named_parameters() if "attn1" in name)


def test_adapters_are_heard_and_learn_where_weights_were_fused() -> None:
    dit, (x, t, text) = lively(), given()
    dit.fuse_qkv()
    passes = GuidedTransformer(text[:1])
    plain = passes.velocities(lambda: dit, x, t, guided=False)
    learnt = lora.inject(dit, 2, targets=("to_q", "to_k", "to_v"))
    with torch.no_grad():
        for p in learnt:
            p.normal_()
    flow = plain
    for _ in range(2):  # no pass leans on what an earlier one made
        flow = passes.velocities(lambda: dit, x, t, guided=False)
        flow.square().sum().backward()
    assert (flow - plain).abs().max() > 1e-3
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learnt)


@pytest.mark.parametrize("as_index", [False, True])
def test_times_that_tokens_share_are_times_of_their_own(as_index: bool) -> None:
    dit, (x, _, text) = lively(), given()
    which = torch.tensor([1] * 6 + [0] * 12)
    runs: Any = which if as_index else ((0, 6, 1), (6, 18, 0))
    distinct = torch.tensor([[700.0, 0.0]])
    torch.testing.assert_close(
        dit(x, SharedTimesteps(distinct, runs), text[:1]), dit(x, distinct[:, which], text[:1]), rtol=0, atol=1e-6
    )


def test_gelu_is_its_tanh_form() -> None:
    x = 4 * torch.randn(3, 70_001)
    exact = nn.functional.gelu(x.double(), approximate="tanh")
    assert (tanh_gelu(x) - exact).abs().max() <= 2 * (nn.functional.gelu(x, approximate="tanh") - exact).abs().max()
    learnt = x[:, :9].clone().requires_grad_()
    tanh_gelu(learnt).sum().backward()
    assert learnt.grad is not None


def test_a_block_that_does_not_compile_runs_as_it_is() -> None:
    dit, (x, t, text) = lively(), given(2)
    plain = dit(x, t, text)

    def broken(*_: Any) -> Any:
        raise RuntimeError("no compiler here")

    compile_blocks(dit.blocks_in_order(), backend=broken)  # type: ignore[arg-type]
    with pytest.warns(RuntimeWarning, match="uncompiled"):
        torch.testing.assert_close(dit(x, t, text), plain, rtol=0, atol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dit(x, t, text)


def test_compiled_blocks_say_the_same() -> None:
    dit, (x, t, text) = lively(), given(2)
    plain = dit(x, t, text)
    compile_blocks(dit.blocks_in_order(), backend="eager")
    torch.testing.assert_close(dit(x, t, text), plain, rtol=0, atol=1e-6)


# The step cache


def test_the_cache_spares_blocks_where_the_first_changes_little() -> None:
    dit, (x, t, text) = lively(), given()
    cache, never = FirstBlockCache(0.05), FirstBlockCache(0.0)
    first = dit(x, t, text, step_cache=cache)
    torch.testing.assert_close(first, dit(x, t, text), rtol=0, atol=0)
    near = dit(x + 1e-4, t, text, step_cache=cache)
    assert (cache.calls, cache.skipped) == (2, 1)
    torch.testing.assert_close(near, dit(x + 1e-4, t, text), rtol=0, atol=1e-2)
    dit(-3 * x, t / 3, text, step_cache=cache)
    assert (cache.calls, cache.skipped) == (3, 1)
    for _ in range(2):
        torch.testing.assert_close(dit(x, t, text, step_cache=never), first, rtol=0, atol=0)
    assert never.skipped == 0


def test_each_text_has_its_own_cache_and_a_new_network_a_new_one() -> None:
    one, other, (x, t, text) = lively(), lively(), given()
    passes = GuidedTransformer(text, step_cache_threshold=1e9)
    apart = passes.velocities(lambda: one, x, t, guided=True)
    torch.testing.assert_close(passes.velocities(lambda: one, x, t, guided=True), apart, rtol=0, atol=1e-6)
    assert (apart[0] - apart[1]).abs().max() > 1e-3
    other.patch_embedding.weight.mul_(2)
    torch.testing.assert_close(
        passes.velocities(lambda: other, x, t, guided=True), other(x, t, text), rtol=0, atol=1e-6
    )


def test_a_network_that_is_let_go_is_not_kept() -> None:
    loaded, (x, t, text) = [lively()], given()
    passes, gone = GuidedTransformer(text, step_cache_threshold=0.1), ref(loaded[0])
    passes.velocities(lambda: loaded[0], x, t, guided=True)
    loaded.clear()
    gc.collect()
    assert gone() is None


# The whole model


def painted(speed: Speed, **changes: Any) -> Tensor:
    side, d = isqrt(SPEC.defaults.area) // 2, SPEC.defaults
    form = replace(SPEC.format((side, side), d.fps), model_size=SPEC.grid.nearest_size(1.0, side * side))
    plan = operations.generate(("a red balloon floats up over a green meadow",), frames=9, format=form)
    model = models.load(SPEC, CPU, torch.float32, speed)
    return torch.cat(
        list(engine.paint(model, plan, engine.Settings.from_spec(SPEC, 1, **{"steps": 6, "guidance": 3.0, **changes})))
    ).int()


READ_BY_MINI = {"batched-guidance", "fused", "text-once", "winograd"}


def test_exact_ways_change_no_grey_level_but_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that this model and the engine ask for; the others are Wan's, and tested there or network by network."""
    asked: set[str] = set()
    real = Speed.uses
    monkeypatch.setattr(Speed, "uses", lambda speed, way: (asked.add(way), real(speed, way))[1])
    plain = painted(Speed())
    assert asked == READ_BY_MINI < OPTIMIZATIONS.keys()
    films = {way: painted(Speed(disabled=frozenset({way}))) for way in sorted(READ_BY_MINI)}
    films["overlap"] = painted(Speed(), stream=False)
    for way, film in films.items():
        apart = (film - plain).abs()
        assert apart.max() <= 1 and apart.float().mean() < 0.01, way
    assert any(not torch.equal(film, plain) for film in films.values()), "what is left out is left out"


def test_guidance_has_weights_of_its_own() -> None:
    guided = SPEC.with_guidance()
    assert guided.files[0] != SPEC.files[0] and sorted(guided.files) == sorted(SPEC.files)
    assert SPEC.is_few_step and not guided.is_few_step and guided.with_guidance() == guided
    assert SPEC.defaults.steps < 2 * guided.defaults.steps  # passes, of which a guided step takes two
    quick, slow = (models.load(spec, CPU, torch.float32).dit.state_dict() for spec in (SPEC, guided))
    assert not all(torch.equal(quick[name], slow[name]) for name in slow)


def test_fast_paints_nearly_the_same() -> None:
    apart = (painted(Speed("fast"), steps=24) - painted(Speed(), steps=24)).abs().float()
    assert 0 < apart.mean() < 12


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(UsageError, match="exact, fast, turbo"):
        Speed("warp")
    with pytest.raises(UsageError, match="winograd"):
        Speed(disabled=frozenset({"magic"}))


def test_speed_on_the_command_line(studio: Studio, tmp_path: Path) -> None:
    refused = studio("generate", "a ball", "--speed", "warp")
    assert refused.exit_code == 2 and "exact, fast, turbo" in refused.stderr
    turbo = studio("generate", "a ball", "--speed", "turbo", "--model", "wan2.1-1.3b")
    assert turbo.exit_code == 2 and "--lora" in turbo.stderr
    few = studio("generate", "a ball", "--speed", "turbo", "--dry-run")
    assert few.exit_code == 0 and f"{SPEC.defaults.steps} steps of euler, 1 passes each" in few.stdout
    left_out = studio("generate", "a ball", "--without", "magic")
    assert left_out.exit_code == 2 and "winograd" in left_out.stderr
