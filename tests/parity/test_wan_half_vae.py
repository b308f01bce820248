"""The autoencoder in float16, as on a card: near float32, and back to it where numbers overflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner
from wan_folders import pipeline

from sora import catalog, models
from sora.cli import app
from sora.engine.canvas import Canvas
from sora.errors import SoraWarning
from sora.memory import choose, manager
from sora.models.wan import components, needs, vae_memory
from sora.models.wan.model import Wan
from sora.networks.wan.vae import Float16Overflow
from sora.runtime.speed import Speed

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "t2v"
    pipeline("t2v").save_pretrained(place)
    return place


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch, *, half: bool) -> Wan:
    """On the CPU, with the autoencoder's dtype as on a card, in float32 otherwise."""
    dtype = torch.float16 if half else torch.float32
    monkeypatch.setattr(components, "usual_vae_dtype", lambda *_: dtype)
    model: Any = models.load(catalog.find(str(folder)), CPU, torch.float32)
    assert model.components.vae.quant_conv.weight.dtype == dtype
    return model


def decoded(model: Wan, latents: Tensor) -> Tensor:
    return torch.cat(list(model.decode(latents)))


def latents() -> Tensor:
    return torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("device", "dtype", "disabled", "expected"),
    [
        (CUDA, torch.bfloat16, (), torch.float16),
        (CUDA, torch.float32, (), torch.float32),
        (CUDA, torch.bfloat16, ("half-vae",), torch.float32),
        (CPU, torch.bfloat16, (), torch.float32),
    ],
)
def test_only_a_card_that_is_not_asked_for_float32_decodes_in_float16(
    device: torch.device, dtype: torch.dtype, disabled: tuple[str, ...], expected: torch.dtype
) -> None:
    assert components.usual_vae_dtype(device, dtype, Speed(disabled=frozenset(disabled))) == expected


def test_float16_decodes_and_encodes_near_float32(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, half = (loaded(folder, monkeypatch, half=is_half) for is_half in (False, True))
    a, b = decoded(half, latents()), decoded(wide, latents())
    assert 0 < float((a - b).square().mean()) <= 4e-6  # 60 dB of [-1, 1]
    frames = ((b + 1) * 127.5).round().to(torch.uint8)
    canvas = Canvas(frames, torch.ones(len(frames), 1, *frames.shape[2:], dtype=torch.bool), 16.0)
    x, y = (model.encode(canvas).clean_BCTHW for model in (half, wide))
    assert float((x - y).abs().max()) <= 0.02 * float(y.std())


def overflowing() -> Tensor:
    """Latents of which the third alone is beyond float16."""
    given = latents()
    given[:, :, 2] *= 3e6
    return given


def test_an_overflow_goes_on_in_float32_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, half = (loaded(folder, monkeypatch, half=is_half) for is_half in (False, True))
    half.components.most_latents_at_once = 1
    given = overflowing()
    with pytest.raises(Float16Overflow):
        half.components.vae.decode(given)
    with pytest.warns(SoraWarning, match=r"^the autoencoder's numbers overflow float16; it goes on in float32, which"):
        frames = decoded(half, given)
    assert half.components.vae_dtype == torch.float32
    assert len(frames) == 9
    assert torch.equal(frames[5:], decoded(wide, given)[5:])
    assert not torch.equal(frames[:5], decoded(wide, given)[:5])  # which were yielded before


def test_an_overflow_while_encoding_goes_on_in_float32(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, half = (loaded(folder, monkeypatch, half=is_half) for is_half in (False, True))
    for model in (wide, half):
        model.components.vae.quant_conv.weight.mul_(2.0**17)
    frames = torch.randint(0, 256, (5, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    canvas = Canvas(frames, torch.ones(5, 1, 32, 48, dtype=torch.bool), 16.0)
    monkeypatch.setattr(half.components, "_load", lambda _: wide.components.vae)  # whose weights were changed likewise
    with pytest.warns(SoraWarning, match="overflow float16") as caught:
        found = [half.encode(canvas).clean_BCTHW for _ in range(2)]
    assert len(caught) == 1
    assert all(torch.equal(each, wide.encode(canvas).clean_BCTHW) for each in found)


def large_latents() -> Tensor:
    return torch.randn(1, 16, 3, 8, 12, generator=torch.Generator().manual_seed(3))


def room(model: Wan, dtype: torch.dtype, tile: int | None, at_once: int = 1) -> int:
    """Bytes in which ``large_latents`` are decoded, with the margin of a plan."""
    sizes = needs.autoencoder_sizes(model.components.meta_module("vae"), CPU, dtype)
    work = vae_memory.decoding(sizes, (16, 3, 8, 12), tile, at_once)
    return sizes.weights.bytes + round(work * (1 + choose.MARGINS["decode"])) + 1


@pytest.mark.parametrize(("tile", "short", "dtype"), [(None, 0, "float32"), (4, 0, "float32"), (4, 1000, "bfloat16")])
def test_an_overflow_takes_what_fits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tile: int | None, short: int, dtype: str
) -> None:
    """float32 where it fits, in tiles if need be; else bfloat16, which takes no more than float16. short: bytes of
    memory that are lacking."""
    monkeypatch.setattr(manager, "TILE", 4)
    monkeypatch.setattr(choose, "RESERVED_BYTES", 0)
    model = loaded(folder, monkeypatch, half=True)
    model.plan_memory((9, 64, 96), encodes=False, forced="decode-alone")
    model.memory.free = room(model, torch.float32, tile) - short
    given = large_latents()
    given[:, :, 1:] *= 3e6
    with pytest.warns(SoraWarning, match=f"it goes on in {dtype}"):
        frames = decoded(model, given)
    assert len(frames) == 9 and bool(torch.isfinite(frames).all())
    assert str(model.components.vae_dtype) == f"torch.{dtype}"
    assert model.components.plan.tile == (tile if dtype == "float32" else None)


@pytest.mark.parametrize(("short", "expected"), [(0, [1, 2]), (1000, [1, 1, 1])])
def test_several_latents_at_once_where_half_the_memory_allows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, short: int, expected: list[int]
) -> None:
    """expected: latents of each chunk of three."""
    monkeypatch.setattr(components, "MAX_LATENTS_AT_ONCE", 2)
    monkeypatch.setattr(choose, "RESERVED_BYTES", 0)
    model = loaded(folder, monkeypatch, half=True)
    model.plan_memory((9, 64, 96), encodes=False, forced="decode-alone")
    model.memory.free = 2 * (room(model, torch.float16, None, 2) - short)
    chunks = list(model.decode(large_latents()))
    assert [(3 + len(chunk)) // 4 for chunk in chunks] == expected
    alone = model.components.vae.decode(large_latents())[0].transpose(0, 1)
    assert float((torch.cat(chunks) - alone).square().mean()) <= 4e-6


@pytest.mark.parametrize("phase", ["decode", "encode"])
def test_memory_that_runs_out_costs_the_latents_at_once_before_the_plan(
    folder: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    model = loaded(folder, monkeypatch, half=True)
    model.plan_memory((17, 64, 96), encodes=True, forced="resident")
    counts, real = list[int](), getattr(type(model.components.vae), "stream" if phase == "decode" else "encode")

    def failing(vae: Any, x: Tensor, tile: int | None, at_once: int) -> Any:
        counts.append(at_once)
        if at_once > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(vae, x, tile, at_once)

    monkeypatch.setattr(type(model.components.vae), "stream" if phase == "decode" else "encode", failing)
    for _ in range(2):
        if phase == "decode":
            assert len(decoded(model, latents())) == 9
        else:
            model.encode(Canvas(torch.zeros(9, 3, 32, 48, dtype=torch.uint8), torch.ones(9, 1, 32, 48).bool(), 16.0))
    assert counts == [2, 1, 1] and model.components.plan.name == "resident"


def test_channels_last_changes_no_number_beyond_rounding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(folder, monkeypatch, half=False)
    vae = model.components.vae
    vae.convolver = None
    plain = vae.decode(latents())
    assert float((vae.in_channels_last().decode(latents()) - plain).abs().max()) <= 1e-5


@pytest.mark.parametrize("factor", [3e4, 3e7])
def test_a_person_reads_of_an_overflow_once_a_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    """Of what weights make, and of weights that are beyond float16 themselves."""
    whole: Any = pipeline("t2v")
    with torch.no_grad():
        whole.vae.decoder.conv_in.weight.mul_(factor)
        whole.vae.decoder.conv_in.bias.mul_(factor)
    whole.save_pretrained(tmp_path / "t2v")
    monkeypatch.setattr(components, "usual_vae_dtype", lambda *_: torch.float16)
    words = ["generate", "a red cat", "--model", str(tmp_path / "t2v"), "--steps", "1", "--size", "32x32"]
    words += ["--frames", "9", "--device", "cpu", "--no-journal"]
    for more, expected in ([], 1), (["--quiet"], 0):
        result = CliRunner().invoke(app, [*words, "-o", str(tmp_path / f"{expected}.mkv"), *more])
        assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
        lines = [line for line in result.stderr.splitlines() if "overflow" in line]
        assert len(lines) == expected
        assert all(
            line.startswith("the autoencoder's numbers overflow float16; it goes on in float32") for line in lines
        )
