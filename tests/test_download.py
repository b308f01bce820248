"""Fetching models from a hub on this machine that breaks off, stalls, lies, limits, ignores ranges and fails."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from filelock import FileLock
from huggingface_hub import constants

from conftest import Serve
from local_hub import Fault, LocalHub, digest_of
from sora import catalog
from sora.catalog import digests, download, fetch, hub, listing, transfer
from sora.errors import ModelError
from test_hub import COMMIT, FILES, FIRST, NEEDED, OTHER, SECOND, SPEC, laid

LARGE = bytes(range(256)) * 800  # 200 kB, several pieces
CONTENT = FILES | {FIRST: LARGE}
DIGEST = digest_of(FIRST, LARGE)
HALF = len(LARGE) // 2
NAMES = [name for name in FILES if name != "README.md"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's, and no record of anything."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "own"))
    return tmp_path / "cache"


@pytest.fixture
def blobs(cache: Path) -> Path:
    return cache / "models--someone--tiny" / "blobs"


@pytest.fixture
def server(cache: Path, serve: Serve) -> LocalHub:
    """The hub, with a model of which one file is large."""
    return serve(SPEC.repo, COMMIT, CONTENT)


def lay_part(blobs: Path, content: bytes) -> Path:
    """The beginning of the large file, as a run that was killed leaves it."""
    blobs.mkdir(parents=True, exist_ok=True)
    part = blobs / f"{DIGEST}.incomplete"
    part.write_bytes(content)
    return part


def assert_all_is_well(blobs: Path) -> None:
    """Every file is there under its digest, and nothing else is."""
    folder = blobs.parent / "snapshots" / COMMIT
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == set(NAMES)
    assert all((folder / name).read_bytes() == CONTENT[name] for name in NAMES)
    assert sorted(p.name for p in blobs.iterdir()) == sorted({digest_of(n, CONTENT[n]) for n in NAMES})


# --- what is fetched ---------------------------------------------------------------------------------------------


def test_the_cache_is_huggingface_hubs(server: LocalHub, cache: Path, blobs: Path):
    """The files that are needed, under the names that the library gives them; it finds them without the network."""
    folder = download.pull(SPEC)
    assert folder == hub.local_path(SPEC) == blobs.parent / "snapshots" / COMMIT
    assert_all_is_well(blobs)
    assert (folder / FIRST).readlink() == Path(f"../../../blobs/{DIGEST}")
    found = huggingface_hub.snapshot_download(
        SPEC.repo, revision=COMMIT, cache_dir=str(cache), local_files_only=True, allow_patterns=list(SPEC.files)
    )
    assert Path(found) == folder
    scan = huggingface_hub.scan_cache_dir(cache)
    assert not scan.warnings and {file.file_name for r in scan.repos for v in r.revisions for file in v.files}
    asked = len(server.requests)
    download.pull(SPEC)
    assert len(server.requests) == asked, "what is here is not asked for again"


def test_a_branch_is_noted(server: LocalHub, blobs: Path):
    assert download.pull(replace(SPEC, revision="main")).name == COMMIT
    assert (blobs.parent / "refs" / "main").read_text() == COMMIT
    assert sorted(p.name for p in blobs.parent.iterdir()) == ["blobs", "refs", "snapshots"]


def test_only_what_is_missing_is_fetched(server: LocalHub, cache: Path, blobs: Path):
    laid(cache, "model_index.json", SECOND)
    download.pull(SPEC)
    assert {name for _, name, _ in server.requests} == {"", "net/config.json", FIRST}
    assert_all_is_well(blobs)


def test_the_same_bytes_under_two_names_are_fetched_once(cache: Path, blobs: Path, serve: Serve):
    spec = replace(SPEC, files=("a.json", "b.json"))
    server = serve(SPEC.repo, COMMIT, {"a.json": b"{ }", "b.json": b"{ }"})
    folder = download.pull(spec)
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes() == b"{ }"
    assert len(server.requests) == 2 and len(list(blobs.iterdir())) == 1


def test_where_links_cannot_be_files_lie_in_the_snapshot(
    server: LocalHub, blobs: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    (download.pull(SPEC) / SECOND).unlink()
    folder = download.pull(SPEC)
    assert all((folder / name).read_bytes() == CONTENT[name] for name in NAMES)
    assert len(server.starts(FIRST)) == 1 and not list(blobs.iterdir())


def test_progress_counts_earlier_runs(server: LocalHub, blobs: Path):
    lay_part(blobs, LARGE[:HALF])
    seen: list[tuple[int, int]] = []
    download.pull(SPEC, lambda done, total: seen.append((done, total)))
    total = sum(len(CONTENT[name]) for name in NAMES)
    counts = [done for done, _ in seen]
    assert {of for _, of in seen} == {total} and counts == sorted(counts)
    assert counts[0] >= HALF and counts[-1] == total


# --- going on ----------------------------------------------------------------------------------------------------


def test_a_part_is_gone_on_from(server: LocalHub, blobs: Path):
    lay_part(blobs, LARGE[:HALF])
    download.pull(SPEC)
    assert (server.starts(FIRST), server.sent[FIRST]) == ([HALF], len(LARGE) - HALF)
    assert_all_is_well(blobs)


def test_a_part_that_has_all_needs_only_its_check(server: LocalHub, blobs: Path):
    lay_part(blobs, LARGE)
    download.pull(SPEC)
    assert server.starts(FIRST) == []
    assert_all_is_well(blobs)


@pytest.mark.parametrize("content", [b"x" * HALF, b"x" * len(LARGE), b"x" * 2 * len(LARGE)])
def test_a_part_that_is_wrong_is_fetched_once_more(server: LocalHub, blobs: Path, content: bytes):
    lay_part(blobs, content)
    download.pull(SPEC)
    assert server.starts(FIRST)[-1] == 0
    assert_all_is_well(blobs)


def test_a_broken_connection_costs_nothing(server: LocalHub, blobs: Path, capfd: pytest.CaptureFixture[str]):
    server.fail(FIRST, Fault(breaks_after=50_000), Fault(breaks_after=0), Fault(breaks_after=70_000, hides_length=True))
    download.pull(SPEC)
    assert server.starts(FIRST) == [0, 50_000, 50_000, 120_000]
    assert_all_is_well(blobs)
    assert capfd.readouterr() == ("", "")


def test_a_stall_ends_after_the_librarys_timeout(server: LocalHub, blobs: Path):
    server.fail(FIRST, Fault(stalls_after=HALF))
    download.pull(SPEC)
    first, second = server.starts(FIRST)
    assert first == 0 and HALF - transfer.PIECE <= second <= HALF
    assert_all_is_well(blobs)


def test_ranges_that_are_ignored(server: LocalHub, blobs: Path):
    """The whole file comes again, and what is here of it is passed over; a break on the way costs nothing."""
    part = lay_part(blobs, LARGE[:HALF])
    server.fail(FIRST, Fault(ignores_ranges=True, breaks_after=HALF // 2), Fault(ignores_ranges=True))
    download.pull(SPEC)
    assert server.starts(FIRST) == [HALF, HALF] and not part.exists()
    assert_all_is_well(blobs)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_failures_pass(server: LocalHub, blobs: Path, status: int, capfd: pytest.CaptureFixture[str]):
    server.fail("", Fault(status), Fault(status))
    server.fail(FIRST, *[Fault(status, {"Retry-After": "0"})] * 3)
    download.pull(SPEC)
    assert_all_is_well(blobs)
    assert capfd.readouterr() == ("", "")


def test_failures_that_do_not_pass(server: LocalHub, blobs: Path):
    lay_part(blobs, LARGE[:HALF])
    server.always[FIRST] = Fault(breaks_after=0)
    with pytest.raises(ModelError, match=r"cannot be reached .*; what has come stays, go on with: sora models pull"):
        download.pull(SPEC)
    assert len(server.starts(FIRST)) == transfer.ATTEMPTS
    assert hub.local_copy(SPEC).state == hub.PARTIAL and (blobs / f"{DIGEST}.incomplete").stat().st_size == HALF


def test_a_hub_that_asks_for_patience(server: LocalHub, blobs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transfer, "MENTIONED_PAUSE", 0.1)
    server.fail(FIRST, Fault(429, {"Retry-After": "0.2"}), Fault(429, {"RateLimit": '"resolvers";r=0;t=0'}))
    notes: list[str] = []
    download.pull(SPEC, on_note=notes.append)
    assert notes == ["the hub answered 429 (too many requests); trying again in 0 s"]
    assert_all_is_well(blobs)


def test_a_hub_that_asks_for_too_much_patience(server: LocalHub):
    server.fail(FIRST, Fault(429, {"Retry-After": "3600"}))
    with pytest.raises(ModelError, match=r"429 .too many requests.; it asks to wait 3600 s; then try again: sora"):
        download.pull(SPEC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=12;t=55'}, None),
        ({}, None),
    ],
)
def test_how_long_a_hub_asks_to_wait(headers: dict[str, str], seconds: float | None):
    assert transfer.requested_pause(headers) == seconds


# --- lies --------------------------------------------------------------------------------------------------------


def test_wrong_bytes_of_the_right_length_are_refused(server: LocalHub, blobs: Path):
    server.always[FIRST] = Fault(content=LARGE[:-1] + b"x")
    with pytest.raises(ModelError, match=f"other bytes of {FIRST} than were published, and they are deleted"):
        download.pull(SPEC)
    assert not list(blobs.glob(f"{DIGEST}*"))
    server.always.clear()
    download.pull(SPEC)
    assert_all_is_well(blobs)


def test_wrong_bytes_of_a_small_file_are_refused(server: LocalHub):
    server.always["net/config.json"] = Fault(content=b"[]")
    with pytest.raises(ModelError, match=r"other bytes of net/config\.json"):
        download.pull(SPEC)


@pytest.mark.parametrize("size", [HALF // 2, len(LARGE) - 1, len(LARGE) + 1])
@pytest.mark.parametrize("part", [0, HALF])
def test_a_wrong_length_is_refused_and_the_part_stays(server: LocalHub, blobs: Path, size: int, part: int):
    kept = lay_part(blobs, LARGE[:part])
    server.always[FIRST] = Fault(content=(LARGE * 2)[:size])
    with pytest.raises(ModelError, match=f"bytes of {FIRST}, where {len(LARGE)} were|less of {FIRST} than the"):
        download.pull(SPEC)
    assert kept.read_bytes() == LARGE[:part]


def test_more_than_there_should_be_is_not_read(server: LocalHub, blobs: Path):
    server.fail(FIRST, Fault(content=LARGE + b"more" * 1000, hides_length=True))
    download.pull(SPEC)
    assert_all_is_well(blobs)


def test_a_mirror_that_compresses(server: LocalHub, blobs: Path):
    compressed = {"Content-Encoding": "gzip"}
    server.fail("", Fault(content=gzip.compress(json.dumps(server.listing()).encode()), headers=compressed))
    server.fail(FIRST, Fault(content=gzip.compress(LARGE), headers=compressed))
    download.pull(SPEC)
    assert_all_is_well(blobs)


def entry(**changes: object) -> dict[str, object]:
    return {"rfilename": "net/config.json", "size": 2, "blobId": "ab" * 20} | changes


@pytest.mark.parametrize(
    ("told", "fragment"),
    [
        (b"<html>Log in to the Wi-Fi</html>", "lists no files as a hub of Hugging Face's would; is HF_ENDPOINT right"),
        (b"[" * 100_000, "lists no files"),
        ({"sha": COMMIT}, "lists no files"),
        ({"sha": COMMIT, "siblings": ["model_index.json"]}, "lists no files"),
        ({"sha": OTHER, "siblings": []}, f"gives '{OTHER}' for someone/tiny at {COMMIT}"),
        ({"sha": "../..", "siblings": []}, "gives '../..'"),
        ({"sha": COMMIT, "siblings": [entry(rfilename="net/../../../evil.json")]}, "no path inside a model"),
        ({"sha": COMMIT, "siblings": [entry(rfilename="net//evil.json")]}, "no path inside a model"),
        ({"sha": COMMIT, "siblings": [entry(blobId="../../../evil")]}, "answered 404"),
        ({"sha": COMMIT, "siblings": []}, "lacks model_index.json, net/config.json, .* on the hub too"),
    ],
)
def test_a_listing_that_makes_no_sense(cache: Path, serve: Serve, told: bytes | dict[str, object], fragment: str):
    server = serve(SPEC.repo, COMMIT, {})
    server.always[""] = Fault(content=told if isinstance(told, bytes) else repr(told).replace("'", '"').encode())
    with pytest.raises(ModelError, match=fragment) as caught:
        download.pull(SPEC)
    assert len(str(caught.value).splitlines()) == 1
    assert not [p for p in cache.parent.rglob("*") if "evil" in p.name]


def test_a_listing_without_end(server: LocalHub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listing, "MAX_BYTES", 100)
    with pytest.raises(ModelError, match="lists no files"):
        download.pull(SPEC)


def test_a_hub_whose_listing_has_names_alone(server: LocalHub, blobs: Path):
    """Digests and sizes are asked for file by file."""
    server.lists_digests = False
    download.pull(SPEC)
    assert [method for method, name, _ in server.requests if name == FIRST] == ["HEAD", "GET"]
    assert_all_is_well(blobs)


def test_a_damaged_file_in_the_cache_is_replaced(server: LocalHub, cache: Path, blobs: Path):
    laid(cache, SECOND)
    blobs.joinpath(digest_of(SECOND, FILES[SECOND])).write_bytes(b"x" * len(FILES[SECOND]))
    download.pull(SPEC)
    assert_all_is_well(blobs)


def test_what_was_checked_is_not_read_again(server: LocalHub, blobs: Path, monkeypatch: pytest.MonkeyPatch):
    (download.pull(SPEC) / FIRST).unlink()
    monkeypatch.setattr(digests, "of_file", lambda *_: pytest.fail("it was read again"))
    download.pull(SPEC)
    assert len(server.starts(FIRST)) == 1
    hub.remove(SPEC)
    assert not digests.is_recorded(blobs / DIGEST, DIGEST)


# --- others, and the disk ----------------------------------------------------------------------------------------


def test_two_pulls_never_write_one_part(server: LocalHub, cache: Path, blobs: Path):
    """huggingface_hub's own lock of the file is waited for."""
    notes, lock = [], cache / ".locks" / "models--someone--tiny" / f"{DIGEST}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        thread = threading.Thread(target=download.pull, args=(SPEC,), kwargs={"on_note": notes.append})
        thread.start()
        while not notes:
            time.sleep(0.01)
        assert server.starts(FIRST) == []
    thread.join()
    assert notes == [f"another program fetches {FIRST}; waiting for it"]
    assert_all_is_well(blobs)


def test_parts_that_nobody_goes_on_with_are_swept(server: LocalHub, blobs: Path):
    """Later versions of huggingface_hub give every attempt a name of its own."""
    lay_part(blobs, LARGE[:HALF])
    (blobs / f"{DIGEST}.0a1b2c3d.incomplete").write_bytes(LARGE[:HALF])
    download.pull(SPEC)
    assert_all_is_well(blobs)


def test_a_token_stays_with_the_hub(server: LocalHub, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    other = serve(SPEC.repo, COMMIT, CONTENT)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    server.fail(FIRST, Fault(302, {"Location": f"{other.url}/{SPEC.repo}/resolve/{COMMIT}/{FIRST}"}))
    download.pull(SPEC)
    assert all(headers["Authorization"] == "Bearer hf_secret" for headers in server.headers_of_requests)
    assert other.starts(FIRST) == [0] and "Authorization" not in other.headers_of_requests[0]


def test_a_full_disk_is_seen_before_any_file_is_fetched(server: LocalHub, blobs: Path, monkeypatch: pytest.MonkeyPatch):
    """What is here already needs no room."""
    lay_part(blobs, LARGE[:HALF])
    needed = download.SLACK + NEEDED - len(FILES[FIRST]) + len(LARGE) - HALF
    monkeypatch.setattr(download, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(ModelError, match="free some, or set HF_HOME"):
        download.pull(SPEC)
    assert [name for _, name, _ in server.requests] == [""]
    monkeypatch.setattr(download, "disk_usage", lambda _: SimpleNamespace(free=needed))
    download.pull(SPEC)


@pytest.mark.parametrize(
    ("error", "fragment"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "disk of .* is full; free 3.0 kB, then go on with: sora mod",
        ),
        (PermissionError(errno.EACCES, "denied"), "cannot be written to; set HF_HOME"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written to; set HF_HOME"),
        (OSError(errno.EIO, "Input/output error"), "cannot be used .Input/output error."),
    ],
)
def test_a_disk_that_fails(
    server: LocalHub, blobs: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, fragment: str
):
    part = lay_part(blobs, LARGE[:HALF])

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(fetch, "_write", fail)
    with pytest.raises(ModelError, match=fragment):
        download.pull(SPEC)
    assert part.stat().st_size == HALF


@pytest.mark.parametrize(
    ("fault", "fragment"),
    [
        (Fault(403, {"X-Error-Code": "GatedRepo"}), "accept its licence at https://huggingface.co/someone/tiny"),
        (Fault(401), "shows no someone/tiny"),
        (Fault(404, {"X-Error-Code": "RepoNotFound"}), "shows no someone/tiny"),
        (Fault(404, {"X-Error-Code": "RevisionNotFound"}), f"no {COMMIT} any more"),
        (Fault(401, {"X-Error-Message": "Invalid credentials in Authorization header"}), "refuses .401.; log in"),
        (Fault(403), "refuses .403.; log in"),
        (Fault(503), "answered 503; try again later: sora models pull tiny"),
        (Fault(breaks_after=0), "cannot be reached"),
    ],
)
@pytest.mark.parametrize("name", ["", FIRST])
def test_what_goes_wrong_is_one_line(server: LocalHub, fault: Fault, fragment: str, name: str):
    server.always[name] = fault
    with pytest.raises(ModelError, match=fragment) as caught:
        download.pull(SPEC)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("tiny could not be fetched: ")


def test_no_hub_at_all(server: LocalHub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelError, match=r"cannot be reached .*refused"):
        download.pull(SPEC)


def test_a_bug_is_no_answer_of_the_hub(server: LocalHub, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(fetch, "_write", fail)
    with pytest.raises(TypeError, match="a bug"):
        download.pull(SPEC)


def test_offline(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="cannot be fetched offline"):
        download.pull(SPEC)


# --- the end of a process ----------------------------------------------------------------------------------------

REAL = catalog.MODELS["wan2.1-1.3b"]


def files_of(spec: catalog.ModelSpec, size: int) -> dict[str, bytes]:
    """Files that a row of the catalog needs, with as many bytes in each of its weights."""
    names = [name.replace("*", "weights") for name in spec.files if "*" not in name or name.endswith(".safetensors")]
    return {
        name: hashlib.sha256(name.encode()).digest() * (size // 32) if "weights" in name else b"{}" for name in names
    }


@pytest.fixture
def command(cache: Path, serve: Serve) -> Callable[[LocalHub], subprocess.Popen[str]]:
    """command(server): ``sora models pull`` as a program of its own."""

    def start(server: LocalHub) -> subprocess.Popen[str]:
        place = {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(cache), "NO_PROXY": "127.0.0.1"}
        argv = [sys.executable, "-m", "sora", "models", "pull", REAL.name]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # Ctrl-C is heeded as in a terminal; what a shell starts in the background ignores it.
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(argv, env={**os.environ, **place}, preexec_fn=heed, **pipes)  # type: ignore[call-overload]

    return start


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_pull_that_ends_early_is_gone_on_with(
    cache: Path, serve: Serve, command: Callable[[LocalHub], subprocess.Popen[str]], number: int, status: int
):
    """Whatever ends the program, the next pull fetches what had not come, and nothing else."""
    content = files_of(REAL, 400_000)
    server = serve(REAL.repo, REAL.revision, content, rate=400_000)
    with command(server) as program:
        while sum(server.sent.values()) < 300_000:
            assert program.poll() is None
            time.sleep(0.02)
        server.paused.set()  # whoever waits for what is still to come waits for ever
        program.send_signal(number)
        try:
            stdout, stderr = program.communicate(timeout=60)
        finally:
            program.kill()
            server.paused.clear()
    assert (program.returncode, stdout) == (status, "")
    if number != signal.SIGKILL:
        assert stderr.splitlines()[1:] == [
            f"sora: stopped; what has come stays, go on with: sora models pull {REAL.name}"
        ]
    parts = {path.stem: path.stat().st_size for path in (hub.repo_folder(REAL) / "blobs").glob("*.incomplete")}
    assert sum(parts.values()) > 150_000
    server.rate, before = 0, len(server.requests)
    folder = download.pull(REAL)
    starts = {digest_of(name, content[name]): start for _, name, start in server.requests[before:] if name}
    assert {digest: starts[digest] for digest in parts} == parts
    assert all((folder / name).read_bytes() == content[name] for name in content)
    assert not list(cache.rglob("*.incomplete"))
