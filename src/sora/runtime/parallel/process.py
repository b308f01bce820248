"""One process of a rank above 0, as rank 0 sees it: started, and how it ended in words."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

import torch

from sora.errors import printable

GRACE = 5.0  # seconds: in which workers that are asked to end do so, and in which a failure's cause is known
MAX_ERROR_BYTES = 4000  # of what a worker wrote before it ended


class WorkerProcess:
    """It runs a module that calls ``worker.serve``. replies: what it answered, as bytes."""

    def __init__(self, module: str, rank: int, device: torch.device) -> None:
        own, theirs = socket.socketpair()
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, as long as the process
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                env=_environment(rank, device),
                start_new_session=True,  # Ctrl-C is for rank 0 alone, which may let a step end first
            )
        self.rank, self.pipe = rank, Connection(own.detach())
        self.replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def end(self) -> str:
        """How it ended, in words; it has closed its pipe."""
        try:
            status = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        if status < 0:
            why = ", as Linux does where its memory runs out" if status == -signal.SIGKILL else ""
            return f"was ended by {signal.Signals(-status).name}{why}"
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - MAX_ERROR_BYTES))
        lines = self.errors.read().decode(errors="replace").strip().splitlines()  # the last says which exception
        return f"ended with status {status}" + (
            f": {printable(lines[-1].removeprefix(f'[rank{self.rank}]: '), 300)}" if lines else ""
        )


def _environment(rank: int, device: torch.device) -> dict[str, str]:
    """Of the process of a rank: it finds this very program, and sees its own device alone."""
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    environment["PYTHONSAFEPATH"] = "1"  # and no module of the folder that the program was started in
    if device.type == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        cards = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
        del cards[torch.cuda.current_device()]  # rank 0's
        environment["CUDA_VISIBLE_DEVICES"] = cards[rank - 1]
    return environment
