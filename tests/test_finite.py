"""NaN and infinity end a painting where they appear, with a line that names the tensor, and never a black film."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from sora.engine import engine, finite
from sora.engine.canvas import Canvas, Latents
from sora.engine.checkpoint import NoCheckpoint, SamplerState
from sora.engine.velocity import Velocity
from sora.errors import ModelError
from sora.plan import operations
from sora.weights import formats, lora_file
from sora.weights.finite import is_finite
from test_checkpoints import STATE, load
from test_engine import FORM, SETTINGS, Toy

BAD = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", BAD)
def test_one_bad_number_is_found_wherever_it_stands(value: float, dtype: torch.dtype):
    tensor = torch.randn(7, 33).to(dtype)
    assert is_finite(tensor)
    for place in (0, 100, 230):
        damaged = tensor.clone()
        damaged.view(-1)[place] = value
        assert not is_finite(damaged)


def test_whole_numbers_and_nothing_are_finite():
    assert is_finite(torch.arange(5)) and is_finite(torch.empty(0, 3))


@settings(max_examples=60)
@given(name=st.sampled_from(formats.STORABLE), seed=st.integers(0, 1 << 30), share=st.floats(0, 1))
def test_blocks_are_finite_exactly_where_their_numbers_are(name: str, seed: int, share: float):
    draw, layout = torch.Generator().manual_seed(seed), formats.FORMATS[name]
    bytes_RS = torch.randint(0, 256, (3, 2 * layout.size), generator=draw, dtype=torch.uint8)
    bytes_RS[torch.rand(bytes_RS.shape, generator=draw) > share] &= 0b10111011  # exponents that no longer are all ones
    numbers = formats.dequantize(bytes_RS, name, torch.float32)
    assert formats.blocks_are_finite(bytes_RS, name) == bool(numbers.isfinite().all())


@pytest.mark.parametrize("name", formats.STORABLE)
def test_a_bad_step_is_found_at_every_place_of_a_block(name: str):
    size = formats.FORMATS[name].size
    for place in range(max(1, size - 1)):
        bytes_RS = torch.zeros(1, 2 * size, dtype=torch.uint8)
        bytes_RS[0, size + place : size + place + 2] = 0xFF  # no number in float16 nor in eight bits
        bytes_RS[0, :size] = 0x11  # whole numbers and scales that are not zero
        bytes_RS[0, size : size + place] = 0x11
        bytes_RS[0, size + place + 2 :] = 0x11
        is_finite_there = bool(formats.dequantize(bytes_RS, name, torch.float32).isfinite().all())
        assert formats.blocks_are_finite(bytes_RS, name) == is_finite_there, place


@pytest.mark.parametrize("name", list(STATE))
@pytest.mark.parametrize("value", BAD[:2])
def test_a_bad_number_in_a_checkpoint_is_named_with_its_tensor(tmp_path: Path, name: str, value: float):
    state = {key: tensor.clone() for key, tensor in STATE.items()}
    state[name].view(-1)[-1] = value
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=rf"NaN or infinity in {name} as float32; download it again"):
        load(tmp_path)


def test_what_float16_cannot_hold_is_named_with_the_way_out(tmp_path: Path):
    save_file({**STATE, "map.weight": STATE["map.weight"] * 1e6}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"map\.weight as float16; try --dtype bfloat16"):
        load(tmp_path, torch.float16)


def test_a_bad_number_in_a_lora_is_named_with_its_tensor(tmp_path: Path):
    pair = {"a.lora_A.weight": torch.ones(2, 4), "a.lora_B.weight": torch.full((4, 2), float("inf"))}
    lora_file.write(tmp_path / "a.safetensors", pair, {})
    with pytest.raises(ModelError, match=r"a\.safetensors holds NaN or infinity in transformer\.a\.lora_B\.weight"):
        lora_file.read(tmp_path / "a.safetensors")


def test_a_bad_number_in_eight_bits_is_found(tmp_path: Path):
    packed = STATE["map.weight"].to(torch.float8_e4m3fn)
    packed.view(torch.uint8)[2, 5] = 0xFF
    save_file({**STATE, "map.weight": packed}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"NaN or infinity in map\.weight"):
        load(tmp_path)


@dataclass(frozen=True)
class Failing(Toy):
    """A toy whose latents, or frames, turn to NaN at some time."""

    below: float = -1.0
    in_frames: bool = False

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:
        inner = super().bind(canvas, latents, prompt, negative_prompt, guidance)
        return lambda x, t: inner(x, t) * (float("nan") if t < self.below else 1.0)

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        for number, chunk in enumerate(super().decode(latents_BCTHW)):
            yield chunk * float("inf") if self.in_frames and number == 2 else chunk


class Watching(NoCheckpoint):
    """Keeps every state that it is offered."""

    def __init__(self) -> None:
        self.states: list[SamplerState] = []

    def after_step(self, state: Callable[[], SamplerState], done: int, total: int) -> None:
        self.states.append(state())


@pytest.mark.parametrize("sampler", ["euler", "heun", "unipc", "lcm"])
def test_painting_stops_at_the_step_and_keeps_what_came_before(sampler: str):
    plan, kept = operations.generate(("a ball",), frames=8, format=FORM), Watching()
    settings = engine.Settings(seed=3, steps=4, guidance=1.0, shift=1.0, sampler=sampler)
    frames: list[Tensor] = []
    with pytest.raises(finite.NotFinite, match=r"step [23] of 4 hold NaN") as caught:
        frames += engine.paint(Failing(below=0.6), plan, settings, checkpoints=lambda _: kept)
    assert not frames and f"step {len(kept.states) + 1} of 4" in str(caught.value)
    assert kept.states and all(is_finite(state.latents) for state in kept.states)


def test_frames_with_bad_numbers_are_not_handed_out():
    frames: list[Tensor] = []
    with pytest.raises(finite.NotFinite, match="decoded frames 4 to 5 hold NaN"):
        for chunk in engine.paint(
            Failing(in_frames=True), operations.generate(("x",), frames=8, format=FORM), SETTINGS
        ):
            frames.append(chunk)
    assert sum(map(len, frames)) == 4


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def test_the_layer_where_it_begins_is_named():
    network = Deep()
    with torch.no_grad():
        network.blocks[1][0].weight[0, 0] = float("inf")  # type: ignore[index]
        assert finite.first_layer(lambda: network(torch.ones(1, 4))) == "blocks.1.0 (Linear)"
        assert finite.first_layer(lambda: network.blocks[0](torch.ones(1, 4))) is None
