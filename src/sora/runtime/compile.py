"""Blocks compiled one by one: they are alike, so one graph serves all, and what fails to compile runs as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


def compile_blocks(blocks: Iterable[nn.Module], backend: str = "inductor") -> None:
    """From now on these blocks run compiled. What the compiler makes is kept by torch between processes, under
    TORCHINDUCTOR_CACHE_DIR. Where it fails, a warning says so once and the block runs as before."""
    for block in blocks:
        block.forward = _guarded(block.forward, torch.compile(block.forward, backend=backend))  # type: ignore


def _guarded(plain: Callable[..., Any], quick: Callable[..., Any]) -> Callable[..., Any]:
    """quick, and from its first failure to compile on, plain."""
    chosen = quick

    def forward(*args: Any, **kwargs: Any) -> Any:
        nonlocal chosen
        if chosen is plain:
            return plain(*args, **kwargs)
        try:
            return chosen(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler fails in many ways, and none of them should end a film
            if not _of_the_compiler(error):
                raise
            chosen = plain
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            warnings.warn(f"blocks run uncompiled, which is slower: {reason}", RuntimeWarning, stacklevel=2)
            return plain(*args, **kwargs)

    return forward


def _of_the_compiler(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "triton"))
