"""Weights, LoRAs, latents and frames with NaN or infinity in them, of which no film may come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from real_files_parts.case import Case, Outcome, run, says

PAINT = ("generate", "a red cat", "--size", "64x48", "--frames", "5", "--steps", "3", "--seed", "1", "-o", "film.mkv")
PARTS = {
    "transformer": ("diffusion_pytorch_model", "blocks.1.attn1.to_q.weight"),
    "text_encoder": ("model", "encoder.block.0.layer.0.SelfAttention.q.weight"),
    "vae": ("diffusion_pytorch_model", "decoder.conv_out.bias"),
}
"""Folder of a part -> (its file, one of its tensors)."""


@cache
def tiny_wan() -> Path:
    """A Wan text-to-video model of two blocks with random weights, in diffusers' layout."""
    from identical import pipelines

    folder = Path(mkdtemp(prefix="real-files-wan-"))
    pipelines()["t2v"]().save_pretrained(folder)
    return folder


def changed(folder: Path, part: str, change: Callable[[Tensor], Tensor], tensor: str = "") -> Path:
    """A model folder like ``tiny_wan`` in which one tensor of a part is changed, the part's own if none is named."""
    model, (stem, own) = folder / "model", PARTS[part]
    for file in tiny_wan().rglob("*"):
        copy = model / file.relative_to(tiny_wan())
        if file.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(file)
    file = model / part / f"{stem}.safetensors"
    state, name = load_file(file), tensor or own
    state[name] = change(state[name])
    file.unlink()
    save_file(state, file, {"format": "pt"})
    return model


def with_one(value: float, tensor: Tensor) -> Tensor:
    """The tensor with this value for its last number."""
    tensor = tensor.clone()
    tensor.view(-1)[-1] = value
    return tensor


def refused(folder: Path, words: tuple[str, ...], *argv: str) -> Outcome:
    """Whether a command ends with status 4, says these words, and leaves no film."""
    outcome = says(run(folder, *argv), 4, *words)
    film = folder / "film.mkv"
    return Outcome(f"{outcome.got}, but there is a film", False) if film.exists() else outcome


def in_a_part(part: str, value: float, folder: Path) -> Outcome:
    model = changed(folder, part, partial(with_one, value))
    return refused(folder, ("NaN or infinity in", "download it again"), *PAINT, "--model", str(model))


def in_eight_bits(folder: Path) -> Outcome:
    def nan8(tensor: Tensor) -> Tensor:
        packed = tensor.to(torch.float8_e4m3fn)
        packed.view(torch.uint8).view(-1)[3] = 0x7F
        return packed

    model = changed(folder, "transformer", nan8)
    return refused(folder, ("NaN or infinity in", "to_q.weight"), *PAINT, "--model", str(model))


def in_a_block(folder: Path) -> Outcome:
    """A GGUF transformer with the step of one block no number, next to the other parts."""
    import gguf
    import numpy as np

    model = changed(folder, "transformer", lambda tensor: tensor)
    file = model / "transformer" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    file.unlink()
    writer = gguf.GGUFWriter(file.with_suffix(".gguf"), "wan")
    for name, tensor in state.items():
        numbers, kind = tensor.numpy(), gguf.GGMLQuantizationType.F32
        if name == "blocks.0.ffn.net.2.weight":
            kind = gguf.GGMLQuantizationType.Q8_0
            numbers = gguf.quants.quantize(numbers, kind)
            numbers[0, :2] = np.frombuffer(np.float16("nan").tobytes(), np.uint8)
        writer.add_tensor(name, numbers, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return refused(folder, ("NaN or infinity in", "blocks.0.ffn.net.2.weight"), *PAINT, "--model", str(model))


def too_large_for_half(folder: Path) -> Outcome:
    model = changed(folder, "transformer", lambda tensor: tensor * 1e6)
    words = ("to_q.weight as float16", "--dtype bfloat16")
    return refused(folder, words, *PAINT, "--model", str(model), "--dtype", "float16")


def overflow_in_a_step(folder: Path) -> Outcome:
    """Finite weights whose products are not."""
    model = changed(folder, "transformer", lambda tensor: tensor + 3e38, "blocks.1.ffn.net.2.weight")
    words = ("step 1 of 3 hold NaN or infinity", "first in the output of blocks.1.ffn")
    return refused(folder, words, *PAINT, "--model", str(model))


def overflow_in_frames(folder: Path) -> Outcome:
    model = changed(folder, "vae", lambda tensor: tensor + 3e38, "decoder.conv_out.weight")
    return refused(folder, ("decoded frames 0 to", "hold NaN or infinity"), *PAINT, "--model", str(model))


def kept_for_another_decoder(folder: Path) -> Outcome:
    """Latents were kept before decoding failed; the job says how to go on, and decodes with sound weights."""
    model = changed(folder, "vae", lambda tensor: tensor + 3e38, "decoder.conv_out.weight")
    more = {"SORA_JOURNAL_AFTER": "0"}
    ended = run(folder, *PAINT, "--model", str(model), more=more)
    outcome = says(ended, 4, "hold NaN or infinity", "sora resume")
    if not outcome.right:
        return outcome
    kept = list(folder.glob(".state/jobs/*/film-*/*/latents.safetensors"))
    return Outcome(f"exit 4, {len(kept)} latents kept", len(kept) == 1)


def in_a_lora(value: float, wan: bool, folder: Path) -> Outcome:
    name, (out, width) = ("blocks.0.attn1.to_q", (24, 24)) if wan else mini_linear()
    pair = {f"{name}.lora_A.weight": torch.randn(4, width), f"{name}.lora_B.weight": torch.randn(out, 4)}
    pair[f"{name}.lora_B.weight"] = with_one(value, pair[f"{name}.lora_B.weight"])
    save_file({f"transformer.{key}": tensor for key, tensor in pair.items()}, folder / "lora.safetensors")
    model = str(tiny_wan()) if wan else "mini"
    words = ("lora.safetensors", "NaN or infinity")
    return refused(folder, words, *PAINT, "--model", model, "--lora", "lora.safetensors")


@cache
def mini_linear() -> tuple[str, tuple[int, int]]:
    """(the name of a linear layer of mini's transformer, the shape of its weight)."""
    from sora import catalog, models

    dit = models.load(catalog.find("mini"), torch.device("cpu"), torch.float32).dit  # type: ignore[attr-defined]
    layers = ((name, module) for name, module in dit.named_modules() if isinstance(module, torch.nn.Linear))
    name, layer = next((name, module) for name, module in layers if name.startswith("blocks."))
    return name, (layer.out_features, layer.in_features)


def cases() -> Iterator[Case]:
    """Each is refused with exit status 4, a line that names the tensor, and no film."""
    nan, infinity = float("nan"), float("inf")
    kind, line = "NaN or infinity in weights", "exit 4, says so"
    for part in PARTS:
        for value in (nan, infinity):
            yield Case(kind, f"{value} in one number of the {part}", line, partial(in_a_part, part, value))
    yield Case(kind, "NaN in a float8 weight", line, in_eight_bits)
    yield Case(kind, "NaN in the step of one GGUF block", line, in_a_block)
    yield Case(kind, "weights beyond float16", line, too_large_for_half)
    for wan in (False, True):
        for value in (nan, -infinity):
            name = f"{value} in a LoRA of {'Wan' if wan else 'mini'}"
            yield Case("NaN or infinity in a LoRA", name, line, partial(in_a_lora, value, wan))
    yield Case("NaN or infinity while painting", "a layer overflows", line, overflow_in_a_step)
    yield Case("NaN or infinity while painting", "the decoder overflows", line, overflow_in_frames)
    expected = "exit 4, 1 latents kept"
    yield Case("NaN or infinity while painting", "latents outlive it", expected, kept_for_another_decoder)
