"""What tests of commands share: a stand-in for the model, commands run in this process, and small clips."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

# Before torch is imported: two cores are shared with whatever else runs, and threads that spin would starve each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import huggingface_hub
import imageio_ffmpeg
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from hypothesis import HealthCheck, settings
from torch import Tensor
from typer import testing
from typer.testing import CliRunner, Result

import sora
from local_hub import LocalHub
from sora import catalog, media, models, weights
from sora.catalog import transfer
from sora.cli import app
from sora.engine.canvas import Canvas, Latents
from sora.plan.clip import Clip
from sora.runtime import threads

# typer builds all commands anew each time that one is tried, a tenth of a second which a program pays once.
if build := getattr(testing, "_get_command", None):
    setattr(testing, "_get_command", cache(build))  # noqa: B010, another library's name

# Processes that share the cores would wait for one another's threads. Programs that tests start decide for themselves.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    torch.set_num_threads(max(1, min(torch.get_num_threads(), threads.cores() // workers)))

# Other programs may take most of this machine: no example is too slow.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

Studio = Callable[..., Result]
Footage = Callable[..., Path]
Serve = Callable[..., LocalHub]


COUNTS = pytest.StashKey[str]()

FEW_FILES = 6  # one process has tested that many before others have imported torch
MAX_WORKERS = 4
WORKER_BYTES = 2 << 30  # of a worker, and of the programs that its tests start


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """As many processes as this machine has cores and memory for; for a few files none but this one."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    files = {file for path in paths for file in (path.rglob("test_*.py") if path.is_dir() else [path])}
    if len(files) <= FEW_FILES:
        return 0
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    workers = int(min(threads.cores(), threads.quota(), memory / WORKER_BYTES, MAX_WORKERS))
    return workers if workers > 1 else 0


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[COUNTS] = _counted([item.nodeid for item in session.items])
    # A million objects are there now that stay to the end: the collector need not visit them, at half a second a time.
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """A worker has found the same tests as all others."""
    node.config.stash[COUNTS] = _counted(ids)


def _counted(ids: Sequence[str]) -> str:
    return f"{len(ids)} tests of {len({each.split('[')[0] for each in ids})} functions"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many tests there are, and how many functions they are cases of."""
    terminalreporter.write_line(config.stash.get(COUNTS, "no tests"))


FONT_MISSING = "cannot open resource"  # in Pillow's complaint about a font


def _skip_without_glyphs() -> Iterator[None]:
    """Glyphs of the cartoon world come from a font that whoever trains has, and whoever only runs the tests need not
    have."""
    try:
        return (yield)
    except Exception as error:  # an OSError, or what a rendering worker's becomes in the trainer
        if FONT_MISSING not in str(error):
            raise
        pytest.skip("the font of the cartoon world's glyphs is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    return (yield from _skip_without_glyphs())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    return (yield from _skip_without_glyphs())


class Blotches:
    """A stand-in that satisfies ``engine.model.Model``: it paints blotches that follow the noise and the words."""

    def __init__(self, spec: catalog.ModelSpec, device: torch.device) -> None:
        self.spec, self.device = spec, device

    def encode(self, canvas: Canvas) -> Latents:
        c, t, h, w = self.spec.grid.latent_shape(*canvas.shape)
        return Latents(torch.zeros(1, c, t, h, w), torch.ones(1, 1, t, h, w))

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        colours_TCHW = torch.tanh(latents_BCTHW[0, :3]).transpose(0, 1)
        pixels_TCYX = F.interpolate(colours_TCHW, scale_factor=self.spec.grid.space)
        for i, frame_CYX in enumerate(pixels_TCYX):
            yield frame_CYX.expand(1 if i == 0 else self.spec.grid.time, -1, -1, -1)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float):
        tone = zlib.crc32(prompt.encode()) / 2**32
        return lambda x, t: 0.5 * x + tone


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept to save time is not kept from one run of the tests to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SORA_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SORA_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """What a program sets for itself, its environment and its threads, is not left to the tests after it."""
    environment, count = os.environ.copy(), torch.get_num_threads()
    yield
    changed = {name for name, _ in environment.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}
    for name in changed:
        os.environ.pop(name, None)
    os.environ.update({name: environment[name] for name in changed & environment.keys()})
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


class SocketGuard:
    """What of the network the tests of this process may use: nothing, or this machine for a test that asks. attempts:
    what else was tried, each of which fails its test even where an exception is swallowed."""

    def __init__(self) -> None:
        self.allows_loopback = False
        self.attempts: list[str] = []

    def check(self, action: str, host: object) -> None:
        if self.allows_loopback and host in ("127.0.0.1", b"127.0.0.1"):
            return
        self.attempts.append(f"{action} {host!r}")
        raise AssertionError(f"a test used the network: {self.attempts[-1]}")

    def install(self, patch: pytest.MonkeyPatch) -> None:
        connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

        def guarded(action: str, original: Callable[..., Any]) -> Callable[..., Any]:
            def use(this: socket.socket, address: Any) -> Any:
                if this.family in (socket.AF_INET, socket.AF_INET6):  # not between the processes of one program
                    self.check(action, address[0])
                return original(this, address)

            return use

        def guarded_look_up(host: Any, *args: Any, **settings: Any) -> Any:
            self.check("getaddrinfo", host)
            return look_up(host, *args, **settings)

        patch.setattr(socket.socket, "connect", guarded("connect", connect))
        patch.setattr(socket.socket, "connect_ex", guarded("connect_ex", connect_ex))
        patch.setattr(socket, "getaddrinfo", guarded_look_up)


@pytest.fixture(autouse=True, scope="session")
def socket_guard() -> Iterator[SocketGuard]:
    """No test of this process reaches the network."""
    guard = SocketGuard()
    with pytest.MonkeyPatch.context() as patch:
        guard.install(patch)
        yield guard


@pytest.fixture(autouse=True)
def no_network(socket_guard: SocketGuard) -> Iterator[None]:
    """A test that tried to reach the network fails, whatever became of its attempt."""
    yield
    attempts = socket_guard.attempts.copy()
    socket_guard.attempts.clear()
    assert not attempts, f"the network was used: {', '.join(attempts)}"


@pytest.fixture
def loopback(socket_guard: SocketGuard) -> Iterator[None]:
    """This test may connect to servers of its own."""
    socket_guard.allows_loopback = True
    yield
    socket_guard.allows_loopback = False


@pytest.fixture
def serve(loopback: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """serve(repo, commit, files): a hub on this machine, which is the hub from then on; retries hardly wait."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with ExitStack() as stack:

        def start(repo: str, commit: str, files: Mapping[str, bytes], rate: float = 0) -> LocalHub:
            hub = stack.enter_context(LocalHub(repo, commit, files, rate).running())
            monkeypatch.setattr(constants, "ENDPOINT", hub.url)
            return hub

        yield start


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is an empty one, and the package's weights are files of zeros."""
    folder, assets = tmp_path / "work", tmp_path / "assets"
    folder.mkdir()
    assets.mkdir()
    monkeypatch.chdir(folder)
    for name in catalog.MODELS["mini"].files:
        (assets / name).write_bytes(b"\x00" * 100)
    monkeypatch.setattr(weights, "ASSETS", assets)


MINI = catalog.MODELS["mini"]
SMALL_MINI = replace(MINI, defaults=replace(MINI.defaults, area=160 * 160, draft_area=64 * 64))


@pytest.fixture
def small_mini(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded model's own size is small: what a stand-in paints costs little to resize and to encode."""
    monkeypatch.setitem(catalog.MODELS, "mini", SMALL_MINI)


@pytest.fixture
def stand_in(workplace: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Python paints with a model that needs no weights. The names of the models that were loaded, one for each time."""
    loaded: list[str] = []

    def load(spec, device, dtype, speed=None):
        loaded.append(spec.name)
        return Blotches(spec, device)

    monkeypatch.setattr(models, "load", load)
    sora.unload()
    yield loaded
    sora.unload()


@pytest.fixture
def studio(workplace: None, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """studio(*argv, stdin=None): a command in an empty folder, in this process, with the stand-in for the model."""
    monkeypatch.setattr(models, "load", lambda spec, device, dtype, speed=None: Blotches(spec, device))
    return lambda *argv, stdin=None: CliRunner().invoke(app, [str(a) for a in argv], input=stdin)


@pytest.fixture
def footage(tmp_path: Path) -> Footage:
    """footage(name, frames, size, fps, sound): a noisy lossless clip outside the working folder."""

    def write(
        name: str = "clip.mkv",
        frames: int = 6,
        size: tuple[int, int] = (48, 64),
        fps: float = 8.0,
        sound: bool = False,
    ) -> Path:
        random, path = np.random.default_rng(zlib.crc32(name.encode())), tmp_path / name
        rows = size[0] if max(size) < 500 else 1  # a large clip has one row of noise all over: the encoder is slow
        noise = random.integers(0, 256, (frames, rows, size[1], 3), dtype=np.uint8)
        silent = media.write_clip(path, Clip(noise.repeat(size[0] // rows, axis=1), fps))
        if not sound:
            return silent
        loud = tmp_path / f"loud-{name}"
        tone = f"-f lavfi -i sine=frequency=440:duration={frames / fps} -c:v copy -c:a flac"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(silent), *tone.split(), str(loud)]
        subprocess.run(command, check=True)
        return loud

    return write
