"""Muon for matrices and AdamW for the rest, under one learning-rate factor."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix of each (..., rows, columns), by the quintic Newton-Schulz iteration of Muon
    (Jordan et al. 2024)."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates; kernels are treated as (out, rest) matrices, and matrices of one shape are
    updated together, since single small ones would leave the cores idle."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95, decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(p.shape, []).append(p)
            for params in alike.values():
                self._update(params, group["lr"], group["momentum"], group["decay"])

    def _update(self, params: list[Tensor], lr: float, momentum: float, decay: float) -> None:
        """One update of parameters of one shape."""
        grads = [p.grad for p in params if p.grad is not None]
        for p in params:
            if not self.state[p]:  # setdefault would fill a tensor of zeros at every step
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in params]
        torch._foreach_lerp_(momenta, grads, 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]
        directions = torch._foreach_lerp(grads, momenta, momentum)  # pyright: ignore[reportPrivateImportUsage]
        stacked = torch.stack([direction.flatten(1) for direction in directions])
        updates = orthogonalise(stacked.bfloat16() if stacked.is_cuda else stacked).to(stacked)
        scale = max(1.0, updates.shape[-2] / updates.shape[-1]) ** 0.5
        torch._foreach_mul_(params, 1 - lr * decay)  # pyright: ignore[reportPrivateImportUsage]
        moves = [update.view_as(p) for p, update in zip(params, updates, strict=True)]
        torch._foreach_add_(params, moves, alpha=-lr * scale)  # pyright: ignore[reportPrivateImportUsage]


class MuonAdamW:
    """Muon for matrices and AdamW for all other parameters, under one learning-rate factor. Matrices whose names begin
    with one of ``adamw_prefixes`` (embeddings, last layers) go to AdamW too."""

    def __init__(
        self, model: nn.Module, *, muon_lr: float, adamw_lr: float, adamw_prefixes: tuple[str, ...] = ()
    ) -> None:
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        matrices = [p for n, p in named if p.ndim >= 2 and not n.startswith(adamw_prefixes)]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in chosen]
        self.optimisers: list[torch.optim.Optimizer] = []
        if matrices:
            self.optimisers.append(Muon(matrices, lr=muon_lr, decay=0.01))
        if others:
            self.optimisers.append(torch.optim.AdamW(others, lr=adamw_lr, betas=(0.9, 0.98), weight_decay=0.0))
        self.base_lrs = [[g["lr"] for g in part.param_groups] for part in self.optimisers]

    def step(self, factor: float) -> None:
        """One update at ``factor`` times the base learning rates; gradients are cleared."""
        for part, rates in zip(self.optimisers, self.base_lrs, strict=True):
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state_tensors(self) -> dict[str, Tensor]:
        """The optimisers' state, as "optimiser/<which>/<parameter>/<name>"."""
        return {
            f"optimiser/{i}/{index}/{name}": torch.as_tensor(value)
            for i, part in enumerate(self.optimisers)
            for index, kept in part.state_dict()["state"].items()
            for name, value in kept.items()
        }

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Load what ``state_tensors`` returned, without the leading "optimiser/"."""
        for i, part in enumerate(self.optimisers):
            state: dict[int, dict[str, Tensor]] = {}
            for place, tensor in tensors.items():
                which, index, name = place.split("/")
                if int(which) == i:
                    state.setdefault(int(index), {})[name] = tensor
            part.load_state_dict(part.state_dict() | {"state": state})
