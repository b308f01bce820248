"""``--gpus``: what a request asks of several devices, for whoever paints it and for whoever only says what it takes.
Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sora.jobs.resolve import ResolvedRequest
from sora.models import parallel, parallel_work
from sora.models.parallel_work import Division

if TYPE_CHECKING:
    import torch


def check(resolved: ResolvedRequest, device: torch.device) -> None:
    """Raises UsageError where as many devices as are asked for cannot paint this together."""
    request = resolved.request
    named, guided = request.device is not None, is_guided(resolved)
    parallel.check(resolved.spec, request.gpus or 1, device, named=named, guided=guided)


def is_guided(resolved: ResolvedRequest) -> bool:
    """Whether there are two passes a step, which devices can divide."""
    return resolved.request.guidance != 1


def division(resolved: ResolvedRequest, device: torch.device) -> Division | None:
    """How cards divide a request's canvases; None for one card, and on a CPU, whose processes share its cores. Raises
    UsageError where so many cannot."""
    count = resolved.request.gpus or 1
    if count == 1 or device.type == "cpu":
        return None
    return parallel_work.division(count, parallel.attention_heads(resolved.spec), guided=is_guided(resolved))
