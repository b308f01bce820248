"""LoRA files as trainers, converters and hubs spread them: spellings, strengths, kinds, and models they were not made
for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

import sora
from real_files_parts import lora_inputs as made
from real_files_parts.case import Case, Outcome, run, says
from real_files_parts.numbers import changed, tiny_wan
from sora import ModelError, catalog, media
from sora.jobs import loras
from sora.jobs.loras import Lora
from sora.networks.wan.config import WanConfig

Q = "blocks.0.self_attn.q"
FILE = "adapter_model.safetensors"
COMFY, DIFFUSERS = made.STYLES["ComfyUI"], made.STYLES["diffusers"]
TITLES: dict[str, int | None] = {
    "headmdl": None,
    "lightningbolt_style": None,
    "wug_v2_step_500": None,
    "hyperrealism": None,
    "Wan2.1_T2V_14B_FusionX_LoRA": 8,
    "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise": 4,
    "Wan21_CausVid_14B_T2V_lora_rank32_v2": 8,
    "self-forcing_rank64": 4,
}


def cases() -> Iterator[Case]:
    """Every kind of this part."""
    yield from _spellings()
    yield from _strengths()
    yield from _models()
    yield from _relatives()
    for name, steps in TITLES.items():
        yield Case("few-step LoRA by its name", name, f"{steps} steps", partial(_steps, name))
    yield Case("few-step LoRA by its metadata", "ss_output_name", "4 steps", _titled)
    yield from _commands()


def _right(got: str, expected: str) -> Outcome:
    return Outcome(got, got == expected)


# --- spellings and strengths, by what a tiny transformer's weights become


def _spellings() -> Iterator[Case]:
    for name, style in made.STYLES.items():
        expected = f"{len(made.OURS)} weights right"
        yield Case("spelling of a LoRA's names", name, expected, partial(_spelling, style, expected))


def _spelling(style: made.Style, expected: str, folder: Path) -> Outcome:
    of = made.factors(made.OURS)
    got, note = made.changes(made.save(folder / FILE, made.pairs(style, of, alpha=6)))
    wrong = made.differences(got, made.expected(of, 1.5))
    return _right(note or f"{len(got) - len(wrong)} weights right", expected)


def _strengths() -> Iterator[Case]:
    peft = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
    table: dict[str, tuple[Mapping[str, str], float | None, object, float]] = {
        "nothing": ({}, None, None, 1),
        "alpha tensor": ({}, 6, None, 1.5),
        "diffusers' metadata": (made.diffusers_metadata(r=4, lora_alpha=12), None, None, 3),
        "diffusers' metadata, rslora": (made.diffusers_metadata(r=4, lora_alpha=12, use_rslora=True), None, None, 6),
        "alpha_pattern": (made.diffusers_metadata(r=4, lora_alpha=4, alpha_pattern={"to_q": 2}), None, None, 0.5),
        "plain lora_alpha": ({"lora_alpha": "2"}, None, None, 0.5),
        "transformer.lora_alpha": ({"transformer.lora_alpha": "2"}, None, None, 0.5),
        "ss_network_alpha": ({"ss_network_alpha": "2.0", "ss_network_dim": "4"}, None, None, 0.5),
        "adapter_config.json": ({}, None, peft, 2),
        "adapter_config.json and metadata": ({"lora_alpha": "12"}, None, peft, 3),
        "alpha tensor and all others": ({"lora_alpha": "12"}, 2, peft, 0.5),
        "earlier file of sora's": ({"sora": "0.1.0", "rank": "4", "alpha": "12"}, None, None, 1),
    }
    for name, (metadata, alpha, config, factor) in table.items():
        attempt = partial(_strength, metadata, alpha, config, f"{factor:g} times")
        yield Case("strength of a LoRA", name, f"{factor:g} times", attempt)


def _strength(metadata: Mapping[str, str], alpha: float | None, config: object, expected: str, folder: Path) -> Outcome:
    of = made.factors([Q])
    file = made.save(folder / FILE, made.pairs(DIFFUSERS, of, alpha), metadata)
    if config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(config))
    (change,), (whole,) = made.changes(file)[0].values(), made.expected(of, 1.0).values()
    return _right(f"{float((change * whole).sum() / whole.square().sum()):.4g} times", expected)


# --- few-step LoRAs and models


def _models() -> Iterator[Case]:
    both = {"T2V": made.TINY, "I2V": made.TINY_I2V}
    sizes = {"T2V": 17, "I2V": 25}  # changes in each file
    for of, trained in both.items():
        for on, model in both.items():
            fitting = 16 if of != on else sizes[of]
            expected = f"{fitting} of {sizes[of]} changes"
            attempt = partial(_partial, trained, model, sizes[of], expected)
            yield Case("few-step LoRA on a model", f"{of} on {on}", expected, attempt)
    yield Case("few-step LoRA on a model", "image parts alone on T2V", "refused", _nowhere)


def _partial(trained: WanConfig, model: WanConfig, total: int, expected: str, folder: Path) -> Outcome:
    got, note = made.changes(made.save(folder / FILE, made.few_step(trained)), model)
    named = f"{total - len(got)} of {total} changes do not fit" in note if len(got) < total else not note
    return _right(f"{len(got)} of {total} changes" + ("" if named else f", and the note {note!r}"), expected)


def _nowhere(folder: Path) -> Outcome:
    of = made.factors(made.IMAGE, config=made.TINY_I2V)
    return _refused(made.save(folder / FILE, made.pairs(COMFY, of)), "does not fit")


def _refused(file: Path, words: str) -> Outcome:
    try:
        made.changes(file)
    except ModelError as error:
        right = words in str(error) and "\n" not in str(error)
        return Outcome("refused" if right else str(error), right)
    return Outcome("added", False)


# --- relatives of LoRA


def _relatives() -> Iterator[Case]:
    for name, adapter in ADAPTERS.items():
        yield Case("relative of LoRA", name, "weights right", partial(_relative, adapter))
    for name, kind in OTHERS.items():
        yield Case("adapter of another kind", kind, "refused", partial(_other, name, kind))


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def _weight() -> Tensor:
    return made.network().get_parameter(f"{made.OURS[Q]}.weight")


def _dora(axis: int) -> tuple[dict[str, Tensor], Tensor]:
    (a, b), length = made.factors([Q])[Q], _random(24).abs() + 0.5
    moved = _weight() + b @ a
    rows = [
        m * row / sum(n * n for n in row.tolist()) ** 0.5
        for m, row in zip(length, moved if axis else moved.T, strict=True)
    ]
    wanted = torch.stack(rows) if axis else torch.stack(rows).T
    tensors = {"lora_down.weight": a, "lora_up.weight": b, "dora_scale": length.view((24, 1) if axis else (1, 24))}
    return tensors, wanted - _weight()


def _loha() -> tuple[dict[str, Tensor], Tensor]:
    a, b, c, d = (_random(*((24, 2) if n % 2 == 0 else (2, 24)), seed=n) for n in range(4))
    tensors = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(1.0)}
    return tensors, (a @ b) * (c @ d) / 2


def _lokr(whole: bool) -> tuple[dict[str, Tensor], Tensor]:
    w1, a, b = _random(4, 4), _random(6, 2), _random(2, 6)
    blocks = [torch.cat([n * (a @ b) for n in row], dim=1) for row in w1]
    second = {"lokr_w2": a @ b} if whole else {"lokr_w2_a": a, "lokr_w2_b": b}
    return {"lokr_w1": w1, "alpha": torch.tensor(1.0), **second}, torch.cat(blocks) * (1 if whole else 0.5)


ADAPTERS: dict[str, Callable[[], tuple[dict[str, Tensor], Tensor]]] = {
    "DoRA by rows": partial(_dora, 1),
    "DoRA by columns": partial(_dora, 0),
    "LoHa": _loha,
    "LoKr": partial(_lokr, False),
    "LoKr of full rank": partial(_lokr, True),
}
OTHERS = {
    "transformer.blocks.0.attn1.to_q.oft_R.weight": "OFT",
    "lycoris_blocks_0_attn1_to_q.boft_blocks": "BOFT",
    "lycoris_blocks_0_attn1_to_q.a1.weight": "GLoRA",
    "base_model.model.blocks.0.attn1.to_q.ia3_l": "(IA)^3",
}


def _relative(adapter: Callable[[], tuple[dict[str, Tensor], Tensor]], folder: Path) -> Outcome:
    tensors, change = adapter()
    file = made.save(folder / FILE, {f"lora_unet_blocks_0_self_attn_q.{name}": t for name, t in tensors.items()})
    wrong = made.differences(made.changes(file)[0], {f"{made.OURS[Q]}.weight": change}, 1e-4)
    return Outcome("other weights" if wrong else "weights right", not wrong)


def _other(name: str, kind: str, folder: Path) -> Outcome:
    return _refused(made.save(folder / FILE, {name: torch.ones(2, 2)}), f"of the kind {kind},")


# --- what they are called


def _steps(name: str, folder: Path) -> Outcome:
    return _right(f"{_sampled(Lora(folder / f'{name}.safetensors', 1.0))} steps", f"{TITLES[name]} steps")


def _sampled(lora: Lora) -> int | None:
    """In how many steps a LoRA is sampled, by what it is called."""
    return None if lora.few_step is None else lora.few_step.steps


def _titled(folder: Path) -> Outcome:
    file = made.save(folder / "style.safetensors", made.pairs(COMFY, made.factors([Q])), {"ss_output_name": "x-dmd"})
    (lora,) = loras.parse([str(file)], catalog.find("wan2.1-1.3b"))
    return _right(f"{_sampled(lora)} steps", "4 steps")


# --- the command line, with tiny models of random weights

PAINT = ("generate", "a red cat", "--size", "64x48", "--frames", "5", "--steps", "3", "--seed", "1", "--force")


def _commands() -> Iterator[Case]:
    kind = "LoRA on the command line"
    yield Case(kind, "folder that peft wrote", "the film of half the strength", _peft_folder)
    yield Case(kind, "alpha 2 of rank 4 in metadata", "the film of half the strength", _in_metadata)
    yield Case(kind, "fits in part", "painted, with a note", _in_part)
    yield Case(kind, "fits in part, --strict", "exit 4, says so", _strict)
    yield Case(kind, "two files for two experts in a folder", "each on its expert", _two_experts)
    yield Case(kind, "DoRA on a GGUF, resident and streamed", "the film of the weights unpacked", _dora_on_gguf)
    yield Case(kind, "eight-bit floats", "weights right", _eight_bits)
    if find_spec("peft") and find_spec("diffusers"):
        yield Case("file that sora writes", "loaded by diffusers", "weights right", _by_diffusers)


def pairs_of_queries(rank: int = 4) -> dict[str, tuple[Tensor, Tensor]]:
    """Of every query of the tiny models, whose width is that of ``made.TINY``."""
    return {name: (_random(rank, 24), _random(24, rank)) for name in (Q, "blocks.1.cross_attn.k")}


def _film(folder: Path, *more: str) -> bytes:
    done = run(folder, *PAINT, "--model", str(tiny_wan()), "-o", "film.mkv", *more)
    assert done.status == 0, done.text
    return media.read_clip(folder / "film.mkv").frames_FYXC.tobytes()


@cache
def _references() -> list[bytes]:
    """The films of the plain LoRA at half its strength, and at all of it."""
    folder = Path(mkdtemp(prefix="real-files-lora-"))
    made.save(folder / "plain.safetensors", made.pairs(DIFFUSERS, pairs_of_queries()))
    return [_film(folder, "--lora", f"plain.safetensors:{strength}") for strength in (0.5, 1)]


def _half(folder: Path, lora: str) -> Outcome:
    half, whole = _references()
    right = _film(folder, "--lora", lora) == half != whole
    return Outcome("the film of half the strength" if right else "another film", right)


def _peft_folder(folder: Path) -> Outcome:
    (folder / "peft").mkdir()
    made.save(folder / "peft" / FILE, made.pairs(made.STYLES["peft"], pairs_of_queries()))
    (folder / "peft" / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 2}))
    return _half(folder, "peft")


def _in_metadata(folder: Path) -> Outcome:
    metadata = made.diffusers_metadata(r=4, lora_alpha=2)
    made.save(folder / "style.safetensors", made.pairs(DIFFUSERS, pairs_of_queries()), metadata)
    return _half(folder, "style.safetensors")


def _save_partly(folder: Path) -> Path:
    image = {f"diffusion_model.blocks.{n}.cross_attn.k_img.diff_b": torch.ones(24) for n in range(2)}
    return made.save(folder / "style.safetensors", made.pairs(COMFY, pairs_of_queries()) | image)


def _in_part(folder: Path) -> Outcome:
    lora = _save_partly(folder)
    done = run(folder, *PAINT, "--model", str(tiny_wan()), "-o", "film.mkv", "--lora", str(lora), "--json")
    noted = "2 of 4 changes do not fit this model and are left out (2 blocks.*.attn2.add_k_proj.bias)"
    right = done.status == 0 and noted in json.loads(done.out)["notes"][0] and noted in done.text
    return Outcome("painted, with a note" if right else done.text[-160:], right)


def _strict(folder: Path) -> Outcome:
    lora = _save_partly(folder)
    done = run(folder, *PAINT, "--model", str(tiny_wan()), "-o", "film.mkv", "--lora", str(lora), "--strict")
    return says(done, 4, "2 of 4 changes do not fit this model", "leave --strict out")


@cache
def two_experts() -> Path:
    """A model of two experts with random weights."""
    from identical import pipelines

    folder = Path(mkdtemp(prefix="real-files-a14b-"))
    pipelines()["t2v-a14b"]().save_pretrained(folder)
    return folder


def _two_experts(folder: Path) -> Outcome:
    from sora import models

    pair = folder / "Wan2.2-4steps-lora"
    pair.mkdir()
    for name, value in (("high_noise_model", 1.0), ("low_noise_model", 2.0)):
        made.save(pair / f"{name}.safetensors", {f"{Q}.diff_b": torch.full((24,), value)})
    spec = catalog.find(str(two_experts()))
    model = models.load(spec, torch.device("cpu"), torch.float32)
    bias = lambda n: model.components.expert(n).get_parameter(f"{made.OURS[Q]}.bias").clone()  # type: ignore # noqa: E731
    before, found = [bias(0), bias(1)], loras.parse([str(pair)], spec)
    for lora in found:
        models.add_lora(model, lora.path, lora.strength)
    moved = [round(float((bias(n) - before[n]).mean()), 3) for n in (0, 1)]
    right = moved == [1, 2] and [_sampled(lora) for lora in found] == [4, 4]
    return Outcome("each on its expert" if right else str(moved), right)


def _dora_on_gguf(folder: Path) -> Outcome:
    """Against the same film of a file with the weights that the GGUF unpacks to."""
    import gguf

    stored, unpacked = (changed(folder / name, "transformer", lambda tensor: tensor) for name in ("q", "plain"))
    file = Path("transformer/diffusion_pytorch_model.safetensors")
    state = load_file(unpacked / file)
    (stored / file).unlink()
    writer = gguf.GGUFWriter((stored / file).with_suffix(".gguf"), "wan")
    for name, tensor in state.items():
        numbers, kind = tensor.numpy(), gguf.GGMLQuantizationType.F32
        if name.endswith("ffn.net.2.weight"):
            kind = gguf.GGMLQuantizationType.Q8_0
            numbers = gguf.quants.quantize(numbers, kind)
            state[name] = torch.from_numpy(gguf.quants.dequantize(numbers, kind))
        writer.add_tensor(name, numbers, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (unpacked / file).unlink()
    made.save(unpacked / file, state)
    layers = [f"transformer.blocks.{n}.ffn.net.2" for n in range(2)]
    tensors = {f"{layer}.lora_A.weight": _random(4, 32) for layer in layers}
    tensors |= {f"{layer}.lora_B.weight": _random(24, 4) for layer in layers}
    tensors |= {f"{layer}.lora_magnitude_vector": _random(24).abs() + 0.5 for layer in layers}
    lora = made.save(folder / "dora.safetensors", tensors)

    def film(model: Path, memory: str, strength: float) -> bytes:
        options: dict[str, Any] = {"size": (64, 48), "frames": 5, "steps": 3, "seed": 1}
        loras = [(str(lora), strength)]
        return sora.generate("a red cat", model=str(model), loras=loras, memory=memory, **options).frames.tobytes()

    wanted, plain = film(unpacked, "resident", 1), film(unpacked, "resident", 0)
    films = [film(stored, memory, 1) for memory in ("resident", "streamed")]
    right = films == [wanted, wanted] and wanted != plain
    return Outcome("the film of the weights unpacked" if right else "another film", right)


def _eight_bits(folder: Path) -> Outcome:
    of = {name: (a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)) for name, (a, b) in made.factors([Q]).items()}
    got, _ = made.changes(made.save(folder / FILE, made.pairs(COMFY, of)))
    wrong = made.differences(got, made.expected({name: (a.float(), b.float()) for name, (a, b) in of.items()}, 1.0))
    return Outcome("other weights" if wrong else "weights right", not wrong)


def _by_diffusers(folder: Path) -> Outcome:
    import diffusers

    from sora.weights import lora_file

    of = made.factors(list(made.OURS)[:5])
    names = {f"{made.OURS[m]}.lora_{x}.weight": t for m, pair in of.items() for x, t in zip("AB", pair, strict=True)}
    lora_file.write(folder / FILE, names, {})
    sizes = {"in_channels": 4, "out_channels": 4, "text_dim": 16, "freq_dim": 8, "ffn_dim": 32, "rope_max_seq_len": 32}
    theirs = diffusers.WanTransformer3DModel(num_attention_heads=2, attention_head_dim=12, num_layers=2, **sizes)  # type: ignore
    theirs.load_state_dict(made.network().state_dict(), strict=False)
    loader = diffusers.WanPipeline(None, None, None, None, transformer=theirs)  # type: ignore
    loader.load_lora_weights(str(folder), weight_name=FILE)
    loader.fuse_lora()
    layers = {name: theirs.get_submodule(name.removesuffix(".weight")) for name in made.expected(of, 1.0)}
    got = {name: layer.base_layer.weight - made.network().get_parameter(name) for name, layer in layers.items()}  # type: ignore
    wrong = made.differences(got, made.expected(of, 1.0))
    return Outcome("other weights" if wrong else "weights right", not wrong)
