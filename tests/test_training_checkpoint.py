"""States as folders of small files: exact or compact, whole or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from minitrain import checkpoint
from sora.errors import ModelError

LIMIT = checkpoint.HEADER_BYTES + 40_000


def a_state(side: int = 64) -> checkpoint.Tensors:
    torch.manual_seed(0)
    weights = torch.randn(4 * side, side)
    return {
        "model/w": weights,
        "model/b": torch.randn(side),
        "model/n": torch.tensor(3),
        "average/w": weights + 0.01 * torch.randn_like(weights),
        "average/b": torch.randn(side),
        "optimiser/0/0/momentum": 1e-9 * torch.randn(4 * side, side),
        "optimiser/1/0/exp_avg_sq": torch.rand(side) * 1e-12,
        "random/cpu": torch.get_rng_state(),
    }


def test_small_states_come_back_exactly(tmp_path: Path) -> None:
    state = a_state()
    checkpoint.save_state(tmp_path / "s", state, {"step": 7, "spent": 1.5})
    tensors, values = checkpoint.load_state(tmp_path / "s")
    assert values == {"step": 7, "spent": 1.5} and tensors.keys() == state.keys()
    assert all(torch.equal(tensors[n], t) for n, t in state.items())


def test_large_states_are_kept_compactly_in_parts_within_the_limit(tmp_path: Path) -> None:
    state = a_state(256)
    checkpoint.save_state(tmp_path, state, {}, limit=LIMIT)
    files = list(tmp_path.iterdir())
    assert all(f.stat().st_size <= LIMIT for f in files)
    assert sum(f.stat().st_size for f in files) < 0.4 * sum(t.nbytes for t in state.values())
    tensors, _ = checkpoint.load_state(tmp_path)
    assert tensors.keys() == state.keys()
    assert torch.allclose(tensors["model/w"], state["model/w"], rtol=1e-3, atol=1e-6)
    assert (tensors["average/w"] - state["average/w"]).abs().max() < 0.001
    momentum = state["optimiser/0/0/momentum"]
    assert (tensors["optimiser/0/0/momentum"] - momentum).abs().max() <= momentum.abs().max() / 250
    for name in ("model/n", "optimiser/1/0/exp_avg_sq", "random/cpu"):
        assert torch.equal(tensors[name], state[name])


def test_a_new_state_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    checkpoint.save_state(tmp_path, a_state(128), {"step": 1}, limit=LIMIT)
    (tmp_path / ".0123abcd-part-00-0123456789.safetensors").write_bytes(b"half of one")
    checkpoint.save_state(tmp_path, a_state(32), {"step": 2}, limit=LIMIT)
    named = {part["file"] for part in json.loads((tmp_path / checkpoint.MANIFEST).read_text())["parts"]}
    assert {f.name for f in tmp_path.iterdir()} == named | {checkpoint.MANIFEST}
    assert checkpoint.load_state(tmp_path)[1] == {"step": 2}


def test_an_interrupted_save_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save_state(tmp_path, a_state(32), {"step": 1})
    whole = Path.replace

    def fails_at_the_manifest(made: Path, path: Path) -> Path:
        if path.name == checkpoint.MANIFEST:
            raise KeyboardInterrupt
        return whole(made, path)

    monkeypatch.setattr(Path, "replace", fails_at_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_state(tmp_path, a_state(64), {"step": 2})
    assert checkpoint.load_state(tmp_path)[1] == {"step": 1}


@pytest.mark.parametrize("harm", ["missing", "damaged", "no manifest", "bad manifest"])
def test_what_is_not_whole_is_refused(tmp_path: Path, harm: str) -> None:
    checkpoint.save_state(tmp_path, a_state(), {})
    part, manifest = next(tmp_path.glob("part-*")), tmp_path / checkpoint.MANIFEST
    if harm == "missing":
        part.unlink()
    elif harm == "damaged":
        part.write_bytes(part.read_bytes()[:-1] + b"?")
    elif harm == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text("{")
    with pytest.raises(ModelError, match=r"copy|name the folder"):
        checkpoint.load_state(tmp_path)


def test_all_that_trainings_left_travels_in_few_files(tmp_path: Path) -> None:
    runs, out, there = tmp_path / "runs", tmp_path / "out", tmp_path / "there"
    checkpoint.save_state(runs / "dit" / "state", a_state(), {"step": 4})
    (runs / "text").mkdir()
    save_file({"w": torch.randn(8, 8)}, runs / "text" / "text.safetensors", metadata={"words": "a b"})
    (runs / "text" / "log.jsonl").write_text('{"step": 1}\n')
    (runs / "dit" / "sheet.png").write_bytes(b"no text")
    checkpoint.main(["pack", str(runs), str(out)])
    assert len(list(out.iterdir())) == 2
    checkpoint.main(["unpack", str(out), str(there)])
    tensors, values = checkpoint.load_state(there / "dit" / "state")
    assert values == {"step": 4} and torch.equal(tensors["model/w"], a_state()["model/w"])
    sent, come = (load_file(r / "text" / "text.safetensors")["w"] for r in (runs, there))
    assert torch.equal(come, sent.half().float())
    with safe_open(there / "text" / "text.safetensors", framework="pt") as file:
        assert file.metadata() == {"words": "a b"}
    assert (there / "text" / "log.jsonl").read_text() == '{"step": 1}\n'


def test_packing_takes_the_named_folders(tmp_path: Path) -> None:
    for name in ("dit", "vae"):
        checkpoint.save_state(tmp_path / "runs" / name / "state", a_state(8), {})
    checkpoint.pack(tmp_path / "runs", tmp_path / "out", ("dit",))
    checkpoint.unpack(tmp_path / "out", tmp_path / "there")
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["dit"]
    with pytest.raises(ModelError, match="nothing to pack"):
        checkpoint.pack(tmp_path / "there", tmp_path / "none", ("vae",))
