"""What goes wrong where several processes compute together, in a person's words."""

from __future__ import annotations

import torch
import torch.distributed as dist

from sora.errors import OutOfMemory, SoraError, printable

Distributed: type[Exception] = dist.DistError  # pyright: ignore[reportPrivateImportUsage]


class RankOutOfMemory(OutOfMemory, torch.OutOfMemoryError):
    """The device of one process ran out of memory, which ends them all; they can be started anew under a smaller
    plan."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, for torch or for NCCL, whose buffers are not torch's."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, Distributed) and "out of memory" in str(error)
    )


def memory_error(rank: int) -> RankOutOfMemory:
    """Of the device of one process."""
    hint = "try another plan with --memory, as in --memory streamed, or a smaller --size or fewer --frames"
    return RankOutOfMemory(f"the device of process {rank} ran out of memory; {hint}")


def explained(rank: int, error: BaseException) -> SoraError | None:
    """What a person should know of an error in the process of a rank; None for one that is no matter of several
    processes."""
    if is_out_of_memory(error):
        return memory_error(rank)
    if not isinstance(error, Distributed):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = printable(lines[-1], 200) if lines else type(error).__name__  # NCCL's own reason comes last
    return SoraError(
        f"the processes of --gpus could not exchange tensors ({what}); NCCL_DEBUG=WARN in the environment says more,"
        " and without --gpus one card paints alone"
    )
