"""``python -m small_memory``: the process of another device, which runs out of memory where a file says so.

The file has a line for each rank that does, as "1 sample" or "0 decode": it does so under every plan that keeps the
transformer and the autoencoder together, in the midst of a pass or of a clip.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sora.models.wan import parallel_decoding
from sora.models.wan.components import Components
from sora.networks.wan import vae_split
from sora.networks.wan.blocks import Attention
from sora.runtime.parallel import worker

FILE = "SORA_TEST_SMALL_MEMORY"


def limit(patch: pytest.MonkeyPatch, rank: int) -> None:
    """Give a rank the memory that the file says."""
    attend, split, expert = Attention.forward, vae_split.split_chunks, Components.expert
    together, calls = [False], [0]

    def check(phase: str) -> None:
        if together[0] and f"{rank} {phase}" in Path(os.environ[FILE]).read_text().splitlines():
            raise torch.OutOfMemoryError("CUDA out of memory")

    def expert_of(components: Components, number: int) -> Any:
        together[0], calls[0] = not components.plan.separate_vae, 0
        return expert(components, number)

    def attention(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:  # others have exchanged tokens with this process, and wait for it
            check("sample")
        return attend(*args)

    def chunks(*args: Any) -> Any:
        def decoding(decode: Callable[[], Any]) -> Any:
            check("decode")
            return decode()

        first, *later = split(*args)
        return [first, *(replace(chunk, decode=lambda c=chunk: decoding(c.decode)) for chunk in later)]

    patch.setattr(Components, "expert", expert_of)
    patch.setattr(Attention, "forward", attention)
    patch.setattr(parallel_decoding, "split_chunks", chunks)


if __name__ == "__main__":
    from sora.models.worker import prepare

    def prepare_limited(job: Any, ranks: Any) -> Any:
        limit(pytest.MonkeyPatch(), ranks.rank)
        return prepare(job, ranks)

    assert sys.argv[1:], "rank 0 starts this"
    worker.serve(prepare_limited)
