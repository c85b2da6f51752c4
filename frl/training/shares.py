"""Parameters of which every rank holds a share of the rows: whole in a checkpoint, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from frl.objectives import Objective
from frl.objectives.classes import rows_of
from frl.runtime.distributed import World
from frl.training.optimisers import Optimiser

State = dict[str, Any]
Rows = Callable[[Tensor, int], Tensor]  # from a tensor, and the number of rows in all, to other rows of it


def joined(objective: Objective, optimiser: Optimiser, world: World) -> tuple[State, State]:
    """The state of both as one process would have it. A collective call.

    What an optimiser keeps of a parameter in its shape, such as momentum, is shared out like it.
    """

    def whole(share: Tensor, rows: int) -> Tensor:
        return torch.cat(world.gather(share.contiguous()))[:rows]

    return _with_rows(objective, optimiser, objective.state_dict(), optimiser.state_dict(), whole)


def divided(
    objective: Objective, optimiser: Optimiser, world: World, model: State, moments: State
) -> tuple[State, State]:
    """This rank's part of the states that ``joined`` gave, perhaps on another number of ranks."""

    def share(whole: Tensor, rows: int) -> Tensor:
        return rows_of(whole, world.rank, world.size)

    return _with_rows(objective, optimiser, model, moments, share)


def _with_rows(
    objective: Objective, optimiser: Optimiser, model: State, moments: State, other: Rows
) -> tuple[State, State]:
    """Both states with ``other`` rows of what is shared out."""
    if not objective.shared_out:
        return model, moments
    places = dict(_places(objective, optimiser))
    model = {**model, **{name: other(model[name], rows) for name, rows in objective.shared_out.items()}}
    kept = {**moments["state"]}
    for name, rows in objective.shared_out.items():
        kept[places[name]] = {
            key: other(value, rows) if isinstance(value, Tensor) and value.dim() else value
            for key, value in kept.get(places[name], {}).items()
        }
    return model, {**moments, "state": kept}


def _places(module: nn.Module, optimiser: Optimiser) -> Iterator[tuple[str, int]]:
    """The name of each trained parameter, and its number in the optimiser's state."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    trained = (parameter for group in optimiser.param_groups for parameter in group["params"])
    return ((names[id(parameter)], place) for place, parameter in enumerate(trained))
