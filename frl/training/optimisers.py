"""How the weights follow their gradients, without a host branch or synchronisation.

Every optimiser looks first whether all gradients are finite. Where one is not, the device itself leaves everything as
it is, weights, momentum, moments and their counters, so that the host need not wait for the answer.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from frl.config import OptimConfig
from frl.errors import ConfigError
from frl.objectives import Objective

Group = dict[str, Any]

UNCOMPILED_ADAMW = inspect.unwrap(torch.optim.AdamW.step)  # without the wrapper that imports torch._dynamo
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # of as many bytes as a floating-point number

# What an objective may say of a group of its parameters, beside what they are.
UNSAID = {"fixed_lr": False, "lr_scale": 1.0}


class Optimiser(Protocol):
    """What the trainer asks of an optimiser.

    Attributes:
        finite: bool scalar on the parameters' device, whether the last step's gradients were, and so moved anything.
        param_groups: of torch's kind; ``lr`` and ``weight_decay`` are set before each step.
    """

    finite: Tensor
    param_groups: list[Group]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> Any:
        """Update every parameter that has a gradient; the gradients may be overwritten."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on bit for bit."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""


class Uncompiled(torch.optim.Optimizer):
    """torch's optimiser, whose methods do without ``torch._dynamo``.

    torch wraps them so that its compiler leaves them alone, and the wrappers import it: that takes nearly as long as
    the import of torch itself, and nothing here is compiled.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class LarcSGD(Uncompiled):
    """Momentum SGD whose gradients are rescaled per parameter (You et al., 2017; SwAV uses it unclipped).

    For a parameter w with gradient g, where both norms are positive:
    ``g <- trust * |w| / (|g| + weight_decay * |w| + eps) * (g + weight_decay * w)``. Where either norm is zero the
    gradient is used as it is. Then ``m <- momentum * m + g`` and ``w <- w - lr * m``, or, with Nesterov's,
    ``w <- w - lr * (g + momentum * m)``.

    A group with a trust of 0 is not rescaled: ``g <- g + weight_decay * w``. LARS is this optimiser with a group for
    biases and normalisation layers that is neither rescaled nor decayed; SGD is it without any trust.

    Args:
        parameters: what to train, or groups of it; those without a gradient are left alone, their momentum too.
        lr: learning rate; set ``group["lr"]`` before each step.
        momentum: of SGD.
        weight_decay: L2 penalty inside the rescaling.
        trust: LARC's coefficient; 0 switches the rescaling off (the weight decay stays).
        eps: keeps the ratio finite.
        nesterov: look ahead by the momentum.

    Attributes:
        finite: bool scalar on the parameters' device, whether the last step's gradients were, and so moved anything.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[Group],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        eps: float = 1e-8,
        nesterov: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "eps": eps}
        super().__init__(parameters, defaults | {"nesterov": nesterov})
        self.finite = torch.tensor(True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; the gradients are overwritten.

        Where any gradient is infinite or not a number, nothing changes, momentum included, and ``finite`` is false.
        """
        parts = _with_gradients(self.param_groups)
        if not parts:
            return
        norms = [torch.stack(torch._foreach_norm(grads)) for _, _, grads in parts]
        self.finite = torch.cat(norms).isfinite().all()
        for (group, params, grads), grad_norms in zip(parts, norms, strict=True):
            self._rescale(params, grads, grad_norms, group)
            self._descend(params, grads, group)

    @staticmethod
    def _rescale(params: list[Tensor], grads: list[Tensor], grad_norms: Tensor, group: Group) -> None:
        decay, trust = group["weight_decay"], group["trust"]
        torch._foreach_add_(grads, params, alpha=decay)
        if not trust:
            return
        weight_norms = torch.stack(torch._foreach_norm(params))
        ratio = trust * weight_norms / (grad_norms + decay * weight_norms + group["eps"])
        # Without a gradient all that is there is the decay, which is not wanted alone; without a weight there is none.
        ratio = torch.where(grad_norms > 0, ratio, 0.0)
        torch._foreach_mul_(grads, list(torch.where(weight_norms > 0, ratio, 1.0).unbind()))

    def _descend(self, params: list[Tensor], grads: list[Tensor], group: Group) -> None:
        self._discard_unless_finite(grads)
        buffers = [self._momentum(p) for p in params]
        torch._foreach_mul_(buffers, torch.where(self.finite, buffers[0].new_full((), group["momentum"]), 1.0))
        torch._foreach_add_(buffers, grads)
        # The gradients' memory takes the step. The rate stays a number of the host's: added with it as its factor, the
        # step is rounded once.
        if group["nesterov"]:
            torch._foreach_add_(grads, buffers, alpha=group["momentum"])
        else:
            torch._foreach_copy_(grads, buffers)
        torch._foreach_mul_(grads, self.finite.to(grads[0]))
        torch._foreach_add_(params, grads, alpha=-group["lr"])

    def _discard_unless_finite(self, grads: list[Tensor]) -> None:
        """Make all gradients zero where the step does not count.

        What is not finite stays so whatever it is multiplied by; its bits, taken for an integer, do not.
        """
        integer = INTEGERS[grads[0].element_size()]
        torch._foreach_mul_([grad.view(integer) for grad in grads], self.finite.to(integer))

    def _momentum(self, param: Tensor) -> Tensor:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param)
        return state["momentum_buffer"]


class AdamW(Uncompiled, torch.optim.AdamW):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): torch's own, as one kernel over all parameters.

    Where any gradient is infinite or not a number, nothing changes, moments and their counters included.

    Args:
        parameters: what to train, or groups of it; those without a gradient are left alone.
        lr: learning rate; set ``group["lr"]`` before each step.
        betas: decay of the moments.
        weight_decay: per step, times the learning rate.

    Attributes:
        finite: bool scalar on the parameters' device, whether the last step's gradients were, and so moved anything.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[Group],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
        self.finite = torch.tensor(True)
        self.found_inf: Tensor | None = None  # read by torch, whose gradient scaler sets it in other trainers

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        parts = _with_gradients(self.param_groups)
        if not parts:
            return
        norms = [torch.stack(torch._foreach_norm(grads)) for _, _, grads in parts]
        self.finite = torch.cat(norms).isfinite().all()
        self.found_inf = (~self.finite).float()
        UNCOMPILED_ADAMW(self)


def _with_gradients(groups: list[Group]) -> list[tuple[Group, list[Tensor], list[Tensor]]]:
    """Each group with its parameters that have a gradient, and these; groups without any are left out."""
    parts = []
    for group in groups:
        pairs = [(param, param.grad) for param in group["params"] if param.grad is not None]
        if pairs:
            params, grads = zip(*pairs, strict=True)
            parts.append((group, list(params), list(grads)))
    return parts


def build_optimiser(config: OptimConfig, objective: Objective) -> Optimiser:
    """The optimiser that ``config`` names, of what ``objective`` has to learn.

    Raises:
        ConfigError: if the objective's groups are not a division of its parameters that require gradients.
    """
    groups = groups_of(config, objective)
    if config.optimiser == "adamw":
        return AdamW(groups, lr=config.start_lr, betas=config.betas, weight_decay=config.weight_decay)
    return LarcSGD(
        groups,
        lr=config.start_lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        trust=0.0 if config.optimiser == "sgd" else config.trust,
        nesterov=config.nesterov,
    )


def groups_of(config: OptimConfig, objective: Objective) -> list[Group]:
    """The objective's groups; each in two where biases and normalisation layers are treated in their own way.

    Raises:
        ConfigError: if they are not a division of its parameters that require gradients, or say what nobody reads.
    """
    groups = [{**UNSAID, **group, "params": list(group["params"])} for group in objective.parameter_groups()]
    _check(groups, objective)
    if not config.excludes_bias_and_norm:
        return [{**group, "decays": True} for group in groups]
    parts = []
    for group in groups:
        for decays in (True, False):
            params = [param for param in group["params"] if (param.ndim > 1) == decays]
            own = {"decays": True} if decays else {"decays": False, "weight_decay": 0.0, "trust": 0.0}
            if params:
                parts.append({**group, "params": params, **own})
    return parts


def _check(groups: list[Group], objective: Objective) -> None:
    subject = f"the parameter groups of {type(objective).__name__}"
    for group in groups:
        if unknown := group.keys() - UNSAID.keys() - {"params"}:
            remedy = f"Known are params, {', '.join(UNSAID)}."
            raise ConfigError(subject, f"say {', '.join(sorted(unknown))}, which nobody reads", remedy)
        if not (math.isfinite(group["lr_scale"]) and group["lr_scale"] >= 0):
            raise ConfigError(subject, f"scale a learning rate by {group['lr_scale']}", "Use a number of at least 0.")
    given = [id(param) for group in groups for param in group["params"]]
    wanted = {id(param) for param in objective.parameters() if param.requires_grad}
    if len(given) != len(set(given)) or set(given) != wanted:
        cause = f"hold {len(given)} parameters ({len(set(given))} different ones), of {len(wanted)} that learn"
        raise ConfigError(subject, cause, "Put each parameter that requires a gradient into exactly one.")


def set_rates(optimiser: Optimiser, rate: float, peak: float, weight_decay: float) -> None:
    """Tell every group what holds for the next step.

    Args:
        optimiser: made by ``build_optimiser``.
        rate: the schedule's learning rate.
        peak: the learning rate of groups whose rate is fixed.
        weight_decay: of the groups that decay.
    """
    for group in optimiser.param_groups:
        group["lr"] = (peak if group["fixed_lr"] else rate) * group["lr_scale"]
        group["weight_decay"] = weight_decay if group["decays"] else 0.0
