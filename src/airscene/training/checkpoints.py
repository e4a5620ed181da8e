"""One file holds everything that training needs to go on: weights, optimiser state, position."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from airscene.errors import UserError
from airscene.files import write_whole

FORMAT = "airscene-1"
ADAM = ("step", "exp_avg", "exp_avg_sq")  # what the optimiser keeps for each parameter


@dataclass(frozen=True)
class Position:
    """How far a training has come.

    Attributes:
        step: optimiser steps done.
        seconds: time spent training, over all sittings.
    """

    step: int = 0
    seconds: float = 0.0


def save_checkpoint(path: Path, modules: nn.Module, optimizer: Optimizer, position: Position):
    """Writes a checkpoint, whole or not at all.

    Args:
        path: the safetensors file.
        modules: holds the model and the estimator; the names of its state become the names on disk.
        optimizer: its state of each parameter is stored under the parameter's name.
        position: how far training has come.
    """
    tensors = {f"weights.{name}": value for name, value in modules.state_dict().items()}
    for name, parameter in modules.named_parameters():
        for key in ADAM:
            tensors[f"optimizer.{key}.{name}"] = optimizer.state[parameter][key]
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    about = {"format": FORMAT, "position": json.dumps(position.__dict__)}
    content = save(tensors, about)  # not save_file, whose error on a full disk is no OSError
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def load_checkpoint(path: Path, modules: nn.Module, optimizer: Optimizer) -> Position:
    """Puts a checkpoint's weights and optimiser state in place and tells how far it had come.

    Raises:
        UserError: see `read_checkpoint` and `load_weights`.
    """
    tensors, position = read_checkpoint(path)
    load_weights(path, modules, _with_prefix(tensors, "weights."))
    for name, parameter in modules.named_parameters():
        found = {key: tensors[f"optimizer.{key}.{name}"] for key in ADAM}
        optimizer.state[parameter] = {key: _laid_out(v, parameter) for key, v in found.items()}
    return position


def load_model(path: Path, model: nn.Module) -> Position:
    """Puts the model's weights in place, leaving estimator and optimiser aside.

    Raises:
        UserError: see `read_checkpoint` and `load_weights`.
    """
    tensors, position = read_checkpoint(path)
    load_weights(path, model, _with_prefix(tensors, "weights.model."))
    return position


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Position]:
    """All tensors of a checkpoint, by name.

    Raises:
        UserError: the file is missing, truncated, not safetensors, or not a checkpoint of airscene.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; train first, or name another run") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or not safetensors ({error}); train again") from error
    if about.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of format {FORMAT}; train again")
    return tensors, Position(**json.loads(about["position"]))


def load_weights(path: Path, modules: nn.Module, weights: dict[str, Tensor]) -> None:
    """Puts weights in place after checking every name and shape.

    Raises:
        UserError: a name is missing or too many, or a shape differs; names the first such.
    """
    wanted = modules.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        found = tuple(weights[name].shape) if name in weights else "nothing"
        expected = tuple(wanted[name].shape) if name in wanted else "nothing"
        if found != expected:
            raise UserError(
                f"{path} holds {found} for {name} where the configuration makes {expected}; "
                f"restore the config.json it was trained with"
            )
    modules.load_state_dict(weights)


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """What the optimiser keeps of a parameter, where and as that lies in memory.

    Fused Adam reads parameter and moments side by side, and a file knows one layout only.
    """
    if value.shape != parameter.shape:  # the step
        return value.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
