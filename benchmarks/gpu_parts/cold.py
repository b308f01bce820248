"""``sora generate`` from a command line to an mp4 with a Wan model of true size, in processes of their own.

The transformer and the autoencoder are those of the 1.3B. The text encoder has the true one's width and 4 of its 24
layers, and a small vocabulary, since all of it would take longer to write than to measure. Weights are random.

- cold: no file is in the system's cache, nothing compiled, no text encoded
- from the disk: no file is in the system's cache, no text encoded; with and without loading ahead
- warm: a later film of one process, as frames in memory
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file

import sora
from gpu_parts.result import Machine, Result
from real_files_parts import tiny_wan
from sora.models.wan.layout import FROM_JSON

PHASES = ("start", "load", "encode", "sample", "decode", "write")
TEXT_LAYERS, VOCABULARY = 4, 32_000
TRUE: dict[str, dict[str, Any]] = {
    "text_encoder": {
        "vocab_size": VOCABULARY,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": TEXT_LAYERS,
        "num_heads": 64,
    },
    "transformer": tiny_wan.TRANSFORMERS["t2v"]
    | {"num_layers": 30, "num_attention_heads": 12, "ffn_dim": 8960, "text_dim": 4096, "freq_dim": 256},
    "vae": {"z_dim": 16},
}
SMALL: dict[str, dict[str, Any]] = {**tiny_wan.CONFIGS, "transformer": tiny_wan.TRANSFORMERS["t2v"]}
COMPONENTS = ("text_encoder", "transformer", "vae")


def measure(machine: Machine) -> Iterator[Result]:
    frames, size = (5, "64x64") if machine.small else (81, "832x480")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = write_folder(place / "model", SMALL if machine.small else TRUE, machine.device)
        words = ["--model", str(model), "--device", machine.device.type, "--steps", "4", "--guidance", "1"]
        words += ["--frames", str(frames), "--size", size]
        yield _result("cold", film(place / "cold", model, words))
        yield _result("from the disk", film(place / "disk", model, words))
        without = film(place / "without", model, [*words, "--disable", "load-ahead"])
        yield _result("from the disk, without load-ahead", without)
        options: dict[str, Any] = {"model": str(model), "device": machine.device.type, "steps": 4, "guidance": 1.0}
        with patch.dict(os.environ, _environment(place / "warm")):
            seconds = machine.seconds(lambda: sora.generate("a cat", frames=frames, size=size, **options), 1, 1)
            sora.unload()
        yield Result("warm", seconds, "s")


def _result(what: str, seconds: Mapping[str, float]) -> Result:
    return Result(what, seconds["total"], "s", note=", ".join(f"{phase} {seconds[phase]:.2f}" for phase in PHASES))


def film(place: Path, model: Path, words: list[str], cold: bool = True) -> Mapping[str, float]:
    """Seconds of each phase of a film in a process of its own. place: of what it writes, and of its cache. cold:
    whether the model's files come from the disk."""
    place.mkdir(exist_ok=True)
    if cold:
        forget(model)
    argv = [sys.executable, "-m", "sora", "generate", "a red cat", *words, "--json", "-o", str(place / "film.mp4")]
    done = subprocess.run(argv, env={**os.environ, **_environment(place)}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["the film failed without a word"])[-1])
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def _environment(place: Path) -> dict[str, str]:
    """Texts are cached by place, and what is compiled for all places."""
    found = {"SORA_CACHE": place / "cache", "SORA_STATE": place / "state"}
    found |= {"TORCHINDUCTOR_CACHE_DIR": place.parent / "compiled"}
    return {name: str(path) for name, path in found.items()}


def forget(model: Path) -> None:
    """Let the system drop a folder's files from its cache."""
    for file in model.rglob("*.safetensors"):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def write_folder(place: Path, configs: Mapping[str, Mapping[str, Any]], device: torch.device) -> Path:
    """A model in diffusers' layout, its weights random and in bfloat16 but for the autoencoder's."""
    tiny_wan.folder(place)
    for name in COMPONENTS:
        (place / name / "config.json").write_text(json.dumps(configs[name]))
        (old,) = (place / name).glob("*.safetensors")
        dtype = torch.float32 if name == "vae" else torch.bfloat16
        save_file(_weights(name, configs[name], dtype, device), old)
    return place


def _weights(name: str, config: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
    """Weights under which nothing dies out or runs away, made on the device, where that takes a moment."""
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in FROM_JSON[name](config).state_dict().items()}
    random, found = torch.Generator(device).manual_seed(0), dict[str, torch.Tensor]()
    for key, shape in shapes.items():
        fan_in = shape[1:].numel() if len(shape) > 1 else 4
        is_norm = ("norm" in key and key.endswith("weight")) or key.endswith("gamma")
        tensor = torch.randn(shape, generator=random, device=device) * (0.7 * fan_in**-0.5) + is_norm
        found[key] = tensor.to(dtype).cpu()
    return found
