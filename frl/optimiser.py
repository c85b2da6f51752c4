"""SGD with layer-wise adaptive rate scaling (LARC), without a host branch or synchronisation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class LarcSGD(torch.optim.Optimizer):
    """Momentum SGD whose gradients are rescaled per parameter (You et al., 2017; SwAV uses it unclipped).

    For a parameter w with gradient g, where both norms are positive:
    ``g <- trust * |w| / (|g| + weight_decay * |w| + eps) * (g + weight_decay * w)``. Where either norm is zero the
    gradient is used as it is. Then ``m <- momentum * m + g`` and ``w <- w - lr * m``.

    Args:
        parameters: what to train; those without a gradient are left alone, their momentum too.
        lr: learning rate; set ``group["lr"]`` before each step.
        momentum: of SGD.
        weight_decay: L2 penalty inside the rescaling.
        trust: LARC's coefficient; 0 switches the rescaling off (the weight decay stays).
        eps: keeps the ratio finite.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "eps": eps}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; the gradients are overwritten."""
        for group in self.param_groups:
            params: list[torch.Tensor] = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            grads = [p.grad for p in params if p.grad is not None]
            self._rescale(params, grads, group)
            buffers = [self._momentum(p) for p in params]
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, grads)
            torch._foreach_add_(params, buffers, alpha=-group["lr"])

    def _momentum(self, param: torch.Tensor) -> torch.Tensor:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param)
        return state["momentum_buffer"]

    @staticmethod
    def _rescale(params: list[torch.Tensor], grads: list[torch.Tensor], group: dict) -> None:
        decay, trust = group["weight_decay"], group["trust"]
        if not trust:
            torch._foreach_add_(grads, params, alpha=decay)
            return
        weight_norms = torch.stack(torch._foreach_norm(params))
        grad_norms = torch.stack(torch._foreach_norm(grads))
        positive = (weight_norms > 0) & (grad_norms > 0)
        ratio = trust * weight_norms / (grad_norms + decay * weight_norms + group["eps"])
        torch._foreach_addcmul_(grads, params, list((decay * positive).unbind()))
        torch._foreach_mul_(grads, list(torch.where(positive, ratio, 1.0).unbind()))
