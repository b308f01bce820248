"""A hub of models on this machine: a listing, and files that can be fetched whole or in ranges.

It can be told to break off, to stall, to lie about bytes and lengths, to limit how often it is asked, to ignore ranges
and to fail. As a program, it serves a folder until it is killed:

    python tests/local_hub.py FOLDER OWNER/NAME COMMIT BYTES_A_SECOND [SEED]

Its address is the first line of stdout, and ``/counters`` says what it was asked for. With a seed it is unreliable: two
of three requests for a file fail in one of the ways above.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PIECE = 1 << 14
SMALL = ".json"  # ends the names of files that git keeps itself; of the others it keeps SHA-256


@dataclass(frozen=True)
class Fault:
    """What happens to one request for a file's bytes, or for the listing.

    status: an answer without bytes. headers: of the answer. breaks_after, stalls_after: bytes of the body before the
    connection is closed, or silent. ignores_ranges: the answer is the whole file. content: other bytes than the file's.
    hides_length: the body ends where the connection does.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_after: int | None = None
    stalls_after: int | None = None
    ignores_ranges: bool = False
    content: bytes | None = None
    hides_length: bool = False


def digest_of(name: str, content: bytes) -> str:
    """As the hub names it: git's for small files, SHA-256 for the rest."""
    if name.endswith(SMALL):
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return hashlib.sha256(content).hexdigest()


class Unreliable:
    """Faults at random, for ``LocalHub.draw``."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def __call__(self, content: bytes) -> Fault:
        chance, where = self.random.random(), self.random.randrange(len(content) + 1)
        if chance < 0.3:
            return Fault(breaks_after=where, hides_length=chance < 0.1)
        if chance < 0.4:
            return Fault(stalls_after=where)
        if chance < 0.5:
            return Fault(self.random.choice((500, 502, 503, 429)), {"Retry-After": "0"})
        if chance < 0.6:
            return Fault(ignores_ranges=True, breaks_after=where)
        if chance < 0.67:
            return Fault(content=bytes(byte ^ 1 for byte in content))
        return Fault()


class LocalHub:
    """A server on a free port. faults: of requests to come, by the name of a file; "" for the listing. always: of all
    requests after those. draw: makes faults of a file's content instead. requests: (method, name, first byte asked
    for) of all so far. sent: bytes of bodies, by name. lists_digests: whether the listing says more than names. rate:
    bytes a second of all files together, 0 for no limit. paused: while it is set, no file goes on.
    """

    def __init__(self, repo: str, commit: str, files: Mapping[str, bytes], rate: float = 0) -> None:
        self.repo, self.commit, self.files, self.rate = repo, commit, dict(files), rate
        self.faults: dict[str, deque[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.draw: Callable[[bytes], Fault] | None = None
        self.requests: list[tuple[str, str, int]] = []
        self.sent: Counter[str] = Counter()
        self.headers_of_requests: list[dict[str, str]] = []
        self.lists_digests, self.licence = True, "mit"
        self.stopping, self.paused = threading.Event(), threading.Event()
        self._pace, self._next = threading.Lock(), 0.0
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def fail(self, name: str, *faults: Fault) -> None:
        self.faults.setdefault(name, deque()).extend(faults)

    def fault(self, name: str) -> Fault:
        if waiting := self.faults.get(name):
            return waiting.popleft()
        if self.draw is not None and name:
            return self.draw(self.files[name])
        return self.always.get(name, Fault())

    def starts(self, name: str) -> list[int]:
        """The first bytes that were asked for of a file, request by request."""
        return [start for method, asked, start in self.requests if method == "GET" and asked == name]

    def listing(self) -> dict[str, Any]:
        facts = {"id": self.repo, "sha": self.commit, "cardData": {"license": self.licence}}
        return {**facts, "siblings": [self._entry(name) for name in self.files]}

    def _entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        entry: dict[str, Any] = {"rfilename": name}
        if not self.lists_digests:
            return entry
        entry |= {"size": len(content), "blobId": digest_of(SMALL, content)}
        if not name.endswith(SMALL):
            entry["lfs"] = {"sha256": digest_of(name, content), "size": len(content), "pointerSize": 134}
        return entry

    def slow_down(self, count: int) -> None:
        """Waits so long that all connections together send no more than ``rate`` bytes a second."""
        while self.paused.is_set() and not self.stopping.wait(0.02):
            pass
        if not self.rate:
            return
        with self._pace:
            self._next = max(self._next, time.monotonic()) + count / self.rate
            until = self._next
        self.stopping.wait(max(0.0, until - time.monotonic()))

    @contextmanager
    def running(self) -> Iterator[LocalHub]:
        thread = threading.Thread(target=lambda: self.server.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            self.server.shutdown()
            self.server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, method: str) -> None:
        try:
            self._route(method, unquote(urlsplit(self.path).path))
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _route(self, method: str, path: str) -> None:
        hub, prefix = self.hub, f"/{self.hub.repo}/resolve/{self.hub.commit}/"
        found = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start, stop = (int(found[1]), int(found[2]) + 1 if found[2] else None) if found else (0, None)
        hub.headers_of_requests.append(dict(self.headers))
        if path == "/counters":
            self._send(200, json.dumps({"sent": hub.sent, "requests": hub.requests}).encode(), {}, Fault())
        elif path.startswith(f"/api/models/{hub.repo}/revision/"):
            hub.requests.append((method, "", 0))
            fault = hub.fault("")
            body = json.dumps(hub.listing()).encode() if fault.content is None else fault.content
            self._send(fault.status or 200, b"" if fault.status else body, fault.headers, fault)
        elif path.startswith(prefix) and path.removeprefix(prefix) in hub.files:
            self._file(method, path.removeprefix(prefix), start, stop)
        else:
            self._send(
                404, b"", {"X-Error-Code": "EntryNotFound" if path.startswith(prefix) else "RepoNotFound"}, Fault()
            )

    def _file(self, method: str, name: str, start: int, stop: int | None) -> None:
        hub = self.hub
        hub.requests.append((method, name, start))
        content = hub.files[name]
        tag = {"ETag": f'"{digest_of(name, content)}"', "X-Repo-Commit": hub.commit, "Accept-Ranges": "bytes"}
        if method == "HEAD":
            self._send(200, content, tag, Fault(), name=None, is_head=True)
            return
        fault = hub.fault(name)
        if fault.status:
            self._send(fault.status, b"", fault.headers, fault)
            return
        content = content if fault.content is None else fault.content
        if (start or stop) and not fault.ignores_ranges:
            if start >= len(content):
                self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"}, fault)
                return
            end = min(len(content), stop or len(content))
            tag["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
            self._send(206, content[start:end], {**tag, **fault.headers}, fault, name)
        else:
            self._send(200, content, {**tag, **fault.headers}, fault, name)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        fault: Fault,
        name: str | None = None,
        is_head: bool = False,
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if fault.hides_length:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not is_head:
            self._body(body, fault, name)

    def _body(self, body: bytes, fault: Fault, name: str | None) -> None:
        ends = [limit for limit in (fault.breaks_after, fault.stalls_after) if limit is not None]
        for first in range(0, min([len(body), *ends]), PIECE):
            piece = body[first : min([first + PIECE, len(body), *ends])]
            if name is not None:
                self.hub.slow_down(len(piece))
            self.wfile.write(piece)
            if name is not None:
                self.hub.sent[name] += len(piece)
        if fault.stalls_after is not None:
            self.hub.stopping.wait(30)
        if ends:
            self.close_connection = True


def main() -> None:
    folder, repo, commit, rate, *seed = sys.argv[1:]
    root = Path(folder)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with LocalHub(repo, commit, files, float(rate)).running() as hub:
        hub.draw = Unreliable(int(seed[0])) if seed else None
        print(hub.url, flush=True)  # noqa: T201, whoever starts it reads the address
        threading.Event().wait()


if __name__ == "__main__":
    main()
