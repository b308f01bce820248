"""A training stage that runs in a process of its own while the main process runs other stages."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import torch


class BackgroundStage:
    """A forked process whose output goes to the file ``log``. It must be started before anything touches a graphics
    card."""

    def __init__(self, name: str, work: Callable[[], None], log: Path) -> None:
        self.name, self.log, self._work = name, log, work
        self._process = mp.get_context("fork").Process(target=self._run, daemon=False)
        self._process.start()

    def _run(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with self.log.open("w", buffering=1) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            torch.set_num_threads(1)
            try:
                self._work()
            except BaseException:
                traceback.print_exc(file=log)
                os._exit(1)
        os._exit(0)

    def join(self, seconds: float | None = None) -> bool:
        """Wait at most ``seconds`` for the process to end, then kill it. Returns whether it succeeded; if it did not,
        the end of its log is printed."""
        self._process.join(seconds)
        if self._process.exitcode == 0:
            return True
        self.stop()
        print(f"{self.name} failed in the background:\n{self.log.read_text()[-1500:]}", flush=True)
        return False

    def stop(self) -> None:
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
