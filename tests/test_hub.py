"""Files of models: what is here, checking, removing, against a cache of the hub's laid out by hand."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save

from sora import catalog
from sora.catalog import download, hub
from sora.catalog.spec import ModelSpec
from sora.errors import ModelError

COMMIT, OTHER = "ab" * 20, "cd" * 20
SPEC = replace(
    catalog.MODELS["wan2.1-1.3b"],
    name="tiny",
    repo="someone/tiny",
    revision=COMMIT,
    files=("model_index.json", "net/config.json", "net/*.json", "net/*.safetensors"),
    bytes=3000,
)
FIRST, SECOND = "net/model-00001-of-00002.safetensors", "net/model-00002-of-00002.safetensors"
FILES = {
    "model_index.json": b'{"_class_name": "WanPipeline"}',
    "net/config.json": b"{}",
    FIRST: save({"a": np.ones(200, np.float32)}),
    SECOND: save({"b": np.ones(300, np.float32)}),
    "README.md": b"words",
}
NEEDED = sum(len(content) for name, content in FILES.items() if name != "README.md")
Lay = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's, and no network."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return folder


def laid(cache: Path, *names: str, commit: str = COMMIT, branch: str | None = None, repo: str = SPEC.repo) -> Path:
    """Files in the cache as huggingface_hub leaves them; the snapshot's folder."""
    root = cache / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    for name in names:
        content, small = FILES[name], not name.endswith(".safetensors")
        digest = hashlib.sha1(b"blob %d\0" % len(content)) if small else hashlib.sha256()
        digest.update(content)
        blob, link = root / "blobs" / digest.hexdigest(), snapshot / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            blob.write_bytes(content)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(blob, link.parent))
    if branch is not None:
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / branch).write_text(commit)
    return snapshot


@pytest.fixture
def lay(cache: Path) -> Lay:
    """lay(*names, commit, branch): files in the cache; the snapshot's folder."""
    return partial(laid, cache)


# --- what is here ------------------------------------------------------------------------------------------------


def test_nothing_is_here(cache: Path):
    assert hub.local_copy(SPEC) == hub.LocalCopy(hub.ABSENT, 0, None, SPEC.files)
    with pytest.raises(ModelError, match="tiny is not here; fetch it with: sora models pull tiny"):
        hub.local_path(SPEC)


def test_all_is_here(lay: Lay):
    snapshot = lay(*FILES)
    assert hub.local_copy(SPEC) == hub.LocalCopy(hub.COMPLETE, NEEDED, snapshot)
    assert hub.local_path(SPEC) == snapshot


@pytest.mark.parametrize("lacking", [name for name in FILES if name != "README.md"])
def test_one_file_is_lacking(lay: Lay, lacking: str):
    """A shard says by its name how many there are, so none is overlooked before the index has come."""
    snapshot = lay(*(name for name in FILES if name != lacking))
    found = hub.local_copy(SPEC)
    assert (found.state, found.missing, found.folder) == (hub.PARTIAL, (lacking,), snapshot)
    assert found.bytes == NEEDED - len(FILES[lacking])
    with pytest.raises(ModelError, match="only in part"):
        hub.local_path(SPEC)


def test_files_that_are_not_needed_are_nothing(lay: Lay):
    lay("README.md")
    assert hub.local_copy(SPEC).state == hub.ABSENT


def test_the_beginning_of_a_file_counts(cache: Path):
    blobs = cache / "models--someone--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "ff.incomplete").write_bytes(b"x" * 70)
    assert (hub.local_copy(SPEC).state, hub.local_copy(SPEC).bytes) == (hub.PARTIAL, 70)


def test_a_broken_link_is_no_file(lay: Lay):
    snapshot = lay(*FILES)
    (snapshot / FIRST).resolve().unlink()
    assert hub.local_copy(SPEC).missing == (FIRST,)


def test_a_branch_is_looked_up(lay: Lay):
    spec = replace(SPEC, revision="main")
    assert hub.local_copy(spec).state == hub.ABSENT
    snapshot = lay(*FILES, commit=OTHER, branch="main")
    assert hub.local_path(spec) == snapshot
    assert hub.local_copy(SPEC).state == hub.ABSENT, "another commit is not the pinned one"


def test_models_that_are_on_no_hub(tmp_path: Path, cache: Path):
    mini = catalog.MODELS["mini"]
    assert hub.local_copy(replace(mini, files=("mini.json", "none.safetensors"))).missing == ("none.safetensors",)
    folder = tmp_path / "own"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    own = replace(SPEC, name=str(folder), repo="", revision="", folder=folder)
    assert hub.local_copy(own) == hub.LocalCopy(hub.COMPLETE, NEEDED, folder)
    assert download.pull(own) == folder
    (folder / FIRST).unlink()
    with pytest.raises(ModelError, match=f"lacks {FIRST}"):
        download.pull(own)
    single = replace(own, folder=folder / SECOND, files=())
    assert hub.local_copy(single) == hub.LocalCopy(hub.COMPLETE, len(FILES[SECOND]), folder / SECOND)


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_the_hubs_own_settings_hold_and_nothing_heavy_is_imported(lay: Lay, cache: Path, variable: str):
    lay(*FILES, repo=catalog.MODELS["wan2.1-1.3b"].repo, commit=catalog.MODELS["wan2.1-1.3b"].revision)
    home = cache.parent / "home"
    home.mkdir()
    cache.rename(home / "hub")
    code = (
        "import sys; from sora import catalog; from sora.catalog import hub;"
        "print(hub.local_copy(catalog.MODELS['wan2.1-1.3b']).state);"
        "print(sorted({'torch', 'numpy', 'httpx', 'httpx2', 'requests'} & set(sys.modules)))"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    where = {variable: str(home if variable == "HF_HOME" else home / "hub")}
    done = subprocess.run([sys.executable, "-c", code], env=plain | where, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["partial", "[]"]


# --- checking ----------------------------------------------------------------------------------------------------


def problems(spec: ModelSpec) -> dict[str, str]:
    return {file.name: file.problem for file in hub.verify(spec) if file.problem}


def test_all_is_well(lay: Lay):
    lay(*FILES)
    told: list[tuple[int, int]] = []
    checked = list(hub.verify(SPEC, lambda *seen: told.append(seen)))
    assert {file.name: file.bytes for file in checked} == {n: len(c) for n, c in FILES.items() if n != "README.md"}
    assert not problems(SPEC)
    assert told[-1] == (NEEDED, NEEDED)


@pytest.mark.parametrize("name", [FIRST, "model_index.json"])
def test_one_bit_is_noticed(lay: Lay, name: str):
    """Large files are held against SHA-256, small ones against git's digest."""
    blob = (lay(*FILES) / name).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + bytes([blob.read_bytes()[-1] ^ 1]))
    assert problems(SPEC) == {name: f"damaged: other bytes than were published; delete {blob}"}


def test_what_is_missing_is_told(lay: Lay):
    lay("model_index.json", "net/config.json", SECOND)
    assert problems(SPEC) == {FIRST: "missing"}
    with pytest.raises(ModelError, match="is not here"):
        list(hub.verify(replace(SPEC, repo="someone/else")))


def test_files_without_a_digest_are_read(tmp_path: Path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    own = replace(SPEC, repo="", folder=tmp_path)
    assert not problems(own)
    (tmp_path / FIRST).write_bytes(FILES[FIRST][:-1])
    (tmp_path / "net/config.json").write_text("{")
    found = problems(own)
    assert found.keys() == {FIRST, "net/config.json"}
    assert "damaged" in found[FIRST] and "net/config.json is damaged" in found["net/config.json"]


# --- removing ----------------------------------------------------------------------------------------------------


def test_a_removed_model_is_gone(lay: Lay, cache: Path):
    lay(*FILES)
    assert hub.remove(SPEC) == sum(map(len, FILES.values()))
    assert hub.local_copy(SPEC).state == hub.ABSENT
    assert not list(cache.rglob("*.safetensors"))


def test_another_revision_keeps_what_it_shares(lay: Lay):
    lay(*FILES)
    other = lay("model_index.json", FIRST, commit=OTHER)
    hub.remove(SPEC)
    assert hub.local_copy(SPEC).state == hub.ABSENT
    assert (other / FIRST).read_bytes() == FILES[FIRST]


def test_the_beginnings_of_files_can_be_removed(cache: Path):
    blobs = cache / "models--someone--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "ff.incomplete").write_bytes(b"x" * 70)
    assert hub.remove(SPEC) == 70
    assert hub.local_copy(SPEC).state == hub.ABSENT


@pytest.mark.parametrize(
    ("spec", "fragment"),
    [
        (SPEC, "nothing to remove"),
        (catalog.MODELS["mini"], "part of sora"),
        (replace(SPEC, repo="", folder=Path("own")), "delete it yourself"),
    ],
)
def test_what_cannot_be_removed(cache: Path, spec: ModelSpec, fragment: str):
    with pytest.raises(ModelError, match=fragment):
        hub.remove(spec)


@pytest.mark.parametrize(
    ("count", "said"), [(28_930_000_000, "28.9 GB"), (17_300_000, "17.3 MB"), (1500, "1.5 kB"), (70, "70 bytes")]
)
def test_bytes_in_words(count: int, said: str):
    assert hub.gigabytes(count) == said
