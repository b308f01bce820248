"""What loading costs, as two tables.

- A checkpoint: time, and memory at its peak besides that of the loaded weights
- A text encoder that encodes two texts, and then the transformer and the autoencoder, until all are there: one after
  the other, and loaded while the text encoder works; from the disk and from the system's cache of files

python benchmarks/loading.py [GB]     2 by default: of a file of float32; the other formats hold as many numbers
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gpu_parts.cold import forget, write_folder
from real_files_parts import tiny_wan
from sora import catalog, weights
from sora.models.wan.components import Components
from sora.models.wan.layout import component_paths
from sora.runtime.quantized import replace_with_quantized
from sora.runtime.speed import Speed

WIDE = 4096
ROWS = ("float32 to float32", "float32 to bfloat16", "bfloat16 to float32", "float8 scaled", "gguf Q8_0")


class Row(nn.Module):
    """Linear maps of 64 MB each in float32."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList([nn.Linear(WIDE, WIDE) for _ in range(maps)])


def numbers(maps: int) -> Iterator[tuple[str, Tensor]]:
    torch.manual_seed(0)
    for i in range(maps):
        yield f"maps.{i}.weight", torch.randn(WIDE, WIDE)
        yield f"maps.{i}.bias", torch.randn(WIDE)


def write(row: str, folder: Path, maps: int) -> None:
    """The checkpoint of a row of the table, of four shards where the format has shards."""
    if row.startswith("gguf"):
        return write_gguf(folder / "model.gguf", maps)
    held: dict[str, Tensor] = {}
    for name, tensor in numbers(maps):
        if row.startswith("float8") and tensor.ndim == 2:
            scale = tensor.abs().amax() / 448
            held[name] = (tensor / scale).to(torch.float8_e4m3fn)
            held[name.replace("weight", "scale_weight")] = scale
        else:
            held[name] = tensor.to(getattr(torch, row.split()[0], torch.float32))
    names, where = list(held), {}
    for i in range(4):
        part = {name: held[name] for name in names[i::4]}
        save_file(part, folder / f"model-{i}.safetensors")
        where |= dict.fromkeys(part, f"model-{i}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return None


def write_gguf(path: Path, maps: int) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in numbers(maps):
        kind = gguf.GGMLQuantizationType.Q8_0 if tensor.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def peak() -> int:
    """Bytes of memory that this program has held at most. Linux' own count, since what getrusage says there begins
    with what the program that started this one held."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def measure(folder: Path, maps: int, dtype: torch.dtype) -> None:
    """Runs in a program of its own."""
    with torch.device("meta"):
        module = Row(maps)
    before, started = peak(), time.perf_counter()
    weights.load_checkpoint(module, folder, rules=weights.LayoutRules(), dtype=dtype, store=replace_with_quantized)
    seconds = time.perf_counter() - started
    held = sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])
    print(json.dumps({"seconds": seconds, "held": held, "peak": peak() - before}))


def configs(gigabytes: float) -> dict[str, dict[str, Any]]:
    """A model of about half as many gigabytes of bfloat16, a quarter of them the text encoder's."""
    layers = max(1, round(gigabytes * 4))
    text = {"vocab_size": 1000, "d_model": 1024, "d_kv": 64, "d_ff": 2816, "num_layers": layers, "num_heads": 16}
    dit = {"num_layers": layers, "num_attention_heads": 12, "ffn_dim": 6144, "text_dim": 1024, "freq_dim": 256}
    transformer = tiny_wan.TRANSFORMERS["t2v"] | dit
    return {**tiny_wan.CONFIGS, "text_encoder": text, "transformer": transformer, "vae": {"z_dim": 16}}


def measure_film(folder: Path, ahead: bool) -> None:
    """Runs in a program of its own."""
    spec = catalog.find(str(folder))
    speed = Speed() if ahead else Speed(disabled=frozenset({"load-ahead"}))
    model = Components(spec, component_paths(spec), torch.device("cpu"), torch.bfloat16, speed)
    ids, started = torch.randint(0, 1000, (2, 512)), time.perf_counter()
    with torch.inference_mode():
        model.text_encoder(ids)
    encoded = time.perf_counter() - started
    _ = model.expert(0), model.vae
    print(json.dumps({"seconds": time.perf_counter() - started, "encoded": encoded}))


def show_films(gigabytes: float, runs: int = 3) -> None:
    """The second table: medians of a few runs, by turns."""
    print(f"\n{'text, then transformer':22} {'text s':>9} {'all s':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder, found = write_folder(Path(name), configs(gigabytes), torch.device("cpu")), dict[str, list[Any]]()
        for _ in range(runs):
            for row in ("disk, in sequence", "disk, ahead", "cache, in sequence", "cache, ahead"):
                if row.startswith("disk"):
                    forget(folder)
                argv = [sys.executable, __file__, "--film", name, row.partition(", ")[2]]
                result = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
                found.setdefault(row, []).append((result["seconds"], result["encoded"]))
    for row, times in found.items():
        seconds, encoded = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{row:22} {encoded:9.1f} {seconds:10.1f}", flush=True)


def main() -> None:
    gigabytes = float(sys.argv[1] if len(sys.argv) > 1 else 2)
    maps = max(1, round(gigabytes * 1e9 / (4 * WIDE * WIDE)))
    print(f"{'format':22} {'file MB':>9} {'loaded MB':>10} {'peak MB':>9} {'extra MB':>10} {'seconds':>8}")
    for row in ROWS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(row, folder, maps)
            size = sum(path.stat().st_size for path in folder.iterdir())
            dtype = "bfloat16" if row.endswith(("bfloat16", "scaled", "Q8_0")) else "float32"
            argv = [sys.executable, __file__, "--measure", name, str(maps), dtype]
            result = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        figures = f"{size / 1e6:9.0f} {result['held'] / 1e6:10.0f} {result['peak'] / 1e6:9.0f}"
        print(
            f"{row:22} {figures} {(result['peak'] - result['held']) / 1e6:10.0f} {result['seconds']:8.1f}", flush=True
        )
    show_films(gigabytes)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--film"]:
        measure_film(Path(sys.argv[2]), sys.argv[3] == "ahead")
    elif sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), int(sys.argv[3]), getattr(torch, sys.argv[4]))
    else:
        main()
