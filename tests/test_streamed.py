"""Blocks streamed out of CPU memory compute what they compute where they stand, pass after pass, in two buffers."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sora.networks.umt5 import UMT5, UMT5Config
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT
from sora.networks.wan.vace import WanVACE
from sora.runtime import offload, quantized
from sora.runtime.offload import SLOTS, offload_blocks

SMALL = WanConfig(
    num_layers=5, heads=2, head_dim=12, in_channels=4, out_channels=4, text_dim=20, freq_dim=32, ffn_dim=64
)
COUNTS = range(SMALL.num_layers + 1)


def lively(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network.eval().requires_grad_(False)


def dit() -> WanDiT:
    return lively(WanDiT(SMALL))  # type: ignore[return-value]


def blocks_of(network: nn.Module) -> Any:
    return network.blocks


def inputs(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, 2, 4, 6, generator=rng), torch.tensor([300.0, 900.0]), torch.randn(2, 7, 20, generator=rng)


@pytest.mark.parametrize("resident", COUNTS)
@torch.inference_mode()
def test_the_same_numbers_pass_after_pass(resident: int):
    network = dit()
    wanted = [network(*inputs(seed)) for seed in range(3)]
    with offload_blocks(network.blocks, "cpu", resident):
        got = [network(*inputs(seed)) for seed in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert torch.equal(network(*inputs(0)), wanted[0])


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("made_in", [torch.inference_mode, torch.no_grad])
def test_in_and_out_of_inference_mode(made_in: Callable[[], torch.no_grad], mode: Callable[[], torch.no_grad]):
    with made_in():
        network = dit()
    with torch.no_grad():
        wanted = network(*inputs())
    with offload_blocks(network.blocks, "cpu", 1), mode():
        assert torch.equal(network(*inputs()), wanted)


def test_a_block_is_in_a_buffer_for_its_turn_alone():
    network, seen = dit(), []
    with torch.no_grad(), offload_blocks(network.blocks, "cpu", 2) as stream:
        spans = [(s.bytes.data_ptr(), s.bytes.data_ptr() + s.bytes.nbytes) for s in stream.slots]

        def buffered(block: nn.Module) -> list[bool]:
            return [any(a <= p.data_ptr() < b for a, b in spans) for p in block.parameters()]

        for block in blocks_of(network):
            block.attn1.register_forward_hook(lambda *_, block=block: seen.append(buffered(block)))
        network(*inputs())
        assert not any(any(buffered(block)) for block in network.blocks)
    assert len(stream.slots) == 0 and len(spans) == SLOTS
    assert sorted(all(row) for row in seen) == [False, False, True, True, True]
    assert all(len(set(row)) == 1 for row in seen)


def tensors_there() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


@torch.no_grad()
def test_nothing_piles_up():
    network = dit()
    with offload_blocks(network.blocks, "cpu") as stream:
        network(*inputs())
        tensors = tensors_there()
        buffers = [slot.bytes.data_ptr() for slot in stream.slots]
        for _ in range(5):
            network(*inputs())
        assert tensors_there() == tensors
        assert [slot.bytes.data_ptr() for slot in stream.slots] == buffers
        bytes_of_a_block = sum(p.nbytes for p in network.blocks[0].parameters())
        assert all(bytes_of_a_block <= slot.bytes.nbytes < 1.5 * bytes_of_a_block + 64 * 256 for slot in stream.slots)


@torch.no_grad()
def test_buffers_are_given_back():
    network = dit()
    stream = offload_blocks(network.blocks, "cpu")
    network(*inputs())
    buffers = [weakref.ref(slot.bytes.untyped_storage()) for slot in stream.slots]
    stream.remove()
    stream.remove()
    gc.collect()
    assert [buffer() for buffer in buffers] == [None] * SLOTS
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in network.blocks)


@pytest.mark.parametrize("during", [True, False])
@torch.no_grad()
def test_names_and_numbers_are_unchanged(during: bool):
    network = dit()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with offload_blocks(network.blocks, "cpu") as stream:
        network(*inputs())
        if not during:
            stream.remove()
        after = network.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert not any(parameter.requires_grad for parameter in network.parameters())


class Interrupt(BaseException):
    """As KeyboardInterrupt, which no hook of a module outlives."""


@pytest.mark.parametrize("error", [RuntimeError, Interrupt])
@pytest.mark.parametrize("where", range(SMALL.num_layers))
@torch.no_grad()
def test_a_failing_pass_leaves_it_usable(where: int, error: type[BaseException]):
    network = dit()
    wanted = network(*inputs())

    def fail(*_: object) -> None:
        raise error("no")

    with offload_blocks(network.blocks, "cpu", 1):
        hook = blocks_of(network)[where].ffn.register_forward_hook(fail)
        with pytest.raises(error):
            network(*inputs())
        hook.remove()
        assert torch.equal(network(*inputs()), wanted)
        assert torch.equal(network(*inputs()), wanted)
    assert torch.equal(network(*inputs()), wanted)


@torch.no_grad()
def test_blocks_in_any_order_and_more_than_once():
    torch.manual_seed(0)
    blocks = [nn.Linear(6, 6) for _ in range(5)]
    order = [4, 4, 0, 3, 1, 0, 2, 2, 4, 1]

    def run() -> Tensor:
        x = torch.linspace(-1, 1, 6)
        for place in order:
            x = blocks[place](x).sin()
        return x

    wanted = run()
    with offload_blocks(blocks, "cpu"):
        assert torch.equal(run(), wanted) and torch.equal(run(), wanted)


class Mixed(nn.Module):
    """Parameters and buffers of many formats and shapes, one used twice, one that is no part of the state."""

    again: nn.Linear
    float8: Tensor

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.first = nn.Linear(8, 8, dtype=torch.bfloat16)
        self.again = self.first
        self.quantised = quantized.QuantizedLinear(256, 8, "Q8_0", scales=0)
        self.eight = quantized.QuantizedLinear(8, 256, "F8_E4M3", scales=256)
        whole = torch.randint(0, 60, self.quantised.blocks.shape, generator=rng, dtype=torch.uint8)
        self.quantised.blocks.copy_(whole)
        self.eight.blocks.copy_(torch.randint(0, 60, self.eight.blocks.shape, generator=rng, dtype=torch.uint8))
        assert self.eight.scale is not None and self.eight.bias is not None and self.quantised.bias is not None
        for bias in (self.eight.bias, self.quantised.bias):
            nn.init.normal_(bias, generator=rng)
        self.eight.scale.copy_(torch.rand(256, generator=rng).view(torch.uint8))
        self.register_buffer("small", torch.tensor(seed / 7, dtype=torch.float64), persistent=False)
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("float8", torch.rand(5, generator=rng).to(torch.float8_e4m3fn))
        self.register_buffer("mask", torch.tensor([True, False, True, True, False, True, True, True]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.first(x.bfloat16())).float() * self.mask
        x = x + self.quantised(self.eight(x)).tanh() * self.small
        return x + self.float8.float().sum()


@torch.no_grad()
def test_blocks_of_any_kind():
    torch.manual_seed(0)
    blocks = nn.ModuleList([Mixed(1), nn.Linear(8, 8), Mixed(2), nn.Identity(), Mixed(3)])
    network: Any = nn.Sequential(*blocks)
    x = torch.randn(3, 8)
    wanted = network(x)
    assert wanted.isfinite().all() and float(wanted.std()) > 0.01
    for resident in range(len(blocks) + 1):
        with offload_blocks(blocks, "cpu", resident):
            assert torch.equal(network(x), wanted) and torch.equal(network(x), wanted)


@torch.no_grad()
def test_a_control_branch_and_a_text_encoder():
    config = WanConfig(**{**vars(SMALL), "vace_layers": (0, 2), "vace_in_channels": 6})
    vace: Any = lively(WanVACE(config))
    control = torch.randn(2, 6, 2, 4, 6)
    wanted = vace(*inputs(), control_BCTHW=control)
    turns = [vace.blocks[0], vace.vace_blocks[0], vace.blocks[1], vace.blocks[2], vace.vace_blocks[1]]
    with offload_blocks([*turns, *vace.blocks[3:]], "cpu", 1):
        assert torch.equal(vace(*inputs(), control_BCTHW=control), wanted)

    text: Any = lively(UMT5(UMT5Config(vocab=50, d_model=16, d_kv=4, d_ff=24, num_layers=4, heads=4)))
    ids, mask = torch.randint(0, 50, (2, 9)), torch.ones(2, 9, dtype=torch.bool)
    wanted = text(ids, mask)
    with offload_blocks(text.encoder.block, "cpu"):
        assert torch.equal(text(ids, mask), wanted)


def test_gradients_are_refused():
    network = dit()
    x, t, text = inputs()
    with offload_blocks(network.blocks, "cpu"), pytest.raises(ValueError, match="no_grad"):
        network(x.requires_grad_(), t, text)
    with offload_blocks(network.requires_grad_(True).blocks, "cpu"), pytest.raises(ValueError, match="no_grad"):
        network(x.detach(), t, text)


def test_what_cannot_be_streamed():
    blocks = [nn.Linear(2, 2), nn.Linear(2, 2)]
    for resident in (-1, 3):
        with pytest.raises(ValueError, match="expected 0 to 2"):
            offload_blocks(blocks, "cpu", resident)
    blocks[1].weight = blocks[0].weight
    with pytest.raises(ValueError, match="share a tensor"):
        offload_blocks(blocks, "cpu")


class Runtime:
    """CUDA's, as far as pinning goes."""

    def __init__(self, answer: int) -> None:
        self.answer, self.pinned = answer, {}

    def cudaHostRegister(self, start: int, size: int, flags: int) -> int:
        if not self.answer:
            self.pinned[start] = size
        return self.answer

    def cudaHostUnregister(self, start: int) -> int:
        del self.pinned[start]
        return 0


def test_pinned_bytes_are_unpinned_once(monkeypatch: pytest.MonkeyPatch):
    runtime = Runtime(0)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    waiting, lost = torch.empty(512, dtype=torch.uint8), torch.empty(100, dtype=torch.uint8)
    unpin = offload._pin(waiting)
    assert runtime.pinned == {waiting.data_ptr(): 512} and unpin is not None
    unpin()
    unpin()
    assert runtime.pinned == {}
    assert offload._pin(lost) is not None and list(runtime.pinned.values()) == [100]
    del lost
    assert runtime.pinned == {}


def test_a_refusal_to_pin_is_no_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "cudart", lambda: Runtime(712))
    waiting = torch.empty(512, dtype=torch.uint8)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("CUDA error: 712")))
    assert offload._pin(waiting) is None


class Streams:
    """CUDA's streams and events, as far as who waits for whom. log: (what, who, event) in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[tuple[str, str, Any]] = []
        self.current = self.stream("work")
        monkeypatch.setattr(offload, "_has_streams", lambda _: True)
        monkeypatch.setattr(torch.cuda, "cudart", lambda: Runtime(0))
        monkeypatch.setattr(torch.cuda, "synchronize", lambda _: self.log.append(("done", "all", None)))
        monkeypatch.setattr(torch.cuda, "Event", self.event)
        monkeypatch.setattr(torch.cuda, "Stream", lambda _: self.stream("copies"))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: self.current)
        monkeypatch.setattr(torch.cuda, "stream", self.within)

    def stream(self, name: str) -> Any:
        def wait(event: object) -> None:
            self.log.append(("wait", name, event))

        return SimpleNamespace(name=name, wait_event=wait)

    def event(self) -> Any:
        event = SimpleNamespace()
        event.record = lambda stream: self.log.append(("record", stream.name, event))
        return event

    @contextmanager
    def within(self, stream: Any) -> Iterator[None]:
        outer, self.current = self.current, stream
        yield
        self.current = outer


@torch.no_grad()
def test_copies_and_work_wait_for_one_another(monkeypatch: pytest.MonkeyPatch):
    """Whatever happens on one stream is ordered; between the two, only events order anything."""
    blocks = [nn.Linear(4, 4) for _ in range(5)]
    streams = Streams(monkeypatch)
    with offload_blocks(blocks, "cpu", 1) as stream:
        slots = stream.slots
        ready, free = [slot.ready for slot in slots], [slot.free for slot in slots]
        assert [entry for entry in streams.log if entry[0] == "record"] == [("record", "work", event) for event in free]
        streams.log.clear()
        for block in blocks * 3:
            block(torch.zeros(4))
        log = list(streams.log)
    assert streams.log[-1] == ("done", "all", None)
    copies = [i for i, entry in enumerate(log) if entry[:2] == ("record", "copies")]
    assert len(copies) == 13  # four blocks in three passes, and the first for a fourth
    for i in copies:  # a slot is written only when the work with what it held is done
        place = ready.index(log[i][2])
        assert log[i - 1] == ("wait", "copies", free[place])
    works = [i for i, entry in enumerate(log) if entry[:2] == ("record", "work")]
    assert len(works) == 12
    for i in works:  # work with a slot begins only when it is written, and is told of before it is written again
        place = free.index(log[i][2])
        began = max(j for j in range(i) if log[j] == ("wait", "work", ready[place]))
        assert not any(log[j] == ("record", "copies", ready[place]) for j in range(began, i))
    # While a block works the next is on its way.
    assert all(any(log[j][:2] == ("record", "copies") for j in range(i - 2, i)) for i in works)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("pin", [True, False])
@torch.inference_mode()
def test_the_same_numbers_on_cuda(pin: bool):
    network = dit()
    given = [value.cuda() for value in inputs()]
    wanted = network.cuda()(*given)
    network.cpu()
    with offload_blocks(network.blocks, "cuda", 1, pin):
        for part in (network.patch_embedding, network.condition_embedder, network.proj_out):
            part.cuda()
        network.scale_shift_table.data = network.scale_shift_table.data.cuda()
        for _ in range(5):
            assert torch.equal(network(*given), wanted)
