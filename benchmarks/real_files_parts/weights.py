"""Models as they lie on disks and on the hub: folders without a part, two experts in two files, ggml's number formats,
what stands in a file's place, and repositories that nobody has listed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from real_files_parts import tiny_wan
from real_files_parts.case import Case, Outcome, Run, run, says
from sora import catalog, media
from sora.weights.formats import dequantize
from sora.weights.tensor_entry import BLOCKS

HUB = Path(__file__).parent.parent.parent / "tests" / "local_hub.py"
REPO, COMMIT = "someone/Wan-Tiny", "ab" * 20
PAINT = (
    *("generate", "a red cat", "--seed", "7", "--steps", "4", "--size", "64x64", "--frames", "5", "--shift", "3"),
    *("--guidance", "2", "-o", "film.mkv"),
)
WHOLE = "diffusion_pytorch_model.safetensors"
HALVES = "name both, as --model HIGH,LOW, or a folder that holds both"
Change = Callable[[Path], object]


def cases() -> Iterator[Case]:
    """Every kind of this part."""
    yield from _parts()
    yield from _experts()
    yield from _formats()
    yield from _stand_ins()
    yield from _repositories()


@cache
def _made(kind: str) -> Path:
    return tiny_wan.folder(Path(mkdtemp(prefix="real-files-model-")), kind)


def _copied(kind: str, place: Path) -> Path:
    return Path(shutil.copytree(_made(kind), place / "model"))


def _run(folder: Path, *argv: str, **more: str) -> Run:
    """A command whose hub has nothing, unless ``more`` says where it is."""
    return run(folder, *argv, more={"HF_HOME": str(folder / "hf"), **more})


def _gone(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            place = folder / name
            shutil.rmtree(place) if place.is_dir() else place.unlink()

    return change


# --- a missing part ----------------------------------------------------------------------------------------------


def _parts() -> Iterator[Case]:
    lacking: tuple[tuple[str, str, Change, str], ...] = (
        ("A14B without transformer_2", "t2v-a14b", _gone("transformer_2"), "lacks transformer_2"),
        ("A14B without transformer", "t2v-a14b", _gone("transformer"), "lacks transformer"),
        ("I2V without image_encoder", "i2v", _gone("image_encoder"), "lacks image_encoder"),
        ("I2V whose index forgets the image encoder", "i2v", _forgotten_encoder, "lacks image_encoder"),
        ("no tokenizer", "t2v", _gone("tokenizer"), "lacks tokenizer"),
        ("no text encoder", "t2v", _gone("text_encoder"), "lacks text_encoder"),
        ("no autoencoder", "t2v", _gone("vae"), "lacks vae"),
        ("no scheduler", "t2v", _gone("scheduler"), "lacks scheduler"),
        ("no vae and no tokenizer", "t2v", _gone("vae", "tokenizer"), "lacks vae, tokenizer"),
        ("no transformer/config.json", "t2v", _gone("transformer/config.json"), "lacks transformer/config.json"),
        ("no model_index.json", "t2v", _gone("model_index.json"), "lacks model_index.json"),
        ("one of three shards", "t2v", _one_shard, "00003-of-00003.safetensors"),
        ("A14B without boundary_ratio", "t2v-a14b", partial(tiny_wan.set_index, boundary_ratio=None), "0.875 as in"),
    )
    for name, kind, change, words in lacking:
        yield Case(
            "a missing part", name, f"exit 4: {words}", partial(_lacking, kind, change, words, (*PAINT, "--model"))
        )
    shown = partial(_lacking, "i2v", _gone("image_encoder"), "image_encoder", ("models", "verify"))
    yield Case("a missing part", "sora models verify of I2V without image_encoder", "exit 4", shown)
    yield Case("a missing part", "null in model_index.json", "a film", partial(_paints, "i2v-a14b", lambda _: None))
    yield Case("a missing part", "parts more than needed", "the same film", partial(_paints, "t2v", _extra))


def _forgotten_encoder(folder: Path) -> None:
    tiny_wan.set_index(folder, image_encoder=[None, None])
    _gone("image_encoder")(folder)


def _one_shard(folder: Path) -> None:
    names = [f"diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    (folder / "transformer" / WHOLE).rename(folder / "transformer" / names[0])
    index = {"weight_map": {str(i): name for i, name in enumerate(names)}}
    (folder / "transformer" / f"{WHOLE}.index.json").write_text(json.dumps(index))


def _extra(folder: Path) -> None:
    shutil.copytree(_made("i2v") / "image_encoder", folder / "image_encoder")
    shutil.copytree(_made("t2v-a14b") / "transformer_2", folder / "transformer_2")


def _lacking(kind: str, change: Change, words: str, argv: tuple[str, ...], folder: Path) -> Outcome:
    model = _copied(kind, folder)
    change(model)
    return says(_run(folder, *argv, str(model)), 4, words)


def _paints(kind: str, change: Change, folder: Path) -> Outcome:
    model = _copied(kind, folder)
    change(model)
    return _same(folder, str(model), _film(_made(kind)))


# --- two experts -------------------------------------------------------------------------------------------------


@cache
def _film(model: Path) -> np.ndarray:
    """What a whole folder paints."""
    folder = Path(mkdtemp(prefix="real-files-film-"))
    done = _run(folder, *PAINT, "--model", str(model))
    assert done.status == 0, done.text
    return media.read_clip(folder / "film.mkv").frames_FYXC.astype(int)


def _same(folder: Path, model: str, expected: np.ndarray, most: int = 0) -> Outcome:
    """Whether a model paints these frames, to within ``most`` grey levels, with the other parts in the cache."""
    row = catalog.MODELS["wan2.1-vace-1.3b"]
    snapshot = folder / f"hf/hub/models--{row.repo.replace('/', '--')}/snapshots/{row.revision}"
    shutil.copytree(_made("t2v-a14b"), snapshot, ignore=shutil.ignore_patterns("transformer*"))
    done = _run(folder, *PAINT, "--model", model)
    if done.status:
        return Outcome(f"exit {done.status}: {done.text[-160:]}", False)
    apart = np.abs(media.read_clip(folder / "film.mkv").frames_FYXC.astype(int) - expected).max()
    return Outcome(f"{apart} levels apart", bool(apart <= most))


def _expert(place: Path, number: int, kind: str = "t2v-a14b") -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(_made(kind) / ("transformer", "transformer_2")[number] / WHOLE, place))


def _named(folder: Path, high: str, low: str) -> tuple[Path, Path]:
    return _expert(folder / "w" / high, 0), _expert(folder / "w" / low, 1)


PAIRS = {
    "ComfyUI": ("wan2.2_t2v_high_noise_14B_fp16.safetensors", "wan2.2_t2v_low_noise_14B_fp16.safetensors"),
    "QuantStack": ("Wan2.2-T2V-A14B-HighNoise-Q8_0.safetensors", "Wan2.2-T2V-A14B-LowNoise-Q8_0.safetensors"),
    "Kijai": ("Wan2_2-T2V-A14B_HIGH_fp16.safetensors", "Wan2_2-T2V-A14B-LOW_fp16.safetensors"),
}


def _experts() -> Iterator[Case]:
    kind = "two experts in two files"
    for by, names in PAIRS.items():
        yield Case(kind, f"{by}'s names, HIGH,LOW", "0 levels apart", partial(_pair, names, (0, 1)))
        yield Case(kind, f"{by}'s names, LOW,HIGH", "0 levels apart", partial(_pair, names, (1, 0)))
    yield Case(
        kind, "no such words: as given", "0 levels apart", partial(_pair, ("a.safetensors", "b.safetensors"), (0, 1))
    )
    yield Case(kind, "a folder with both", "0 levels apart", partial(_pair, PAIRS["ComfyUI"], ()))
    nested = ("HighNoise/Q4.safetensors", "LowNoise/Q4.safetensors")
    yield Case(kind, "a folder with HighNoise/ and LowNoise/", "0 levels apart", partial(_pair, nested, ()))
    for number, which in enumerate(("high", "low")):
        alone = partial(_alone, PAIRS["ComfyUI"][number], number, "t2v-a14b")
        yield Case(kind, f"the {which} one alone", f"exit 4: {HALVES}", alone)
    renamed = partial(_alone, "my-favourite.safetensors", 0, "i2v-a14b")
    yield Case(kind, "one of I2V alone, renamed", f"exit 4: {HALVES}", renamed)
    yield Case(kind, "a folder with the low one", f"exit 4: {HALVES}", _alone_in_folder)
    yield Case(kind, "the high one twice over", "exit 4: both high-noise", _two_highs)
    yield Case(kind, "T2V's high and I2V's low", "exit 4: differ", _unlike)
    yield Case(kind, "Q8_0 in GGUF, a folder with both", "at most 40 levels apart", _quantized_pair)
    yield Case("one file", "a folder with one GGUF and an autoencoder", "at most 40 levels apart", _one_gguf)


def _pair(names: tuple[str, str], order: tuple[int, ...], folder: Path) -> Outcome:
    files = _named(folder, *names)
    model = ",".join(str(files[i]) for i in order) or str(folder / "w")
    return _same(folder, model, _film(_made("t2v-a14b")))


def _alone(name: str, number: int, kind: str, folder: Path) -> Outcome:
    return says(_run(folder, *PAINT, "--model", str(_expert(folder / name, number, kind))), 4, HALVES)


def _alone_in_folder(folder: Path) -> Outcome:
    file = _expert(folder / "w" / PAIRS["Kijai"][1], 1)
    return says(_run(folder, *PAINT, "--model", str(file.parent)), 4, "the low-noise expert", HALVES)


def _two_highs(folder: Path) -> Outcome:
    files = [_expert(folder / f"wan2.2_high_noise_{name}.safetensors", 0) for name in "ab"]
    return says(_run(folder, *PAINT, "--model", ",".join(map(str, files))), 4, "are both high-noise experts")


def _unlike(folder: Path) -> Outcome:
    high = _expert(folder / "wan2.2_high_noise.safetensors", 0)
    low = _expert(folder / "wan2.2_low_noise.safetensors", 1, "i2v-a14b")
    return says(_run(folder, *PAINT, "--model", f"{high},{low}"), 4, "differ in")


def _quantized_pair(folder: Path) -> Outcome:
    for number, noise in enumerate(("High", "Low")):
        seed = 2 + number  # the seeds of a folder's two transformers
        tiny_wan.transformer_file(folder / f"w/Wan2.2-T2V-A14B-{noise}Noise-Q8_0.gguf", seed=seed, form="Q8_0")
    return _same(folder, str(folder / "w"), _film(_made("t2v-a14b")), most=40)


def _one_gguf(folder: Path) -> Outcome:
    tiny_wan.transformer_file(folder / "w/wan2.1-t2v.gguf", seed=2, form="Q8_0")
    shutil.copy(_made("t2v") / "vae" / WHOLE, folder / "w/wan_2.1_vae.safetensors")
    return _same(folder, str(folder / "w"), _film(_made("t2v")), most=40)


# --- number formats ----------------------------------------------------------------------------------------------


def _formats() -> Iterator[Case]:
    for format in (*BLOCKS, "F16", "BF16"):
        yield Case("GGUF's number formats", format, "as ggml's package unpacks them", partial(_unpacked, format))
    refused = partial(_refused_format, "MXFP4")
    yield Case("GGUF's number formats", "MXFP4, which is not read", "exit 4: names it and what is read", refused)


def _unpacked(format: str, folder: Path) -> Outcome:  # noqa: ARG001, as every attempt
    """Blocks of any bytes, among which there are NaN and infinity, against the package's own numbers."""
    import gguf

    type = gguf.GGMLQuantizationType[format]
    size = gguf.GGML_QUANT_SIZES[type][1]
    raw = np.random.default_rng(5).integers(0, 256, (64, 8 * size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        expected = np.asarray(
            gguf.quants.dequantize(raw.view(np.float16) if format == "F16" else raw, type), np.float32
        )
    got = dequantize(torch.from_numpy(raw), format, torch.float32).numpy()
    differ = int((~((got == expected) | (np.isnan(got) & np.isnan(expected)))).sum())
    return Outcome(f"{differ} of {expected.size} numbers differ", differ == 0 and got.shape == expected.shape)


def _refused_format(format: str, folder: Path) -> Outcome:
    file = tiny_wan.transformer_file(folder / "wan.gguf", form=format)
    return says(_run(folder, *PAINT, "--model", str(file)), 4, f"stored as {format}", "Q3_K", "IQ4_XS")


# --- what stands in a file's place -------------------------------------------------------------------------------

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


def _stand_ins() -> Iterator[Case]:
    contents = {
        "a git-lfs pointer": (POINTER, "git lfs pull"),
        "nothing": (b"", "it is empty"),
        "a web page": (b"\n<!doctype html><html>", "it is a web page"),
    }
    places = (f"transformer/{WHOLE}", "text_encoder/model.safetensors", "tokenizer/tokenizer.json", "vae/config.json")
    for what, (content, words) in contents.items():
        for name in places:
            attempt = partial(_stands_in, name, content, words)
            yield Case("what stands in a file's place", f"{what} as {name}", f"exit 4: {words}", attempt)
    for what, name, content, words in (
        ("a git-lfs pointer", "wan.gguf", POINTER, "git lfs pull"),
        ("a server's refusal", "wan.safetensors", b"Entry not found", "it is a text, 'Entry not found'"),
        ("half a download", "wan.safetensors.part", b"GGUF", "a download that is not complete"),
    ):
        attempt = partial(_stands_alone, "--model", name, content, words)
        yield Case("what stands in a file's place", f"{what} as {name}", f"exit 4: {words}", attempt)
    lora = partial(_stands_alone, "--lora", "style.safetensors", POINTER, "git lfs pull")
    yield Case("what stands in a file's place", "a git-lfs pointer as a LoRA", "exit 4: git lfs pull", lora)


def _stands_in(name: str, content: bytes, words: str, folder: Path) -> Outcome:
    model = _copied("t2v", folder)
    (model / name).write_bytes(content)
    return says(_run(folder, *PAINT, "--dry-run", "--model", str(model)), 4, words, name)


def _stands_alone(flag: str, name: str, content: bytes, words: str, folder: Path) -> Outcome:
    (folder / name).write_bytes(content)
    return says(_run(folder, *PAINT, flag, str(folder / name)), 4, words, name)


# --- repositories ------------------------------------------------------------------------------------------------


def _repositories() -> Iterator[Case]:
    kind = "a repository of the hub"
    yield Case(kind, "in diffusers' layout", "the film of the folder", _pulled_folder)
    yield Case(kind, "both experts of one quantization among four files", "a pair", _pulled_pair)
    yield Case(kind, "a LoRA", "--lora takes its name", _pulled_lora)
    for name, files, words in (
        ("a model of another kind, 8 MB", {"model.safetensors": 2_000_000}, "holds no transformer"),
        ("pickles", {"pytorch_model.bin": 10}, "is a pickle"),
        ("words alone", {"README.md": 10}, "holds no weights"),
        ("five files of weights", {f"wan-{i}.gguf": 10 for i in range(5)}, "holds 5 files of weights"),
    ):
        yield Case(kind, name, f"exit 4, next to nothing is sent: {words}", partial(_not_pulled, files, words))
    yield Case(kind, "one without a text encoder", "exit 4: lacks text_encoder on the hub", _pulled_lacking)


@contextmanager
def _hub(folder: Path, files: Path) -> Iterator[dict[str, str]]:
    """A hub with these files; the environment in which it is the hub."""
    argv = [sys.executable, str(HUB), str(files), REPO, COMMIT, "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            yield {"HF_ENDPOINT": url, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "hf")}
        finally:
            server.kill()


def _sent(more: dict[str, str]) -> int:
    with urllib.request.urlopen(f"{more['HF_ENDPOINT']}/counters") as answer:
        counters: dict[str, Any] = json.loads(answer.read())
    return sum(counters["sent"].values())


def _pulled_folder(folder: Path) -> Outcome:
    with _hub(folder, _made("t2v")) as more:
        pulled = run(folder, "models", "pull", REPO, more=more)
    if pulled.status:
        return says(pulled, 0)
    done = run(folder, *PAINT, "--model", REPO, more=more | {"HF_HUB_OFFLINE": "1"})
    if done.status:
        return says(done, 0)
    frames = media.read_clip(folder / "film.mkv").frames_FYXC
    return Outcome("the film of the folder", np.array_equal(frames, _film(_made("t2v"))))


def _pulled_pair(folder: Path) -> Outcome:
    for noise in ("High", "Low"):
        for form in ("Q4_0", "Q8_0"):
            file = folder / f"repo/{noise}Noise/Wan2.2-T2V-A14B-{noise}Noise-{form}.gguf"
            tiny_wan.transformer_file(file, seed=len(noise), form=form)
    with _hub(folder, folder / "repo") as more:
        refused = says(run(folder, "models", "pull", REPO, more=more), 4, "holds 4 files of weights")
        pulled = run(folder, "models", "pull", f"{REPO}:Q4_0", more=more)
    shown = says(run(folder, "models", "show", f"{REPO}:Q4_0", more=more), 0, "kind of wan2.2-t2v-a14b", "here")
    return refused if not refused.right else shown if pulled.status == 0 else says(pulled, 0)


def _pulled_lora(folder: Path) -> Outcome:
    (folder / "repo").mkdir()
    key = "diffusion_model.blocks.0.self_attn.q.lora_{}.weight"
    pair = {key.format("A"): np.ones((2, 128), np.float32), key.format("B"): np.ones((128, 2), np.float32)}
    save_file(pair, folder / "repo/style.safetensors")
    with _hub(folder, folder / "repo") as more:
        pulled = run(folder, "models", "pull", REPO, more=more)
    if pulled.status or f"--lora {REPO}" not in pulled.text:
        return says(pulled, 0, f"--lora {REPO}")
    used = run(folder, *PAINT, "--dry-run", "--model", str(_made("t2v")), "--lora", f"{REPO}:0.5", more=more)
    return says(used, 0)


def _not_pulled(files: dict[str, int], words: str, folder: Path) -> Outcome:
    (folder / "repo").mkdir()
    for name, numbers in files.items():
        if name.endswith(".safetensors"):
            save_file({"a.weight": np.ones(numbers, np.float32)}, folder / "repo" / name)
        else:
            (folder / "repo" / name).write_bytes(b"x" * numbers)
    with _hub(folder, folder / "repo") as more:
        outcome = says(run(folder, "models", "pull", REPO, more=more), 4, words)
        sent = _sent(more)
    return outcome if sent < 1_000_000 else Outcome(f"{sent} bytes were sent", False)


def _pulled_lacking(folder: Path) -> Outcome:
    model = _copied("t2v", folder)
    _gone("text_encoder")(model)
    with _hub(folder, model) as more:
        return says(run(folder, "models", "pull", REPO, more=more), 4, f"{REPO} lacks text_encoder on the hub")
