"""SGD with layer-wise adaptive rate scaling (LARC), without a host branch or synchronisation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from frl.config import OptimConfig


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

    Attributes:
        finite: bool scalar on the parameters' device, whether the last step's gradients were, and so moved anything.
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
        self.finite = torch.tensor(True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; the gradients are overwritten.

        Where any gradient is infinite or not a number, nothing changes, momentum included, and ``finite`` is false:
        the device decides, so that the host need not wait for it.
        """
        with_gradient = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
        gradients = [[p.grad for p in params if p.grad is not None] for params in with_gradient]
        norms = [torch.stack(torch._foreach_norm(grads)) for grads in gradients if grads]
        if not norms:
            return
        self.finite = torch.cat(norms).isfinite().all()
        parts = [part for part in zip(self.param_groups, with_gradient, gradients, strict=True) if part[1]]
        for (group, params, grads), grad_norms in zip(parts, norms, strict=True):
            self._rescale(params, grads, grad_norms, group)
            self._descend(params, grads, group)

    def _descend(self, params: list[torch.Tensor], grads: list[torch.Tensor], group: dict) -> None:
        for grad in grads:
            grad.nan_to_num_(0, 0, 0)  # what is not finite stays so whatever it is multiplied by
        torch._foreach_mul_(grads, self.finite.to(grads[0]))
        buffers = [self._momentum(p) for p in params]
        torch._foreach_mul_(buffers, torch.where(self.finite, group["momentum"], 1.0).to(buffers[0]))
        torch._foreach_add_(buffers, grads)
        rate = torch.where(self.finite, -group["lr"], 0.0).to(buffers[0])
        torch._foreach_addcmul_(params, buffers, [rate] * len(params))

    def _momentum(self, param: torch.Tensor) -> torch.Tensor:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param)
        return state["momentum_buffer"]

    @staticmethod
    def _rescale(params: list[torch.Tensor], grads: list[torch.Tensor], grad_norms: torch.Tensor, group: dict) -> None:
        decay, trust = group["weight_decay"], group["trust"]
        if not trust:
            torch._foreach_add_(grads, params, alpha=decay)
            return
        weight_norms = torch.stack(torch._foreach_norm(params))
        positive = (weight_norms > 0) & (grad_norms > 0)
        ratio = trust * weight_norms / (grad_norms + decay * weight_norms + group["eps"])
        torch._foreach_addcmul_(grads, params, list((decay * positive).unbind()))
        torch._foreach_mul_(grads, list(torch.where(positive, ratio, 1.0).unbind()))


def build_optimiser(config: OptimConfig, module: nn.Module) -> LarcSGD:
    """The optimiser of what ``module`` has to learn."""
    return LarcSGD(
        (parameter for parameter in module.parameters() if parameter.requires_grad),
        lr=config.start_lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        trust=config.trust,
    )
