"""``python -m gpus_worker``: what a process of ``test_gpus`` runs. It does, or suffers, what a message says."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sora.errors import ModelError
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT
from sora.runtime.compile import compile_blocks
from sora.runtime.parallel import worker
from sora.runtime.parallel.config import ParallelConfig
from sora.runtime.parallel.ranks import Ranks

CONFIG = WanConfig(
    heads=2, head_dim=12, num_layers=2, in_channels=4, out_channels=4, text_dim=8, freq_dim=16, ffn_dim=32
)


def compiled_pass(ranks: Ranks, x: Tensor, text: Tensor) -> Tensor:
    """A pass through compiled blocks, whose tokens are divided among two processes."""
    network = network_of_a_seed()
    network.parallelize(ranks.sequence)
    compile_blocks(network.blocks_in_order(), backend="eager")
    ranks.use(ParallelConfig(1, 2))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # which says that blocks run uncompiled
        return network(x, torch.tensor([500.0]), text)


def network_of_a_seed() -> WanDiT:
    torch.manual_seed(0)
    network = WanDiT(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.requires_grad_(False)


def suffer(what: str) -> None:
    if what == "error":
        raise ModelError("the file is damaged; fetch it again")
    if what == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory")
    if what == "bug":
        raise KeyError("blocks.7")
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def prepare(job: Any, ranks: Ranks) -> Callable[[Any], Any]:
    def handle(message: Any) -> Any:
        what, sufferer, *tensors = message
        if what == "echo":
            return job, ranks.rank, [tensor.sum().item() for tensor in tensors]
        if what == "compiled":
            compiled_pass(ranks, *tensors)
        elif ranks.rank == sufferer:
            suffer(what)
        else:
            dist.all_reduce(torch.zeros(1))  # which waits for the one that suffers
        return None

    return handle


def end(*_: Any) -> None:
    os._exit(3)


if __name__ == "__main__":
    if "ENDS_BEFORE_IT_JOINS" in os.environ:
        worker.Ranks = end  # type: ignore[assignment,misc]
    worker.serve(prepare)
