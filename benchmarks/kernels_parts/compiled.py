"""The kernels that torch's compiler makes of a block, for a card that need not be there.

Axis letters as in ``sora.networks.wan.blocks``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._inductor import config
from torch._inductor.codecache import PyCodeCache
from torch._inductor.graph import GraphLowering
from torch._subclasses.fake_tensor import FakeTensorMode

from kernels_parts.compiler_card import CAPABILITY, compiler_card
from kernels_parts.machine_code import MachineCode
from passes_parts.rows import WORDS, Row
from sora.models.wan.float8_blocks import convert_blocks_to_float8
from sora.networks.wan.blocks import Block, BlockKV, update_gathered
from sora.networks.wan.dit import WanDiT
from sora.networks.wan.graph_inputs import graph_inputs
from sora.runtime import float8_rounding
from sora.runtime.attention_op import KernelAttention
from sora.runtime.linear_gelu import linear_gelu
from sora.runtime.skip_init import SkipInit

KERNEL = re.compile(r"^(\w+) = async_compile\.triton\('\w+', '''\n(.*?)'''", re.DOTALL | re.MULTILINE)
CALL = re.compile(r"^\s+(\w+)\.run\(", re.MULTILINE)


class _GeneratedError(Exception):
    """The code is there, and the compiler need not go on."""


@dataclass(frozen=True)
class Kernel:
    """gigabytes: that it reads and writes, each tensor once. choices: its machine code in each shape among which the
    compiler chooses by trying them."""

    name: str
    gigabytes: float
    choices: tuple[MachineCode, ...]


def kernels_of(row: Row, *, float8: bool) -> list[Kernel]:
    """Of one block of a row's network as it is compiled there, with sizes as symbols, in the order of their calls."""
    with compiler_card(), config.patch(compile_threads=1, fx_graph_cache=False, benchmark_kernel=True):
        code = _generate(row, float8=float8)
        sources = dict(KERNEL.findall(code))
        kernels = {name: _compile(name, source) for name, source in sources.items()}
        calls = code.rpartition("def call(self, args)")[2]
        return [kernels[name] for name in CALL.findall(calls) if name in kernels]


def _generate(row: Row, *, float8: bool) -> str:
    code: list[str] = []

    def stop(self: GraphLowering) -> None:
        code.append(self.codegen()[0].value)
        raise _GeneratedError

    torch.compiler.reset()
    with FakeTensorMode(), torch.inference_mode(), patch.object(GraphLowering, "compile_to_module", stop):
        block = _block(row, float8=float8)
        x, kv, modulation, rotary_emb = _inputs(row)
        index_N = torch.empty(row.tokens, dtype=torch.int64, device="cuda")
        marked, rows_RD, index_BN = graph_inputs(x, kv, rotary_emb, modulation, index_N)
        try:
            torch.compile(update_gathered, fullgraph=True)(
                block._layers, marked, kv, rows_RD, index_BN, rotary_emb, None
            )
        except Exception:
            if not code:
                raise
    return code[0]


def _block(row: Row, *, float8: bool) -> Block:
    """In bfloat16, as a model that is wholly on a card has it."""
    config = replace(row.config, num_layers=1)
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        with SkipInit(), torch.device("cuda"):
            network = WanDiT(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(dtype)
    if float8:
        with patch.object(float8_rounding, "triton_rounding", lambda *_: None):
            convert_blocks_to_float8(network)
    attend = KernelAttention("cudnn", F.scaled_dot_product_attention)
    network.use_attention(attend, attend)
    network.use_linear_gelu(linear_gelu)
    block = network.blocks[0]
    assert isinstance(block, Block)
    return block


def _inputs(row: Row) -> tuple[Tensor, BlockKV, Tensor, tuple[Tensor, Tensor]]:
    """Tokens, keys and values of the text, modulation, and the tables of rotation."""
    config, kind = row.config, {"dtype": torch.bfloat16, "device": "cuda"}
    keys, values = (torch.empty(1, WORDS, config.heads, config.head_dim, **kind).transpose(1, 2) for _ in range(2))
    cos, sin = (torch.empty(row.tokens, config.head_dim, dtype=torch.float32, device="cuda") for _ in range(2))
    x = torch.empty(1, row.tokens, config.dim, **kind)
    return x, BlockKV(keys, values), torch.empty(1, 2, 6, config.dim, **kind), (cos, sin)


def _compile(name: str, source: str) -> Kernel:
    module: Any = PyCodeCache.load(source)
    tuner = next(value for value in vars(module).values() if type(value).__name__.endswith("CachingAutotuner"))
    choices = tuple(_machine_code(tuner, choice) for choice in tuner.configs)
    return Kernel(name, tuner.inductor_meta.get("kernel_num_gb") or 0.0, choices)


def _machine_code(tuner: Any, choice: Any) -> MachineCode:
    kernel = tuner._precompile_config(choice).kernel
    if hasattr(kernel, "asm"):
        return MachineCode(kernel.asm["cubin"], CAPABILITY, choice.num_warps, kernel.metadata.shared)
    return MachineCode(Path(kernel.cubin_path).read_bytes(), CAPABILITY, choice.num_warps, kernel.shared)
