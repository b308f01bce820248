"""A process of a rank above 0: it computes what rank 0 asks for, until its pipe closes."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from sora.errors import SoraError
from sora.runtime.parallel.failures import is_out_of_memory, memory_error
from sora.runtime.parallel.messages import unpacked
from sora.runtime.parallel.ranks import Ranks
from sora.runtime.parallel.workers import Begin, Reply, Setup

Handler = Callable[[Any], Any]
"""Computes what a message asks for, and returns what is to be answered, None for nothing."""


Prepare = Callable[[Any, Ranks], Handler]
"""Makes ready for the messages that follow the job of a ``Begin``."""


def serve(prepare: Prepare) -> None:
    """Join the group and handle messages for ever. Rank 0 is sent an error, which ends the
    process, since the others wait for it in a collective."""
    pipe = Connection(int(sys.argv[1]))
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, inbox), daemon=True).start()
    setup: Setup = pickle.loads(inbox.get())
    try:
        _handle_messages(setup, pipe, inbox, prepare)
    except SoraError as error:
        _answer(pipe, Reply(error=error))
        raise
    except RuntimeError as error:
        if is_out_of_memory(error):
            _answer(pipe, Reply(error=memory_error(setup.rank)))
        else:
            time.sleep(1)  # where it is another process's end that a collective failed of, that one is noticed first
        raise


def _handle_messages(setup: Setup, pipe: Connection, inbox: queue.SimpleQueue[bytes], prepare: Prepare) -> None:
    if setup.threads:
        torch.set_num_threads(setup.threads)
    _answer(pipe, Reply())
    ranks = Ranks(setup.rank, setup.size, torch.device(setup.device), setup.store)
    _answer(pipe, Reply(torch.cuda.mem_get_info()[0] if ranks.device.type == "cuda" else None))
    handle: Handler | None = None
    while True:
        message, tensors = unpacked(inbox.get(), ranks.device)
        ranks.broadcast(tensors)
        if isinstance(message, Begin):
            handle = None  # frees one model before another is loaded
            handle = prepare(message.job, ranks)
        elif handle is not None and (answer := handle(message)) is not None:
            _answer(pipe, Reply(answer))


def _answer(pipe: Connection, reply: Reply) -> None:
    pipe.send_bytes(pickle.dumps(reply))


def _read(pipe: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            inbox.put(pipe.recv_bytes())
    except (OSError, EOFError):  # rank 0 is gone; the main thread may wait for it in a collective for ever
        os.kill(os.getpid(), signal.SIGKILL)
