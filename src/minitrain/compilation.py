"""The transformer's blocks compiled for training: one graph for all, whatever the sizes of a batch.

Steps that are not compiled wait for Python: on an H100 152 of their 157 ms.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from sora.networks.wan.dit import WanDiT

MAX_GRAPHS = 64  # graphs that the compiler may make of one block


def compile_blocks(dit: WanDiT, trial_loss: Callable[[], Tensor], *, backend: str = "inductor") -> bool:
    """Compile the blocks and run them forwards and backwards once. trial_loss: a function that returns the loss of one
    pass. If compilation fails, a line is printed and the blocks run uncompiled. Returns whether they are compiled."""
    began = time.monotonic()
    torch._dynamo.config.cache_size_limit = MAX_GRAPHS  # pyright: ignore[reportAttributeAccessIssue]
    try:
        for block in dit.blocks:
            block.compile(dynamic=True, backend=backend)
        trial_loss().backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler fails in many ways, and none of them should end a training
        restore_uncompiled(dit)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"blocks run uncompiled, which is slower: {reason}", flush=True)
        return False
    finally:
        dit.zero_grad(set_to_none=True)
    print(f"compiled in {time.monotonic() - began:.0f} s", flush=True)
    return True


def restore_uncompiled(dit: WanDiT) -> WanDiT:
    """The same transformer with its blocks as Python runs them."""
    for block in dit.blocks:
        block._compiled_call_impl = None
    return dit
