"""Compiled blocks compute what plain ones do, with two graphs for whatever a process paints, where that saves time."""

from __future__ import annotations

import dataclasses
import gc
import math
import os
import shutil
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

import sora
from real_files_parts import tiny_wan
from sora import catalog, models
from sora.engine import engine
from sora.jobs import forecast
from sora.models import compiling
from sora.models.attention import Choice
from sora.models.compile_cost import CACHED_SECONDS, COLD_SECONDS, SHARE_SAVED
from sora.models.compiling import Compiling, compile_seconds, graph_key, remember
from sora.models.guidance import GuidedTransformer
from sora.networks.wan.blocks import update_gathered
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import SharedTimesteps, WanDiT
from sora.networks.wan.vace import WanVACE
from sora.plan import operations
from sora.runtime import linear_gelu
from sora.runtime.attention_kernels import KERNELS, Kernel
from sora.runtime.attention_op import load_kernel
from sora.runtime.compile import compile_blocks
from sora.runtime.offload import offload_blocks
from sora.runtime.parallel.ulysses import UlyssesSequence
from sora.runtime.quantized import quantize_to_float8
from sora.runtime.speed import Speed

CPU = torch.device("cpu")
TINY = WanConfig(num_layers=3, heads=2, head_dim=12, in_channels=4, out_channels=4, text_dim=8, freq_dim=16, ffn_dim=40)
CONTROLLED = dataclasses.replace(TINY, vace_layers=(0, 2), vace_in_channels=6)
SEEING = dataclasses.replace(TINY, image_dim=20)
SHAPES = ((3, 4, 6), (5, 4, 6), (2, 6, 8))  # latents of windows of several lengths and sizes

Inputs = dict[str, Any]


def lively(config: WanConfig) -> WanDiT:
    torch.manual_seed(0)
    network = (WanVACE if config.vace_layers else WanDiT)(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3)
    return network


def all_inputs(config: WanConfig) -> Iterator[Inputs]:
    """Everything that changes between the windows of films, and between films: lengths, known frames, batches."""
    draw = torch.Generator().manual_seed(1)
    for shape in SHAPES:
        tokens = math.prod(shape) // 4
        frame, half = tokens // shape[0], tokens // 2
        distinct = torch.tensor([[700.0, 0.0]])
        runs: list[Any] = [((0, frame, 1), (frame, tokens, 0)), ((0, frame, 1), (frame, half, 0), (half, tokens, 1))]
        masked = torch.randint(0, 2, (tokens,), generator=draw)
        times = [torch.tensor([700.0]), *(SharedTimesteps(distinct, index) for index in (*runs, masked))]
        times.append(1000 * torch.rand(1, tokens, generator=draw))
        x, text = torch.randn(1, 4, *shape, generator=draw), torch.randn(2, 5, 8, generator=draw)
        for time in times:
            for batched in (False, True):
                yield {"x": x, "times": time, "text": text, "batched": batched}
        if config.vace_layers:
            control = torch.randn(1, 6, *shape, generator=draw)
            yield {"x": x, "times": times[0], "text": text, "batched": False, "control_BCTHW": control}
            yield {"x": x, "times": times[0], "text": text, "batched": True, "control_BCTHW": control}
        else:  # windows that are sampled at once
            several, texts = torch.randn(3, 4, *shape, generator=draw), torch.randn(6, 5, 8, generator=draw)
            yield {"x": several, "times": torch.full((3,), 700.0), "text": texts, "batched": False}
            yield {"x": several, "times": torch.full((3,), 700.0), "text": texts, "batched": True}


@torch.inference_mode()
def velocities(network: WanDiT, inputs: Inputs, cache_text: bool = True) -> Tensor:
    more = {key: value for key, value in inputs.items() if key.startswith("control")}
    image = None
    if network.config.image_dim is not None:
        image = torch.linspace(-1, 1, 100).view(1, 5, 20)
    passes = GuidedTransformer(
        inputs["text"],
        image,
        cache_text=lambda: cache_text,
        batch_guidance=lambda: inputs["batched"],
        samples=len(inputs["x"]),
    )
    return passes.velocities(
        lambda: network, inputs["x"], inputs["times"], guided=True, extra_inputs=lambda _: dict(more)
    )


@pytest.fixture
def counter() -> Iterator[CompileCounterWithBackend]:
    """A backend that counts the graphs of a process that has none."""
    torch._dynamo.reset()
    yield CompileCounterWithBackend("eager")
    torch._dynamo.reset()


def fused(network: WanDiT) -> WanDiT:
    network.fuse_qkv()
    return network


def unchanged(network: WanDiT) -> WanDiT:
    return network


def offloaded(network: WanDiT) -> WanDiT:
    offload_blocks(network.blocks_in_order(), CPU, resident=1)
    return network


# One graph for one sample, one for several


@pytest.mark.parametrize(
    ("config", "prepare"),
    [(TINY, fused), (SEEING, offloaded), (CONTROLLED, fused)],
    ids=["text", "image, offloaded", "control"],
)
def test_two_graphs_serve_films_of_every_kind(
    counter: CompileCounterWithBackend, config: WanConfig, prepare: Callable[[WanDiT], WanDiT]
) -> None:
    plain, network = lively(config), prepare(lively(config))
    compile_blocks(network.blocks_in_order(), backend=counter)  # type: ignore[arg-type]
    for inputs in all_inputs(config):
        got = velocities(network, inputs, cache_text=prepare is not offloaded)
        torch.testing.assert_close(got, velocities(plain, inputs), rtol=0, atol=1e-5)
    assert counter.frame_count == 2


def test_weights_that_move_or_are_loaded_anew_need_no_new_graph(counter: CompileCounterWithBackend) -> None:
    inputs = next(all_inputs(TINY))
    for _ in range(2):
        for network in (lively(TINY), offloaded(lively(TINY))):
            compile_blocks(network.blocks_in_order(), backend=counter)  # type: ignore[arg-type]
            for cache_text in (False, True):
                velocities(network, inputs, cache_text)
    assert counter.frame_count == 1


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bool]]]:
    """Calls of the attention kernels "one" and "two", which stand in on the CPU for those of a card: (kernel, whether
    among the tokens)."""
    calls: list[tuple[str, bool]] = []

    def kernel(name: str) -> Kernel:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            calls.append((name, q.shape[2] == k.shape[2]))
            return F.scaled_dot_product_attention(q, k, v)

        return Kernel(name, lambda: attend)

    for name in ("one", "two"):
        monkeypatch.setitem(KERNELS, name, kernel(name))
    load_kernel.cache_clear()
    yield calls
    load_kernel.cache_clear()


def attending(network: WanDiT, own: str, text: str) -> WanDiT:
    network.use_attention(*Choice(own, text).functions)
    return network


@pytest.mark.parametrize("devices", ["one device", "several"])
def test_one_graph_serves_all_attention_kernels_fused_or_not(
    counter: CompileCounterWithBackend, kernel_calls: list[tuple[str, bool]], devices: str
) -> None:
    inputs, sequence = next(all_inputs(TINY)), UlyssesSequence()
    expected = velocities(lively(TINY), inputs)
    ways = [(fused, "one", "one"), (fused, "one", "two"), (unchanged, "two", "one"), (offloaded, "two", "two")]
    for prepare, own, text in ways:
        network = prepare(lively(TINY))
        if devices == "several":
            network.parallelize(sequence)
        compile_blocks(attending(network, own, text).blocks_in_order(), backend=counter)  # type: ignore[arg-type]
        kernel_calls.clear()
        torch.testing.assert_close(velocities(network, inputs, prepare is fused), expected, rtol=0, atol=1e-5)
        assert kernel_calls == [(own, True), (text, False)] * 6  # 3 blocks in the 2 passes of a guided step
    assert counter.frame_count == 1


def test_weights_in_float8_are_compiled_too(counter: CompileCounterWithBackend) -> None:
    plain, network = lively(TINY), lively(TINY)
    for each in (*plain.blocks, *network.blocks):
        quantize_to_float8(each)
    compile_blocks(network.blocks_in_order(), backend=counter)  # type: ignore[arg-type]
    for inputs in list(all_inputs(TINY))[::12]:
        torch.testing.assert_close(velocities(network, inputs), velocities(plain, inputs), rtol=0, atol=1e-5)
    assert counter.frame_count == 1


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_graph_computes_exactly_what_it_was_made_of(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    network, same = lively(TINY), lively(TINY)
    compile_blocks(network.blocks_in_order(), backend=backend)

    def uncompiled(*inputs: Any) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)  # formulas as compilers are given them
            return update_gathered(*inputs)

    for block in same.blocks_in_order():
        block.graph = uncompiled  # type: ignore[assignment]
    for inputs in (each for each in all_inputs(TINY) if not each["batched"] and len(each["x"]) == 1):
        assert torch.equal(velocities(network, inputs), velocities(same, inputs))


def test_compiled_networks_are_freed_when_they_are_dropped() -> None:
    network = lively(TINY)
    compile_blocks(network.blocks_in_order(), backend="eager")
    velocities(network, next(all_inputs(TINY)))
    left = weakref.ref(network), weakref.ref(network.blocks[0])
    gc.disable()
    try:
        del network
        assert [each() for each in left] == [None, None]
    finally:
        gc.enable()


# What does not compile


def test_a_failure_is_noted_once_and_compiling_is_not_tried_for_other_blocks() -> None:
    plain, network, tried = lively(TINY), lively(TINY), []

    def broken(*_: Any) -> Any:
        tried.append(1)
        raise RuntimeError("no compiler here")

    compile_blocks(network.blocks_in_order(), backend=broken)  # type: ignore[arg-type]
    every = list(all_inputs(TINY))
    with pytest.warns(RuntimeWarning, match="uncompiled") as found:
        for inputs in every:
            assert torch.equal(velocities(network, inputs), velocities(plain, inputs))
    assert len(tried) == len([each for each in found if "uncompiled" in str(each.message)]) == 1


def test_a_missing_tool_of_the_compiler_is_its_failure_too() -> None:
    source = "def launch(): raise RuntimeError('Failed to find C compiler')"
    module: dict[str, Any] = {"__name__": "triton.runtime.build"}
    exec(source, module)
    network, inputs = lively(TINY), next(all_inputs(TINY))
    compile_blocks(network.blocks_in_order(), backend=lambda *_: lambda *_: module["launch"]())  # type: ignore[arg-type]
    with pytest.warns(RuntimeWarning, match="Failed to find C compiler"):
        assert torch.equal(velocities(network, inputs), velocities(lively(TINY), inputs))


@pytest.mark.parametrize("error", [ZeroDivisionError("of the network's own"), TimeoutError(), KeyboardInterrupt()])
def test_other_failures_are_raised(error: BaseException) -> None:
    network, inputs = lively(TINY), next(all_inputs(TINY))

    def failing(*_: Any) -> Any:
        raise error

    compile_blocks(network.blocks_in_order(), backend=lambda *_: failing)  # type: ignore[arg-type]
    with pytest.raises(type(error)):
        velocities(network, inputs)


def test_advice_to_round_float32_products_does_not_reach_a_terminal() -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        compile_blocks([])
        warnings.warn("TensorFloat32 tensor cores for float32 matrix multiplication available", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert [str(each.message) for each in found] == ["something else"]


# Where it pays


LONG, SHORT = COLD_SECONDS / SHARE_SAVED + 1, COLD_SECONDS / SHARE_SAVED / 2 + 1


@pytest.fixture
def compiles_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, counter: CompileCounterWithBackend) -> Path:
    """Blocks are compiled on the CPU, by the counting backend; the folder of what the compiler keeps, still empty."""
    monkeypatch.setattr(compiling, "DEVICES", ("cpu",))
    monkeypatch.setattr(compiling, "BACKEND", counter)
    monkeypatch.setattr(compiling, "_compiled", set())
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    return tmp_path / "compiled"


def choice(*seconds: float | None) -> Compiling:
    choice = Compiling()
    for each in seconds:
        choice.expect(each)
    return choice


def is_compiled(choice: Compiling, network: WanDiT | None = None, speed: Speed | None = None) -> bool:
    network = network or lively(TINY)
    choice.apply(network, CPU, speed or Speed())
    return network.blocks[0].graph is not None


@pytest.mark.parametrize(
    ("seconds", "compiled"),
    [((), True), ((None,), True), ((LONG,), True), ((SHORT,), False), ((SHORT, SHORT), True), ((SHORT, None), True)],
)
def test_blocks_are_compiled_where_the_jobs_are_long_enough(
    compiles_here: Path, seconds: tuple[float | None, ...], compiled: bool
) -> None:
    assert is_compiled(choice(*seconds)) == compiled


@pytest.mark.usefixtures("compiles_here")
def test_never_where_it_is_disabled_or_the_device_has_no_use_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_compiled(choice(LONG), speed=Speed(disabled=frozenset({"compile"})))
    monkeypatch.setattr(compiling, "DEVICES", ("cuda",))
    assert not is_compiled(choice(LONG))


@pytest.mark.parametrize(("capability", "compiled"), [((8, 0), False), ((8, 9), True)])
@pytest.mark.usefixtures("compiles_here")
def test_weights_in_float8_are_compiled_only_for_cards_that_convert_them(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], compiled: bool
) -> None:
    monkeypatch.setattr(compiling, "DEVICES", ("cuda",))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    network, plain = lively(TINY), lively(TINY)
    quantize_to_float8(network)
    for each in (network, plain):
        choice().apply(each, torch.device("cuda"), Speed())
    assert (network.blocks[0].graph is not None) == compiled and plain.blocks[0].graph is not None


@pytest.mark.usefixtures("compiles_here")
def test_what_was_compiled_in_this_process_is_compiled_for_the_shortest_job() -> None:
    first, other = lively(TINY), lively(dataclasses.replace(TINY, ffn_dim=48))
    assert is_compiled(choice(LONG), first) and not is_compiled(choice(0.0))  # compiled by name, not yet in fact
    velocities(first, next(all_inputs(TINY)))
    assert is_compiled(choice(0.0)) and not is_compiled(choice(0.0), other)


def compiled_before(folder: Path) -> str:
    """The graph that an earlier process compiled."""
    network = lively(TINY)
    assert is_compiled(choice(LONG), network)
    velocities(network, next(all_inputs(TINY)))
    (folder / "fxgraph" / "ab").mkdir(parents=True)
    compiling._compiled.clear()
    return graph_key(network.blocks[0], CPU)


def test_what_an_earlier_process_compiled_pays_sooner(compiles_here: Path) -> None:
    key = compiled_before(compiles_here)
    assert compile_seconds(key) == CACHED_SECONDS
    assert is_compiled(choice(SHORT)) and not is_compiled(choice(0.5 * CACHED_SECONDS / SHARE_SAVED))


def test_a_marker_whose_cache_was_emptied_counts_for_nothing(compiles_here: Path) -> None:
    key = compiled_before(compiles_here)
    shutil.rmtree(compiles_here / "fxgraph")
    assert compile_seconds(key) == COLD_SECONDS
    (compiles_here / "fxgraph").mkdir()
    assert compile_seconds(key) == COLD_SECONDS
    shutil.rmtree(compiles_here)
    assert compile_seconds(key) == COLD_SECONDS


def test_a_cache_that_cannot_be_read_or_written_costs_time_alone(compiles_here: Path) -> None:
    compiles_here.write_text("a file where the folder should be")
    network, inputs = lively(TINY), next(all_inputs(TINY))
    assert is_compiled(choice(LONG), network)
    with pytest.warns(RuntimeWarning, match="uncompiled"):
        assert torch.equal(velocities(network, inputs), velocities(lively(TINY), inputs))
    remember(graph_key(network.blocks[0], CPU))
    compiling._compiled.clear()
    assert compile_seconds(graph_key(network.blocks[0], CPU)) == COLD_SECONDS


def test_where_our_cache_cannot_be_written_to_torch_has_its_own(
    compiles_here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("SORA_CACHE", str(compiles_here))
    compiles_here.write_text("a file where the folder should be")
    assert is_compiled(choice(LONG)) and "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "ours"))
    with monkeypatch.context() as read_only:  # a folder that is there, on a file system that may only be read
        read_only.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        assert is_compiled(choice(LONG)) and "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    assert is_compiled(choice(LONG))
    assert os.environ.pop("TORCHINDUCTOR_CACHE_DIR") == str(tmp_path / "ours" / "compiled")


@pytest.mark.parametrize("owner", ["sora", "a person"])
def test_a_damaged_cache_is_emptied_if_it_is_ours_and_compiling_tried_once_more(
    compiles_here: Path, counter: CompileCounterWithBackend, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    if owner == "sora":
        monkeypatch.setenv("SORA_CACHE", str(compiles_here.parent))
    compiled_before(compiles_here)
    torch._dynamo.reset()
    tried: list[bool] = []

    def backend(graph: Any, inputs: Any) -> Any:
        tried.append((compiles_here / "fxgraph").exists())
        if tried[-1]:
            raise RuntimeError("a file of the cache is damaged")
        return counter(graph, inputs)

    monkeypatch.setattr(compiling, "BACKEND", backend)
    network, inputs = lively(TINY), next(all_inputs(TINY))
    assert is_compiled(choice(LONG), network)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.testing.assert_close(velocities(network, inputs), velocities(lively(TINY), inputs), rtol=0, atol=1e-5)
    uncompiled = [each for each in found if "uncompiled" in str(each.message)]
    assert (tried, len(uncompiled)) == (([True, False], 0) if owner == "sora" else ([True], 1))
    assert compiles_here.is_dir() and (compiles_here / "fxgraph").exists() == (owner == "a person")


def test_a_compiler_that_never_compiled_this_is_not_tried_twice(
    compiles_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORA_CACHE", str(compiles_here.parent))
    tried: list[int] = []

    def backend(*_: Any) -> Any:
        tried.append(1)
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(compiling, "BACKEND", backend)
    network = lively(TINY)
    assert is_compiled(choice(LONG), network)
    with pytest.warns(RuntimeWarning, match="uncompiled"):
        velocities(network, next(all_inputs(TINY)))
    assert len(tried) == 1


def test_other_layers_sizes_and_numbers_are_other_graphs() -> None:
    networks: list[nn.Module] = [
        lively(TINY),
        lively(TINY).bfloat16(),
        lively(dataclasses.replace(TINY, ffn_dim=48)),
        lively(SEEING),
        lively(TINY),
    ]
    quantize_to_float8(networks[-1])
    keys = [graph_key(network.blocks[0], CPU) for network in networks]  # type: ignore[index,union-attr]
    assert len(set(keys)) == len(keys)
    assert keys[0] == graph_key(lively(TINY).blocks[2], CPU)


# As the product does it


def film(model: Any, frames: int, prompts: tuple[str, ...] = ("a red cat",)) -> Tensor:
    plan = operations.generate(prompts, frames=frames, format=model.spec.format((64, 64), 16.0))
    settings = engine.Settings.from_spec(model.spec, 1, steps=2, guidance=3.0, shift=3.0, sampler="unipc")
    return torch.cat(list(engine.paint(model, plan, settings))).int()


@pytest.mark.parametrize(("kind", "plan"), [("t2v-a14b", "streamed"), ("vace", "fp8")])
def test_models_paint_the_same_compiled(
    compiles_here: Path, counter: CompileCounterWithBackend, tmp_path: Path, kind: str, plan: str
) -> None:
    spec = catalog.find(str(tiny_wan.folder(tmp_path / kind, kind)))
    films = []
    for seconds in (0.0, LONG):
        model: Any = models.load(spec, CPU, torch.float32)
        for frames in (5, 13):
            models.plan_memory(model, (frames, 64, 64), encodes=False, forced=plan, sampling_seconds=seconds)
            films.append(film(model, frames))
        assert (counter.frame_count > 0) == (seconds > 0)
    assert counter.frame_count <= 2
    assert all((a - b).abs().max() <= 1 for a, b in zip(films[:2], films[2:], strict=True))


def test_a_plan_that_streams_shares_the_graph_of_one_that_does_not(
    compiles_here: Path, counter: CompileCounterWithBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(linear_gelu, "is_supported", lambda *_: True)  # as on a card
    spec = catalog.find(str(tiny_wan.folder(tmp_path / "t2v", "t2v")))
    model: Any = models.load(spec, CPU, torch.float32)
    for plan in ("one-prompt", "streamed"):
        models.plan_memory(model, (5, 64, 64), encodes=False, forced=plan, sampling_seconds=LONG)
        film(model, 5)
    assert counter.frame_count == 1


def test_a_second_job_makes_a_model_in_memory_worth_compiling(compiles_here: Path, tmp_path: Path) -> None:
    spec = catalog.find(str(tiny_wan.folder(tmp_path / "t2v", "t2v")))
    model: Any = models.load(spec, CPU, torch.float32)
    shape, compiled = (5, 64, 64), []
    for _ in range(2):
        models.plan_memory(model, shape, encodes=False, sampling_seconds=SHORT)
        film(model, 5)
        compiled.append(models.runs_compiled(model))
    assert compiled == [False, True]


def test_commands_say_how_long_their_passes_take(
    compiles_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is given what a forecast predicts of the request."""
    given: list[float | None] = []
    monkeypatch.setattr(Compiling, "expect", lambda _, seconds: given.append(seconds))
    monkeypatch.setattr(forecast, "sampling_seconds", lambda resolved, *_: 7.0 * resolved.request.frames)
    folder = str(tiny_wan.folder(tmp_path / "t2v", "t2v"))
    for frames in (5, 9):
        sora.generate("a red cat", model=folder, device="cpu", size="64x64", frames=frames, steps=1)
    assert given == [35.0, 63.0]
