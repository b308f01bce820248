"""``--gpus``: how work is divided among processes, and what becomes of all when one of them fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import gpus_worker
from sora import catalog
from sora.errors import ModelError, OutOfMemory, SoraError, UsageError
from sora.jobs import job as jobs
from sora.jobs.delivery import Delivery
from sora.jobs.resolve import resolve
from sora.models import parallel
from sora.plan.request import Request
from sora.runtime.parallel import failures
from sora.runtime.parallel.config import ParallelConfig, choose_config, config_of_canvas, usable_counts
from sora.runtime.parallel.failures import RankOutOfMemory
from sora.runtime.parallel.messages import packed, unpacked
from sora.runtime.parallel.ulysses import UlyssesSequence
from sora.runtime.parallel.workers import Begin, Workers

CPU = torch.device("cpu")


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """start(size): processes that run ``gpus_worker``, which end with the test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    started: list[Workers] = []

    def connected(size: int) -> Workers:
        started.append(Workers("gpus_worker", size, CPU))
        started[-1].connect(1)
        return started[-1]

    yield connected
    for workers in started:
        workers.close()


def children(process: int) -> set[int]:
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return {int(pid) for file in threads for pid in file.read_text().split()}


def eventually(what: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


@pytest.mark.parametrize("heads", [4, 12, 24, 40])
@pytest.mark.parametrize("guided", [True, False])
def test_guidance_is_divided_first_and_heads_evenly(heads: int, guided: bool) -> None:
    for n in range(1, 65):
        config = choose_config(n, heads, guided=guided)
        if config is not None:
            assert config.cfg_degree * config.ulysses_degree == n and heads % config.ulysses_degree == 0
            assert config.cfg_degree == (2 if guided and n % 2 == 0 else 1) or heads % (n // 2)
            rest = config_of_canvas(n, heads, guided=False)  # what is not guided can be painted, too
            assert rest is not None and rest.ulysses_degree in (n, n // 2) and heads % rest.ulysses_degree == 0
    assert usable_counts(heads, guided=False, most=64) == tuple(n for n in range(2, heads + 1) if heads % n == 0)


def test_known_divisions() -> None:
    assert choose_config(2, 12, guided=True) == ParallelConfig(cfg_degree=2, ulysses_degree=1)
    assert choose_config(8, 40, guided=True) == ParallelConfig(cfg_degree=2, ulysses_degree=4)
    assert choose_config(4, 24, guided=False) == ParallelConfig(cfg_degree=1, ulysses_degree=4)
    assert choose_config(5, 12, guided=True) is None


def test_a_message_comes_without_its_tensors_and_gets_them_back() -> None:
    first, second = torch.arange(6).view(2, 3), torch.ones(4, dtype=torch.bfloat16)
    data, tensors = packed({"a": [first, ("words", second)], "b": first})
    assert [each.dtype for each in tensors] == [torch.int64, torch.bfloat16, torch.int64] and len(data) < 600
    message, empty = unpacked(data, CPU)
    for own, sent in zip(empty, tensors, strict=True):
        own.copy_(sent)
    assert torch.equal(message["a"][0], first) and torch.equal(message["a"][1][1], second)
    assert torch.equal(message["b"], first) and message["a"][1][0] == "words"


def test_shares_cover_all_tokens_once() -> None:
    sequence = UlyssesSequence()
    for degree, tokens in ((1, 7), (4, 7), (4, 8), (5, 32760)):
        sequence._degree, covered = degree, []
        for sequence._rank in range(degree):
            own = sequence.share_of(tokens)
            covered += range(own.start, own.stop)
            assert tokens // degree <= own.stop - own.start <= -(-tokens // degree)
        assert covered == list(range(tokens))


def test_processes_do_one_job_after_another(start: Any) -> None:
    workers = start(2)
    for job in ("first", "second"):
        with workers.guarded():
            workers.send(Begin(job))
            workers.send(("echo", 0, torch.ones(3), torch.full((2, 2), 0.5)))
            assert workers.replies() == [(job, 1, [3.0, 2.0])]
    check_compiled_blocks(workers)
    with pytest.raises(KeyboardInterrupt), workers.guarded():
        raise KeyboardInterrupt
    assert workers.failure is not None and not children(os.getpid()) & {w.process.pid for w in workers._workers}


def check_compiled_blocks(workers: Workers) -> None:
    """They divide their tokens, and each is one graph: attention is an operator to the compiler."""
    x, text = torch.randn(1, 4, 3, 6, 2), torch.randn(1, 5, 8)
    with torch.no_grad():
        alone = gpus_worker.network_of_a_seed()(x, torch.tensor([500.0]), text)
    assert workers.ranks is not None
    with workers.guarded():
        workers.send(("compiled", 0, x, text))
        together = gpus_worker.compiled_pass(workers.ranks, x, text)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert workers.ranks.sequence.bytes_sent > 0


@pytest.mark.parametrize(
    ("what", "size", "kind", "message"),
    [
        ("error", 2, ModelError, "the file is damaged; fetch it again"),
        ("memory", 2, RankOutOfMemory, "the device of process 1 ran out of memory; try another plan with --memory"),
        ("bug", 2, SoraError, "process 1 of --gpus 2 ended with status 1: KeyError: 'blocks.7'"),
        ("killed", 3, SoraError, "process 2 of --gpus 3 was ended by SIGKILL"),
    ],
)
def test_what_ends_one_process_ends_all_with_its_error(
    start: Any, what: str, size: int, kind: type, message: str
) -> None:
    workers = start(size)
    began = time.monotonic()
    with pytest.raises(kind) as caught, workers.guarded():
        workers.send(Begin(None))
        workers.send((what, size - 1))
        torch.distributed.all_reduce(torch.zeros(1))
    assert str(caught.value).startswith(message) and type(caught.value) is kind
    assert time.monotonic() - began < 60 and not children(os.getpid()) & {w.process.pid for w in workers._workers}
    with pytest.raises(kind), workers.guarded():
        pytest.fail("a group that failed is of no more use")


def test_a_process_that_ends_before_it_joins_is_not_waited_for(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDS_BEFORE_IT_JOINS", "1")
    with pytest.raises(SoraError, match=r"^process 1 of --gpus 2 ended with status 3"):
        start(2)


def test_errors_of_a_connection_are_explained() -> None:
    kind: Any = torch.distributed.DistBackendError  # pyright: ignore[reportPrivateImportUsage]
    lack = kind("NCCL error in: ProcessGroupNCCL.cpp\nncclUnhandledCudaError\nCuda failure 2 'out of memory'")
    assert isinstance(failures.explained(1, lack), RankOutOfMemory)
    broken = failures.explained(0, kind("NCCL error in: x.cpp\nError while creating shared memory segment"))
    assert broken is not None and not isinstance(broken, OutOfMemory)
    assert "Error while creating shared memory segment" in str(broken) and "NCCL_DEBUG" in str(broken)
    assert failures.explained(0, KeyError("blocks.7")) is None


def test_no_process_outlives_the_first() -> None:
    """Not even one that waits in a collective, when nothing of the first had time to clean up."""
    code = (
        "import torch; from sora.runtime.parallel.workers import Begin, Workers\n"
        "workers = Workers('gpus_worker', 2, torch.device('cpu')); workers.connect(1)\n"
        "workers.send(Begin(None)); workers.send(('wait', 0)); print(workers._workers[0].process.pid, flush=True)\n"
        "import time; time.sleep(600)"
    )
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    first = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, text=True
    )
    assert first.stdout is not None
    other = int(first.stdout.readline())
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert eventually(lambda: not Path(f"/proc/{other}").exists() or _is_zombie(other))


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_what_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = catalog.find("wan2.1-1.3b")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    with pytest.raises(UsageError, match=r"--gpus 5 cannot divide the 12 attention heads .* expected 1, 2, 3, 4, 6, 8"):
        parallel.check(row, 5, torch.device("cuda"), named=False, guided=True)
    with pytest.raises(UsageError, match=r"without guidance; expected 1, 2, 3, 4, 6, 12$"):
        parallel.check(row, 8, torch.device("cuda"), named=False, guided=False)
    with pytest.raises(UsageError, match="this machine has 8"):
        parallel.check(row, 12, torch.device("cuda"), named=False, guided=True)
    with pytest.raises(UsageError, match="MPS"):
        parallel.check(row, 2, torch.device("mps"), named=False, guided=True)
    with pytest.raises(UsageError, match="no graphics card; --device cpu tries it"):
        parallel.check(row, 2, torch.device("cpu"), named=False, guided=True)
    with pytest.raises(UsageError, match="mini is small"):
        resolve(Request(verb="generate", prompt="a red ball", gpus=2))
    parallel.check(row, 8, torch.device("cuda"), named=False, guided=True)


def test_a_recipe_and_a_job_are_the_same_on_any_number_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "check_family", lambda spec, gpus: None)  # as if mini were large
    found = [resolve(Request(verb="generate", prompt="a red ball", seed=1, gpus=gpus)) for gpus in (None, 2)]
    assert found[1].request.gpus == 2
    assert len({repr(each.request_of(each.variants[0])) for each in found}) == 1
    assert len({jobs.key_of(each, Delivery()) for each in found}) == 1
