"""Networks of true size with random weights, made where they are used."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def filled(network: ModuleT, device: torch.device, dtype: torch.dtype) -> ModuleT:
    """A network from the meta device, with weights under which nothing dies out or runs away."""
    network = network.to_empty(device=device).to(dtype).eval().requires_grad_(False)
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        parameter.normal_(std=0.7 * fan_in**-0.5)
        if ("norm" in name and name.endswith("weight")) or name.endswith("gamma"):
            parameter.add_(1.0)
    return network
