"""Blocks compiled: they are alike, so one graph serves all, and what fails to compile runs as it is."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from sora.errors import SoraWarning

MAX_GRAPHS = 64
"""Graphs that a process may have of one function: two for each kind of network and of numbers that it paints with."""

LOGGERS = ("torch._dynamo", "torch._inductor", "torch._functorch")

COMPILER_MODULES = ("torch._dynamo", "torch._inductor", "torch._functorch", "torch.fx", "triton")


class CompilableBlock(Protocol):
    """A block that a function of its layers and of tensors can run. graph: what runs that function compiled, None for
    nothing."""

    graph: Any

    @property
    def compilable(self) -> Callable[..., Tensor]: ...


class Graph:
    """Runs a function of many blocks compiled. It holds no block, so that a network is freed as soon as it is dropped.
    on_compiled: is called once, when the first run is done. renew: is called at the first failure, and says whether to
    try once more."""

    def __init__(
        self,
        function: Callable[..., Tensor],
        backend: str,
        on_compiled: Callable[[], object],
        renew: Callable[[], bool],
    ) -> None:
        self._function, self._backend = function, backend
        self._compiled: Callable[..., Tensor] | None = None
        self._on_compiled: Callable[[], object] | None = on_compiled
        self._renew: Callable[[], bool] | None = renew
        self._failed = False

    def __call__(self, *inputs: Any) -> Tensor | None:
        """The function's result; None once it has failed to compile."""
        while not self._failed:
            try:
                result = self._run(*inputs)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # a compiler fails in many ways, and none of them should end a film
                if not _of_the_compiler(error):
                    raise
                renew, self._renew = self._renew, None
                if renew is None or not renew():
                    self._give_up(error)
                continue
            if self._on_compiled is not None:
                self._on_compiled()
                self._on_compiled = None
            return result
        return None

    def _run(self, *inputs: Any) -> Tensor:
        if self._compiled is None:
            # In one graph or not at all: where it breaks, all modulations of all tokens would stand in memory.
            self._compiled = torch.compile(self._function, backend=self._backend, fullgraph=True)
        return self._compiled(*inputs)

    def _give_up(self, error: Exception) -> None:
        self._failed = True
        lines = [line for line in str(error).strip().splitlines() if not line.endswith(" raised:")]  # by whom, not why
        reason = lines[0] if lines else type(error).__name__
        warnings.warn(f"blocks run uncompiled, which is slower: {reason}", SoraWarning, stacklevel=3)


def compile_blocks(
    blocks: Iterable[Any],
    backend: str = "inductor",
    on_compiled: Callable[[], object] = lambda: None,
    renew: Callable[[], bool] = lambda: False,
) -> None:
    """From now on these blocks (``CompilableBlock``) run compiled. What the compiler makes is kept by torch between
    processes, under TORCHINDUCTOR_CACHE_DIR. Where it fails, a warning says so once and the blocks run as before.
    on_compiled: is called once the first block has run. renew: is called before that, where compiling fails, and says
    whether to try once more: it may have made good what was wrong."""
    _silence_loggers()
    # torch advises programmers to round float32 products to TF32, which whoever asks for float32 does not want.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores", category=UserWarning)
    # Triton 3.9 tells programmers what its next version will do by default.
    warnings.filterwarnings("ignore", message="TRITON_DEFAULT_FP_FUSION", category=UserWarning)
    config: Any = torch._dynamo.config
    config.cache_size_limit = max(MAX_GRAPHS, config.cache_size_limit)
    graphs: dict[Any, Graph] = {}
    for block in blocks:
        function = block.compilable
        if function not in graphs:
            graphs[function] = Graph(function, backend, on_compiled, renew)
        block.graph = graphs[function]


def _silence_loggers() -> None:
    """The compiler's loggers write tracebacks to the terminal where its cache is damaged or read-only. Whoever wants
    them sets TORCH_LOGS."""
    if not os.environ.get("TORCH_LOGS"):
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _of_the_compiler(error: Exception) -> bool:
    """Whether the compiler raised it: itself, one of its helpers, such as where there is no C compiler, or the system,
    such as for a cache that cannot be written to. Networks raise no OSError, and a caller's own has no number."""
    if (isinstance(error, OSError) and error.errno is not None) or type(error).__module__.startswith(COMPILER_MODULES):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(COMPILER_MODULES)
