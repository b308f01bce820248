"""The program as a process of its own, in folders of its own, and what is in the files that it makes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from faults_parts import traced
from sora import media
from sora.plan.clip import Clip

BENCHMARKS = Path(__file__).parent.parent
OTHERS = (".txt", ".json", ".pt")  # endings of files that are neither films nor weights
PATIENCE = 900  # seconds of one run


@dataclass(frozen=True)
class Place:
    """Where runs happen. out: their working folder. state, temporary: what else they may write to."""

    folder: Path

    def __post_init__(self) -> None:
        for folder in (self.out, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        paths = [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"SORA_STATE": str(self.state), "SORA_CACHE": str(self.folder / "cache"), "TMPDIR": str(self.temporary)}
        return {**os.environ, **own, "PYTHONPATH": os.pathsep.join(paths), "OMP_WAIT_POLICY": "passive", **more}

    def start(
        self, argv: Iterable[str], trace: Path, more: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[str]:
        """The program, in a group of its own. trace: where its events go. more: of the environment."""
        environment = self.environment({traced.VARIABLE: str(trace), **more})
        return subprocess.Popen(
            [sys.executable, "-m", "faults_parts.traced", *argv],
            cwd=self.out,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(
        self, argv: Iterable[str], trace: Path | None = None, more: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, str]:
        """(exit status, stdout and stderr) of a whole run."""
        process = self.start(argv, trace or self.folder / "trace", more)
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, errors = process.communicate()
        return process.returncode, out + errors

    def files(self) -> dict[str, Path]:
        """What stands in the working folder under names that are not hidden, films that are folders as one."""
        found: dict[str, Path] = {}
        for path in sorted(self.out.iterdir()):
            if path.is_dir() and not path.name.startswith(".") and not _is_film(path):
                found |= {f"{path.name}/{inner.name}": inner for inner in sorted(path.iterdir())}
            elif not path.name.startswith("."):
                found[path.name] = path
        return {name: path for name, path in found.items() if not path.name.startswith(".")}

    def leftovers(self, expected: Iterable[str]) -> list[str]:
        """What is there and not expected: in the working folder, among temporary files, and what is
        registered as staged."""
        wanted = set(expected)
        hidden = [str(path.relative_to(self.folder)) for path in self.out.rglob(".*")]
        others = [name for name in self.files() if name not in wanted]
        folders = (self.temporary, self.state / "staging")
        inside = [path for folder in folders if folder.exists() for path in folder.rglob("*")]
        return [*hidden, *others, *(str(path.relative_to(self.folder)) for path in inside)]


def _is_film(folder: Path) -> bool:
    """Whether it is a film of numbered pictures."""
    return any(path.suffix == ".png" and path.stem.isdigit() for path in folder.iterdir())


def digest(path: Path) -> str:
    """The sha256 of the frames in a film, of the tensors in a file of weights, or of the bytes of any other; a file
    that cannot be read says so."""
    try:
        if path.suffix == ".safetensors":
            return _tensors_digest(path)
        if path.suffix in OTHERS:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        if path.suffix in (".png", ".jpg"):
            return frames_digest(media.read_image(path)[None])
        clip: Clip = media.read_clip(path)
        return frames_digest(clip.frames_FYXC)
    except Exception as error:
        return f"damaged: {type(error).__name__}: {error}"[:200]


def _tensors_digest(path: Path) -> str:
    """The sha256 of names, shapes, numbers and metadata; their order in the file is chance."""
    from safetensors import safe_open

    found = hashlib.sha256()
    with safe_open(path, "np") as opened:
        found.update(repr(sorted((opened.metadata() or {}).items())).encode())
        for name in sorted(opened.keys()):
            tensor = opened.get_tensor(name)
            found.update(f"{name} {tensor.shape} {tensor.dtype}".encode() + tensor.tobytes())
    return found.hexdigest()


def frames_digest(frames_FYXC: object) -> str:
    """The sha256 of uint8 frames and their shape."""
    import numpy as np

    frames = np.ascontiguousarray(frames_FYXC)
    return hashlib.sha256(str(frames.shape).encode() + frames.tobytes()).hexdigest()
