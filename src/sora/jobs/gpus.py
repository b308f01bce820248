"""``--gpus``: what a request asks of several devices, for whoever paints it and for whoever only says what it takes.
Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sora.jobs.resolve import ResolvedRequest
from sora.models import parallel

if TYPE_CHECKING:
    import torch


def check(resolved: ResolvedRequest, device: torch.device) -> None:
    """Raises UsageError where as many devices as are asked for cannot paint this together."""
    request = resolved.request
    parallel.check(resolved.spec, request.gpus or 1, device, named=request.device is not None, **division(resolved))


def division(resolved: ResolvedRequest) -> dict[str, Any]:
    """What the work is divided by, besides the number of devices: guided, whether there are two passes a step."""
    return {"guided": resolved.request.guidance != 1}
