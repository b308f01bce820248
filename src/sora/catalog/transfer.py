"""One request of the hub's: opened, understood, and asked again with growing pauses where the network fails.

huggingface_hub brings the client, ``requests`` up to 0.36 and one of httpx's kind since, with the proxies and the
certificates that a person set for it. What it retries and logs by itself is not used.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any, TypeVar

ATTEMPTS = 6  # in a row that brought nothing
FIRST_PAUSE = 1.0  # seconds before the second attempt; each pause is twice the last
MAX_PAUSE = 30.0
MAX_REQUESTED_PAUSE = 300.0  # seconds that a hub may ask to wait; its limits count by five minutes
MENTIONED_PAUSE = 4.0  # seconds of a pause that a person is shown
PIECE = 1 << 16  # bytes that are taken from a connection at once

LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "huggingface_hub")
RETRIED_STATUSES = (408, 425, 429, 500, 502, 503, 504)

T = TypeVar("T")


class Stopped(Exception):
    """The pull ends; whatever has come stays."""


class Refused(Exception):
    """An answer that brings no bytes. status: of HTTP. code, text: what the hub adds. wait: seconds that it asks to
    wait, None where it asks for nothing."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"the hub answered {status}")
        self.status = status
        self.code = headers.get("X-Error-Code") or ""
        self.text = headers.get("X-Error-Message") or ""
        self.wait = requested_pause(headers)


class Dropped(ConnectionError):
    """A connection that ended before all bytes had come."""


@dataclass
class Session:
    """What the requests of one pull share. stop: set once all must end. notes: what a person should know, not yet
    shown."""

    headers: Mapping[str, str]
    timeout: float
    stop: Event = field(default_factory=Event)
    notes: deque[str] = field(default_factory=deque)

    def check(self) -> None:
        """Raises Stopped once all must end."""
        if self.stop.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Waits, but not beyond the end. Raises Stopped."""
        if self.stop.wait(seconds):
            raise Stopped


@dataclass(frozen=True)
class Response:
    """pieces: the body as it comes. is_encoded: whether it was compressed on the way, against what was asked, so that
    its length is not the header's."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]
    is_encoded: bool = False


@contextmanager
def opened(session: Session, method: str, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Response]:
    """An answer whose body has not been read. Only GET follows redirects. Raises Refused for a status from 400 on, and
    what the client raises."""
    from huggingface_hub.utils import get_session

    client: Any = get_session()
    sent = {"Accept-Encoding": "identity", **session.headers, **(headers or {})}
    follow = method == "GET"
    if callable(getattr(client, "stream", None)):
        with client.stream(method, url, headers=sent, timeout=session.timeout, follow_redirects=follow) as found:
            encoded = _is_encoded(found.headers)
            pieces = found.iter_bytes() if encoded else found.iter_raw()
            yield _understood(Response(found.status_code, found.headers, pieces, encoded))
    else:
        settings = {"timeout": session.timeout, "stream": True, "allow_redirects": follow}
        with client.request(method, url, headers=sent, **settings) as found:
            encoded = _is_encoded(found.headers)
            pieces = found.raw.stream(PIECE, decode_content=encoded)
            yield _understood(Response(found.status_code, found.headers, pieces, encoded))


def head(session: Session, url: str, most: int, headers: Mapping[str, str] | None = None) -> bytes:
    """The first bytes of an answer's body, at most so many. Raises as ``opened``, and Stopped."""
    found = bytearray()
    with opened(session, "GET", url, headers) as response:
        for piece in response.pieces:
            session.check()
            found += piece
            if len(found) >= most:
                break
    return bytes(found[:most])


def _is_encoded(headers: Mapping[str, str]) -> bool:
    return (headers.get("Content-Encoding") or "identity").strip().lower() != "identity"


def _understood(response: Response) -> Response:
    if response.status >= 400:
        raise Refused(response.status, response.headers)
    return response


class Retries:
    """Counts attempts that failed in a row, and waits between them."""

    def __init__(self, session: Session, attempts: int = 0) -> None:
        self.session, self.attempts, self.failures = session, attempts or ATTEMPTS, 0

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self, error: Exception) -> None:
        """Waits until the next attempt makes sense. Raises the error where none does, and Stopped."""
        self.failures += 1
        wait = error.wait if isinstance(error, Refused) else None
        if not is_transient(error) or self.failures >= self.attempts or (wait or 0) > MAX_REQUESTED_PAUSE:
            raise error
        pause = min(FIRST_PAUSE * 2 ** (self.failures - 1), MAX_PAUSE) if wait is None else wait
        if pause >= MENTIONED_PAUSE:
            problem = reason(error) if isinstance(error, Refused) else f"the hub cannot be reached ({reason(error)})"
            self.session.notes.append(f"{problem}; trying again in {pause:.0f} s")
        self.session.pause(pause)


def retried(session: Session, ask: Callable[[], T], attempts: int = 0) -> T:
    """The result of a request that is asked again while it fails in a way that may pass. Raises its last error."""
    retries = Retries(session, attempts)
    while True:
        try:
            return ask()
        except Exception as error:
            retries.failed(error)


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    return error.status in RETRIED_STATUSES if isinstance(error, Refused) else is_of_the_network(error)


def is_of_the_network(error: Exception) -> bool:
    """Whether it tells of a connection, not of a bug or a wrong address."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return type(error).__module__.split(".")[0] in LIBRARIES and not isinstance(error, ValueError)


def reason(error: Exception) -> str:
    """An error of the network in one line."""
    if isinstance(error, Refused):
        return f"{error} (too many requests)" if error.status == 429 else str(error)
    return (str(error).strip().splitlines() or [""])[0].strip() or type(error).__name__


def requested_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds that a hub asks to wait: in Retry-After, as a number or a date, or as the rest of a limit's time."""
    asked = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", asked):
        return float(asked)
    if asked:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
        except (TypeError, ValueError, OverflowError):
            return None
    rest = re.search(r";\s*r=0\b.*?;\s*t=(\d{1,9})", headers.get("RateLimit") or "")
    return float(rest[1]) if rest else None
