"""A session whose films several processes paint."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wan_folders import with_four_heads

import sora
from sora.engine.progress import ProgressEvent
from sora.errors import SoraError, UsageError

FRAMES = 9


def test_a_session_goes_on_after_one_of_its_processes_was_ended(tmp_path: Path) -> None:
    """The film that was under way fails in a line; the next one is painted by new processes."""
    folder = with_four_heads("t2v", tmp_path / "t2v")
    options: dict[str, Any] = {"model": folder, "device": "cpu", "size": (96, 80), "frames": FRAMES, "seed": 7}
    alone = sora.generate("a red cat", steps=3, **options).frames
    before, session = children(), sora.load(model=folder, device="cpu", gpus=2)
    (worker,) = children() - before

    def end_worker(event: ProgressEvent) -> None:
        if event.phase == "sample" and event.done == 1:
            os.kill(worker, signal.SIGKILL)

    with pytest.raises(SoraError, match=r"^process 1 of gpus 2 was ended by SIGKILL"):
        session.generate("a red cat", steps=3, on_progress=end_worker, **options)
    assert worker not in children()
    video = session.generate("a red cat", steps=3, **options)
    assert np.abs(video.frames.astype(int) - alone).max() <= 1 and "gpus" not in str(video.recipe)
    with pytest.raises(UsageError, match="another session"):
        sora.generate("a red cat", gpus=2, **options)
    session.close()
    assert children() == before


def children() -> set[int]:
    """The processes of this one."""
    threads = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(process) for file in threads for process in file.read_text().split()}
