"""``sora generate`` from a command line to an mp4 with a Wan model of true size, in processes of their own.

The transformer and the autoencoder are those of the 1.3B. The text encoder has the true one's width and 4 of its 24
layers, and a small vocabulary, since all of it would take longer to write than to measure. Weights are random.

- cold: nothing is in the system's cache of files, nothing compiled, no text encoded
- without load-ahead: the same, but that a network is loaded only once it is used
- compiled before: files in the cache, blocks compiled; another text
- warm: the second film of one process
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
    size = ("--frames", "5", "--size", "64x64") if machine.small else ("--frames", "81", "--size", "832x480")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = write_folder(place / "model", SMALL if machine.small else TRUE, machine.device)
        words = ["--model", str(model), "--device", machine.device.type, "--steps", "4", "--guidance", "1", *size]
        yield _result("cold", film(place / "a", model, words, cold=True))
        yield _result("cold, without load-ahead", film(place / "b", model, [*words, "--disable", "load-ahead"], True))
        yield _result("compiled before", film(place / "a", model, [*words, "--force"], prompt="a red boat"))
        options: dict[str, Any] = {"model": str(model), "device": machine.device.type, "steps": 4, "guidance": 1.0}
        options |= {"frames": int(size[1]), "size": size[3]}
        seconds = machine.seconds(lambda: sora.generate("a cat", **options), runs=1, warm_ups=1)
        yield Result("warm", seconds, "s", note="its frames in memory, no file")
        sora.unload()


def _result(what: str, seconds: Mapping[str, float]) -> Result:
    return Result(what, seconds["total"], "s", note=", ".join(f"{phase} {seconds[phase]:.2f}" for phase in PHASES))


def film(
    place: Path, model: Path, words: list[str], cold: bool = False, prompt: str = "a red cat"
) -> Mapping[str, float]:
    """Seconds of each phase of a film in a process of its own. place: of what it writes, and of its cache."""
    place.mkdir(exist_ok=True)
    if cold:
        forget(model)
    environment = {**os.environ, "SORA_CACHE": str(place / "cache"), "SORA_STATE": str(place / "state")}
    environment |= {"TORCHINDUCTOR_CACHE_DIR": str(place / "compiled")}
    argv = [sys.executable, "-m", "sora", "generate", prompt, *words, "--json", "-o", str(place / "film.mp4")]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


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
