"""Checkpoints of every layout and number format: the same tensors in a module, or one line that says why not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sora import weights
from sora.errors import ModelError
from sora.models.wan import KEY_MAPS
from sora.runtime.quantized import replace_with_quantized
from sora.weights import checkpoint

IN = 256  # one block of ggml's larger formats


class Small(nn.Module):
    """A linear map, an embedding, a norm, a kernel and a table: all that a checkpoint's tensors are."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(IN, 6)
        self.words = nn.Embedding(5, IN)
        self.norm1 = nn.LayerNorm(IN)
        self.kernel = nn.Conv3d(2, 4, (1, 2, 2))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, 8))


def hollow() -> Small:
    with torch.device("meta"):
        return Small()


def _numbers() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {name: torch.randn_like(tensor) for name, tensor in Small().state_dict().items()}


STATE = _numbers()


def load(path: Path, dtype: torch.dtype = torch.float32, **more: object) -> Small:
    return weights.load_checkpoint(
        hollow(), path, rules=KEY_MAPS["transformer"], dtype=dtype, **{"store": replace_with_quantized, **more}
    )  # type: ignore[arg-type]


def same(module: nn.Module, state: dict[str, Tensor]) -> bool:
    loaded = module.state_dict()
    return loaded.keys() == state.keys() and all(torch.equal(loaded[n], t) for n, t in state.items())


def refusal(path: Path, **more: object) -> str:
    with pytest.raises(ModelError) as caught:
        load(path, **more)  # type: ignore[arg-type]
    said = str(caught.value)
    assert "\n" not in said
    return said


# Layouts


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "model.safetensors", "anything.safetensors"])
def test_a_file_and_the_folder_that_holds_it(tmp_path: Path, name: str):
    save_file(STATE, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    for path in (tmp_path / name, tmp_path):
        module = load(path)
        assert same(module, STATE)
        assert not module.training and not module.map.weight.requires_grad


def shard(folder: Path, state: dict[str, Tensor], stem: str = "diffusion_pytorch_model") -> Path:
    names = list(state)
    parts = {f"{stem}-0000{i + 1}-of-00003.safetensors": names[i::3] for i in range(3)}
    for file, held in parts.items():
        save_file({name: state[name] for name in held}, folder / file)
    index = folder / f"{stem}.safetensors.index.json"
    where = {name: file for file, held in parts.items() for name in held}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return index


@pytest.mark.parametrize("stem", ["diffusion_pytorch_model", "model", "some.fp16"])
def test_shards_by_their_index_or_folder_or_names(tmp_path: Path, stem: str):
    index = shard(tmp_path, STATE, stem)
    assert same(load(tmp_path), STATE)
    assert same(load(index), STATE)
    index.unlink()
    assert same(load(tmp_path), STATE)
    (tmp_path / f"{stem}-00001-of-00003.safetensors").unlink()
    assert "1 of 3 shards are missing" in refusal(tmp_path)
    (tmp_path / f"{stem}-00002-of-00003.safetensors").unlink()
    assert "2 of 3 shards are missing" in refusal(tmp_path), "a single shard is not taken for all"


def test_links_into_a_cache_are_followed(tmp_path: Path):
    save_file(STATE, tmp_path / "9f8e7d")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(tmp_path / "9f8e7d")
    assert same(load(tmp_path / "snapshot"), STATE)


def test_a_missing_shard_is_named(tmp_path: Path):
    shard(tmp_path, STATE)
    (tmp_path / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    said = refusal(tmp_path)
    assert "1 of 3 shards are missing" in said and "00002-of-00003" in said and "download" in said


def test_a_file_of_holes_is_an_unfinished_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "model.safetensors"
    save_file(STATE, file)
    whole = file.read_bytes()
    with file.open("wb") as sparse:
        sparse.write(whole[:4096])
        sparse.truncate(len(whole))
    assert same(load(file), load(file).state_dict())  # a small one is not searched
    monkeypatch.setattr(checkpoint, "SMALL", 0)
    assert "mostly holes" in refusal(file)


@pytest.mark.parametrize(
    "index", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}', '{"weight_map": {"a": "../../x.safetensors"}}']
)
def test_a_damaged_index_is_refused(tmp_path: Path, index: str):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert "index" in refusal(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path):
    shard(tmp_path, STATE)
    file = tmp_path / "diffusion_pytorch_model-00001-of-00003.safetensors"
    save_file(STATE, file)
    assert "in two files" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "pytorch_model.bin", "w.ckpt", "w.pkl"])
def test_pickles_are_refused_and_say_what_to_get(tmp_path: Path, name: str):
    torch.save({"a": torch.ones(1)}, tmp_path / name)
    for path in (tmp_path / name, tmp_path):
        said = refusal(path)
        assert name in said and "pickle" in said and ".safetensors" in said and ".gguf" in said


def test_what_is_not_there_or_not_weights(tmp_path: Path):
    assert "there are no weights at" in refusal(tmp_path / "none.safetensors")
    assert "holds no weights" in refusal(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"?")
    assert ".safetensors or .gguf" in refusal(tmp_path / "a.onnx")
    for name in ("high.safetensors", "low.safetensors"):
        save_file(STATE, tmp_path / name)
    assert "high.safetensors, low.safetensors; name the one" in refusal(tmp_path)


# Strictness


def test_every_difference_is_named_before_anything_is_read(tmp_path: Path):
    other = dict(STATE) | {"more": torch.ones(1), "map.bias": torch.ones(7)}
    del other["norm1.weight"]
    save_file(other, tmp_path / "a.safetensors")
    module = hollow()
    with pytest.raises(ModelError) as caught:
        weights.load_checkpoint(module, tmp_path / "a.safetensors", rules=KEY_MAPS["transformer"], dtype=torch.float32)
    said = str(caught.value)
    for part in ("1 missing: norm1.weight", "1 unexpected: more", "map.bias (7,) for (6,)", "choose the model"):
        assert part in said
    assert all(tensor.is_meta for tensor in module.state_dict().values())


def test_whole_numbers_are_no_weights(tmp_path: Path):
    save_file(STATE | {"map.weight": torch.ones(6, IN, dtype=torch.int8)}, tmp_path / "a.safetensors")
    said = refusal(tmp_path)
    assert "map.weight is stored as I8" in said


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)

    def cut(done: int, total: int) -> None:
        path.write_bytes(path.read_bytes()[:1000])

    assert "ends too early" in refusal(path, on_bytes=cut)


def test_headers_alone_say_what_is_held(tmp_path: Path):
    save_file({f"model.diffusion_model.{n}": t for n, t in STATE.items()}, tmp_path / "a.safetensors")
    held = weights.checkpoint_shapes(tmp_path, rules=KEY_MAPS["transformer"])
    assert held == {name: tuple(tensor.shape) for name, tensor in STATE.items()}
    code = (
        "import sys; from pathlib import Path; from sora import weights; from sora.models.wan import KEY_MAPS;"
        f"assert weights.checkpoint_shapes(Path({str(tmp_path)!r}), rules=KEY_MAPS['transformer']);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Number formats, dtypes, devices


@pytest.mark.parametrize("stored", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_are_cast_to_the_wanted_dtype(tmp_path: Path, stored: torch.dtype, wanted: torch.dtype):
    held = {name: tensor.to(stored) for name, tensor in STATE.items()}
    save_file(held, tmp_path / "a.safetensors")
    assert same(load(tmp_path, wanted, keep_small=False), {name: tensor.to(wanted) for name, tensor in held.items()})


@pytest.mark.parametrize("wanted", [torch.float16, torch.bfloat16])
def test_what_is_small_and_delicate_stays_in_float32(tmp_path: Path, wanted: torch.dtype):
    save_file(STATE, tmp_path / "a.safetensors")
    module = load(tmp_path, wanted)
    delicate = {name for name, tensor in module.state_dict().items() if tensor.dtype == torch.float32}
    assert delicate == {"norm1.weight", "norm1.bias", "scale_shift_table"}
    assert all(torch.equal(module.state_dict()[name], STATE[name]) for name in delicate)


def test_each_tensor_goes_to_its_own_device(tmp_path: Path):
    save_file(STATE, tmp_path / "a.safetensors")
    module = load(tmp_path, device=lambda name: "meta" if name.startswith("words") else "cpu")
    assert {name for name, tensor in module.state_dict().items() if tensor.is_meta} == {"words.weight"}
    assert torch.equal(module.map.weight, STATE["map.weight"])


def test_progress_is_told_in_bytes(tmp_path: Path):
    shard(tmp_path, STATE)
    told: list[tuple[int, int]] = []
    load(tmp_path, torch.bfloat16, on_bytes=lambda done, total: told.append((done, total)))
    total = sum(tensor.nbytes for tensor in STATE.values())
    assert told[-1] == (total, total) and len(told) == len(STATE)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_pieces_of_any_size_make_the_same_tensors(tmp_path: Path, monkeypatch):
    from sora.weights import reading

    save_file(STATE, tmp_path / "a.safetensors")
    want = load(tmp_path, torch.bfloat16).state_dict()
    for piece in (1, 100, 3000):
        monkeypatch.setattr(reading, "PIECE", piece)
        assert same(load(tmp_path, torch.bfloat16), want)
        assert same(load(tmp_path), STATE)
