"""Products in float8, which only accelerators compute quickly, by the same code on a CPU."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

import sora
from real_files_parts import tiny_wan
from small_dit import CONFIG, distance, inputs, small_dit
from sora import catalog, memory
from sora.memory.plans import find
from sora.models import wan
from sora.models.wan.float8_blocks import CONTEXT_LAYERS, convert_block_to_float8, convert_blocks_to_float8
from sora.models.wan.layout import meta_module
from sora.runtime import float8, float8_rounding, lora
from sora.runtime.compile import compile_blocks
from sora.runtime.float8 import Float8Linear, convert_to_float8, is_fast, is_supported, pays
from sora.runtime.float8_rounding import FLOAT8, FLOAT8_MAX, quantize_rows, quantize_rows_in_torch, triton_rounding
from sora.runtime.offload import offload_blocks
from sora.runtime.speed import Speed

CPU = torch.device("cpu")
needs_products = pytest.mark.skipif(
    not is_supported(CPU), reason="this build of torch has no float8 products with row scales on CPUs"
)


@pytest.fixture
def small_sizes_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float8, "MIN_CHANNELS_OUT", 16)


# Rounding


def test_the_largest_number_of_a_row_becomes_the_largest_there_is() -> None:
    x = torch.randn(6, 48) * torch.logspace(-9, 9, 6)[:, None]
    x[3] = 0
    scale, rounded = quantize_rows(x)
    assert scale.shape == (6, 1) and scale.dtype == torch.float32 and rounded.dtype == FLOAT8
    found = rounded.float()
    assert (found.abs().amax(dim=1)[[0, 1, 2, 4, 5]] == FLOAT8_MAX).all() and (found[3] == 0).all()
    apart = (found * scale - x).abs()
    assert (apart <= torch.maximum(x.abs() / 16, scale * 2**-10) * 1.0001).all()  # three bits of mantissa


def test_a_gelu_comes_before_the_rounding() -> None:
    x = torch.stack([torch.linspace(-6, 6, 400), torch.linspace(-6, -0.1, 400), torch.linspace(-0.8, 0.1, 400)])
    activated = nn.functional.gelu(x, approximate="tanh")
    scale, rounded = quantize_rows(x, gelu=True)
    assert rounded.float().abs().max() == FLOAT8_MAX and scale[0] > scale[1] == scale[2]
    apart = (rounded.float() * scale - activated).abs()
    assert (apart <= torch.maximum(activated.abs() / 16, scale * 2**-10) * 1.0001).all()
    compiled = torch.compile(quantize_rows, backend="eager")(x, gelu=True)
    torch.testing.assert_close(compiled[0], scale, rtol=1e-6, atol=0)
    assert (compiled[1].float() != rounded.float()).float().mean() < 0.01  # near ties


def test_what_is_not_finite_does_not_become_finite() -> None:
    x = torch.randn(3, 32)
    x[0, 3], x[1, 2] = torch.nan, -torch.inf
    for gelu in (False, True):
        scale, rounded = quantize_rows(x, gelu)
        finite = (scale * rounded.float()).sum(dim=1).isfinite()
        assert finite.tolist() == [False, False, True]


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_triton_kernel_gives_the_same_bits() -> None:
    """On a card or in Triton's interpreter, which it takes a process of its own to choose."""
    call = "import test_float8; test_float8.compare_triton_with_torch()"
    interpreted = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    env = {**os.environ, **interpreted, "PYTHONPATH": os.pathsep.join(sys.path)}
    tests = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", call], env=env, cwd=tests, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def compare_triton_with_torch() -> None:
    """The numbers are compared before they are float8 too, since the interpreter does not round ties to even."""
    from sora.runtime.float8_triton import quantize_rows_in_triton

    device = "cuda" if torch.cuda.is_available() else "cpu"
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        for rows, columns in ((1, 16), (7, 48), (3, 1536)):
            x = (torch.randn(rows, 2 * columns) * torch.logspace(-5, 3, rows)[:, None]).to(device, dtype)[:, :columns]
            x[0] = 0
            scale, quotients = quantize_rows_in_triton(x, dtype=torch.float32)
            expected_scale, expected = quantize_rows_in_torch(x)
            assert torch.equal(scale, expected_scale)
            assert torch.equal(quotients.to(FLOAT8).view(torch.uint8), expected.view(torch.uint8))
            scale, quotients = quantize_rows_in_triton(x, gelu=True, dtype=torch.float32)
            expected_scale, expected = quantize_rows_in_torch(x, gelu=True)
            torch.testing.assert_close(scale, expected_scale, rtol=1e-6, atol=0)
            assert (quotients.to(FLOAT8).float() != expected.float()).float().mean() < 0.01  # near ties
            x[0, 5] = torch.nan
            assert quantize_rows_in_triton(x)[0].isnan().flatten().tolist() == [True] + [False] * (rows - 1)
    assert quantize_rows_in_triton(torch.empty(0, 16, device=device))[1].shape == (0, 16)


def test_where_triton_does_not_run_torch_rounds() -> None:
    assert triton_rounding(CPU) is None or torch.cuda.is_available()


# Products


def no_row_scales(x: Tensor, y: Tensor, **_: Any) -> Tensor:
    raise RuntimeError("only per-tensor scaling")


def first_scales_alone(x: Tensor, y: Tensor, *, scale_a: Tensor, scale_b: Tensor, **_: Any) -> Tensor:
    return (x.float() @ y.float() * scale_a[0, 0] * scale_b[0, 0]).bfloat16()


def no_bias(x: Tensor, y: Tensor, *, scale_a: Tensor, scale_b: Tensor, **_: Any) -> Tensor:
    return (x.float() @ y.float() * scale_a * scale_b).bfloat16()


def row_scales(x: Tensor, y: Tensor, *, scale_a: Tensor, scale_b: Tensor, bias: Tensor, **_: Any) -> Tensor:
    return (x.float() @ y.float() * scale_a * scale_b + bias).bfloat16()


@pytest.mark.parametrize(
    ("build", "has"), [(no_row_scales, False), (first_scales_alone, False), (no_bias, False), (row_scales, True)]
)
def test_float8_is_supported_where_torch_scales_each_row(
    monkeypatch: pytest.MonkeyPatch, build: Callable[..., Tensor], has: bool
) -> None:
    monkeypatch.setattr(torch, "_scaled_mm", build, raising=False)
    assert is_supported(CPU) is has


def test_float8_is_not_used_on_cpus() -> None:
    assert not is_fast(CPU)


@needs_products
@pytest.mark.parametrize("rows", [1, 7, 32])
def test_a_product_is_that_of_the_rounded_numbers(rows: int) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(48, 80).bfloat16().requires_grad_(False), torch.randn(2, rows, 48).bfloat16()
    (weight_scale, weight), (scale, rounded) = quantize_rows(linear.weight), quantize_rows(x.view(-1, 48))
    expected = (rounded.double() @ weight.double().T) * scale.double() * weight_scale.double().T + linear.bias.double()
    found = Float8Linear(linear)(x)
    assert found.shape == (2, rows, 80) and found.dtype == torch.bfloat16
    assert distance(found.view(-1, 80), expected) < 2**-8  # half a unit of bfloat16


@needs_products
def test_layers_keep_their_number_formats_wherever_they_go() -> None:
    x, layer = torch.randn(3, 32).bfloat16(), Float8Linear(nn.Linear(32, 48).bfloat16().requires_grad_(False))
    before, bits = layer(x), layer.weight.view(torch.uint8).clone()
    layer = layer.float().to(CPU).bfloat16()
    assert layer.weight.dtype == FLOAT8 and layer.scale.dtype == torch.float32 and layer.bias.dtype == torch.bfloat16
    assert torch.equal(layer.weight.view(torch.uint8), bits) and torch.equal(layer(x), before)


# Networks


@needs_products
def test_only_layers_that_gain_are_converted(small_sizes_pay: None) -> None:
    dit: Any = small_dit(replace(CONFIG, image_dim=16))
    convert_blocks_to_float8(dit)
    converted = {path.split(".", 2)[2] for path, m in dit.named_modules() if isinstance(m, Float8Linear)}
    own = {f"attn1.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")}
    assert converted == own | {"attn2.to_q", "attn2.to_out.0", "ffn.net.0.proj", "ffn.net.2"}
    assert all(
        type(block.attn2.get_submodule(name[6:])) is nn.Linear for block in dit.blocks for name in CONTEXT_LAYERS
    )


def test_narrow_layers_stay_as_they_are() -> None:
    dit = small_dit()
    convert_blocks_to_float8(dit)
    assert not [m for m in dit.modules() if isinstance(m, Float8Linear)]
    assert pays(nn.Linear(1536, 1536, device="meta")) and not pays(nn.Linear(4096, 512, device="meta"))


@needs_products
def test_products_in_float8_are_near(small_sizes_pay: None) -> None:
    """Each is off by at most 3 % of its length, two roundings to three bits; today's rounding and order of layers,
    written out below, is the measure for the network as a whole."""
    dit, (x, t, text) = small_dit(), inputs()
    exact = small_dit().float()(x.float(), t, text.float())
    plain = distance(dit(x, t, text), exact)
    separate = copy.deepcopy(dit)
    convert_to_float8(separate.blocks_in_order(), lambda *_: True)
    convert_blocks_to_float8(dit)
    dit.fuse_qkv()
    found = distance(dit(x, t, text), exact)
    assert plain < found <= 1.05 * distance(separate(x, t, text), exact) < 0.1


@needs_products
def test_fused_products_are_the_separate_ones_bit_for_bit(small_sizes_pay: None) -> None:
    dit, (x, t, text) = small_dit(), inputs()
    convert_blocks_to_float8(dit)
    separate, names = dit(x, t, text), {name: value.clone() for name, value in dit.state_dict().items()}
    dit.fuse_qkv()
    attention: Any = dit.blocks[0].attn1
    assert attention.to_k.weight.data_ptr() > attention.to_q.weight.data_ptr() == attention._fused.tensors[0].data_ptr()
    assert torch.equal(dit(x, t, text), separate)
    after = dit.state_dict()
    assert after.keys() == names.keys() and all(torch.equal(after[n].float(), names[n].float()) for n in names)


@needs_products
def test_one_product_takes_the_place_of_three(small_sizes_pay: None, monkeypatch: pytest.MonkeyPatch) -> None:
    dit, (x, t, text) = small_dit(replace(CONFIG, num_layers=1)), inputs()
    convert_blocks_to_float8(dit)
    calls: list[str] = []

    def count(module: Any, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: (calls.append(name), real(*args))[1])

    count(float8_rounding, "quantize_rows")
    count(float8, "scaled_matmul")
    counts = []
    for step in (lambda: None, dit.fuse_qkv, dit.bfloat16, dit.fuse_qkv):
        step()
        calls.clear()
        dit(x, t, text)
        counts.append((calls.count("quantize_rows"), calls.count("scaled_matmul")))
    assert counts == [(6, 8), (6, 6)] * 2  # what moves the weights undoes it; inputs are rounded once all the same


@needs_products
def test_an_adapter_on_a_fused_layer_is_applied(small_sizes_pay: None) -> None:
    """Queries, keys and values wait for a LoRA that trains as plain layers do."""
    dit, (x, t, text) = small_dit(), inputs()
    convert_blocks_to_float8(dit)
    dit.fuse_qkv()
    plain = dit(x, t, text)
    attention: Any = dit.blocks[0].attn1
    attention.to_v = nn.Sequential(attention.to_v, nn.Hardtanh(-0.1, 0.1))
    assert distance(dit(x, t, text), plain) > 1e-3


@needs_products
def test_a_merged_lora_is_in_the_rounded_weights(small_sizes_pay: None) -> None:
    dit, (x, t, text) = small_dit(), inputs()
    down, up = torch.randn(2, 64) / 8, torch.randn(64, 2) / 2
    lora.merge(dit, {"blocks.0.attn1.to_v.lora_A.weight": down, "blocks.0.attn1.to_v.lora_B.weight": up}, 1.0)
    merged = dit(x, t, text)
    unchanged, converted = small_dit()(x, t, text), dit
    convert_blocks_to_float8(converted)
    converted.fuse_qkv()
    assert distance(converted(x, t, text), merged) < 0.1 < 3 * distance(unchanged, merged)


@needs_products
def test_offloaded_blocks_multiply_in_float8(small_sizes_pay: None) -> None:
    dit, (x, t, text) = small_dit(), inputs()
    convert_blocks_to_float8(dit)
    plain = dit(x, t, text)
    with torch.no_grad(), offload_blocks(dit.blocks_in_order(), CPU):
        assert torch.equal(dit(x, t, text), plain)


@needs_products
@pytest.mark.parametrize("resident", [0, 1, 2])
def test_blocks_are_converted_as_they_are_offloaded(small_sizes_pay: None, resident: int) -> None:
    dit, (x, t, text) = small_dit(), inputs()
    offloaded, full = copy.deepcopy(dit), sum(p.nbytes for p in dit.blocks.parameters())
    convert_blocks_to_float8(dit)
    dit.fuse_qkv()
    with torch.no_grad():
        stream = offload_blocks(offloaded.blocks_in_order(), CPU, resident, convert=convert_block_to_float8)
        assert torch.equal(offloaded(x, t, text), dit(x, t, text))
        assert sum(len(home.bytes) for home in stream._host_blocks) < 0.7 * full * (2 - resident) / 2 or resident == 2
        stream.remove()
        assert torch.equal(offloaded(x, t, text), dit(x, t, text))


@needs_products
@pytest.mark.parametrize("kind", ["t2v", "vace"])
def test_a_film_whose_blocks_are_streamed_multiplies_in_float8_too(
    small_sizes_pay: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr(float8, "is_fast", lambda _: True)
    products, real = [], float8.scaled_matmul
    monkeypatch.setattr(float8, "scaled_matmul", lambda *given: (products.append(1), real(*given))[1])
    options: dict[str, Any] = {"model": str(tiny_wan.folder(tmp_path / kind, kind)), "device": "cpu", "steps": 2}
    options |= {"frames": 5, "size": "64x64", "seed": 3, "dtype": "bfloat16", "speed": "fast"}
    films, counts = [], []
    for plan in ("text-dropped", "streamed"):
        products.clear()
        films.append(torch.from_numpy(sora.generate("a red cat", memory=plan, **options).frames))
        counts.append(len(products))
    assert torch.equal(*films)
    assert 0 < counts[0] < counts[1]  # queries, keys and values are one product where all blocks stay


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-14b", "wan2.1-vace-14b"])
def test_estimates_count_streamed_blocks_in_float8(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(float8, "is_fast", lambda _: True)
    spec, shape, cuda = catalog.MODELS[name], (81, 480, 832), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    dit: Any = meta_module(spec, "transformer", None)
    dit.requires_grad_(False).bfloat16()
    convert_blocks_to_float8(dit)
    tensors = [t for block in dit.blocks_in_order() for t in (*block.parameters(), *block.buffers())]
    exact, fast = (
        memory.estimate(
            wan.memory_needs(spec, shape, cuda, torch.bfloat16, encodes=False, speed=speed), find("streamed")
        )
        for speed in (Speed(), Speed("fast"))
    )
    assert fast.host == pytest.approx(sum(t.nbytes for t in tensors), rel=0.03)
    assert fast.host < 0.62 * exact.host and fast.sample.weights < exact.sample.weights


@needs_products
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_blocks_round_in_one_graph(small_sizes_pay: None, backend: str) -> None:
    dit, (x, t, text) = small_dit(), inputs()
    convert_blocks_to_float8(dit)
    dit.fuse_qkv()
    plain = dit(x, t, text)
    torch.compiler.reset()
    counter = CompileCounterWithBackend(backend)
    compile_blocks(dit.blocks_in_order(), backend=counter)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # what fails to compile warns
        assert distance(dit(x, t, text), plain) < 1e-3
    assert counter.frame_count == 1
    graph = counter.graphs[0]
    nodes = list(graph.graph.nodes)  # type: ignore[attr-defined]
    assert sum(node.target is torch._scaled_mm for node in nodes) == 8  # type: ignore[attr-defined]
    assert sum(node.target == "to" and FLOAT8 in node.args for node in nodes) == 6
