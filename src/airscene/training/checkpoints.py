"""One file holds everything that training needs to go on: weights, optimiser state, position."""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from airscene.errors import UserError
from airscene.files import check_regular, is_number, write_whole

FORMAT = "airscene-1"
CORRECTED = re.compile(r"\b(encoder|decoder)\.(\d)")
ADDED = "odds_weight", ".coarse."  # parts of names that the last release did not have
TIMES = "seconds", "skipped"  # numbers of a position that need not be whole
ADAM = ("step", "exp_avg", "exp_avg_sq")  # what the optimiser keeps for each parameter


@dataclass(frozen=True)
class Position:
    """How far a training has come.

    Attributes:
        step: optimiser steps done.
        seconds: time spent training, over all sittings.
        summed: steps since the last row of the log.
        sums: sums of the logged scalars over these steps, by name, so that the next row covers
            them too.
        skipped: steps of the schedule that were passed over for want of time.
    """

    step: int = 0
    seconds: float = 0.0
    summed: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    skipped: float = 0.0

    @property
    def scheduled(self) -> float:
        """Steps of the schedule that are done or passed over."""
        return self.step + self.skipped


def save_checkpoint(path: Path, modules: nn.Module, optimizer: Optimizer, position: Position):
    """Writes a checkpoint, whole or not at all.

    Args:
        path: the safetensors file.
        modules: holds the model and the estimator; the names of its state become the names on disk.
        optimizer: its state of each trained parameter is stored under the parameter's name.
        position: how far training has come.
    """
    tensors = {f"weights.{name}": value for name, value in modules.state_dict().items()}
    for name, parameter in _trained(modules).items():
        for key, value in _optimizer_state(optimizer, parameter).items():
            tensors[f"optimizer.{key}.{name}"] = value
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    about = {"format": FORMAT, "position": json.dumps(asdict(position))}
    content = save(tensors, about)  # not save_file, whose error on a full disk is no OSError
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def load_checkpoint(path: Path, modules: nn.Module, optimizer: Optimizer) -> Position:
    """Puts a checkpoint's weights and optimiser state in place and tells how far it had come.

    Nothing is put in place unless everything fits.

    Raises:
        UserError: see `read_checkpoint` and `check_tensors`.
    """
    tensors, position = read_checkpoint(path)
    expected = {f"weights.{name}": value for name, value in modules.state_dict().items()}
    for name, parameter in _trained(modules).items():
        for key, value in _optimizer_state(optimizer, parameter).items():
            expected[f"optimizer.{key}.{name}"] = value
    tensors = upgraded(tensors, expected)
    check_tensors(path, tensors, expected)
    modules.load_state_dict(_with_prefix(tensors, "weights."))
    for name, parameter in _trained(modules).items():
        found = {key: tensors[f"optimizer.{key}.{name}"] for key in ADAM}
        optimizer.state[parameter] = {key: _laid_out(v, parameter) for key, v in found.items()}
    return position


def load_model(path: Path, model: nn.Module) -> Position:
    """Puts the model's weights in place, leaving estimator and optimiser aside.

    Raises:
        UserError: see `read_checkpoint` and `check_tensors`.
    """
    tensors, position = read_checkpoint(path)
    weights = upgraded(_with_prefix(tensors, "weights.model."), model.state_dict())
    check_tensors(path, weights, model.state_dict())
    model.load_state_dict(weights)
    return position


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Position]:
    """All tensors of a checkpoint, by name.

    Raises:
        UserError: the file is missing, truncated, not safetensors, or not a checkpoint of airscene.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise UserError(f"{path} is not a checkpoint of format {FORMAT}; train again")
            position = _read_position(path, about.get("position", ""))
            return {name: file.get_tensor(name) for name in file.keys()}, position  # noqa: SIM118
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; train first, or name another run") from error
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} is truncated or not safetensors ({reason}); train again"
        ) from error


def is_checkpoint(path: Path) -> bool:
    """Whether a file says of itself that it is a checkpoint of airscene."""
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format", "").startswith("airscene-")
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return False


def upgraded(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the last release under the names that they have now; others as they are.

    DAIR's encoder and decoder were what now corrects a coarse path (`airscene.models.appearance`),
    and presence did not weigh what an object gains. With zeros for both, it computes what it did.

    Args:
        found: tensors by name.
        expected: tensors with the names and shapes that are needed.
    """
    renamed = {
        name if name in expected else CORRECTED.sub(r"\1.correction.\2", name): value
        for name, value in found.items()
    }
    added = ADDED if renamed.keys() != found.keys() else ADDED[:1]
    zeros = {
        name: torch.zeros_like(value)
        for name, value in expected.items()
        if name not in renamed and any(part in name for part in added)
    }
    whole = zeros | renamed
    return whole if whole.keys() == expected.keys() else found


def check_tensors(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuses tensors that are not those that the configuration makes.

    Args:
        path: where they were found, for the message.
        found: tensors by name.
        expected: tensors with the names, shapes and types that are needed.

    Raises:
        UserError: a name is missing or too many, a shape or type differs, or a value is NaN or
            infinite; names the first such tensor.
    """
    for name in sorted(expected.keys() | found.keys()):
        here, wanted = _form(found.get(name)), _form(expected.get(name))
        if here != wanted:
            raise UserError(
                f"{path} holds {here} for {name} where the configuration makes {wanted}; "
                f"restore the config.json it was trained with"
            )
        if not found[name].isfinite().all():
            raise UserError(f"{path} holds NaN or infinite numbers in {name}; train again")


def _form(tensor: Tensor | None) -> str:
    if tensor is None:
        return "nothing"
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _read_position(path: Path, text: str) -> Position:
    values: dict[str, Any] = {}
    with suppress(ValueError, RecursionError):
        values = json.loads(text)
    if not _is_position(values):
        raise UserError(f"{path} does not say how far training had come; train again")
    return Position(**values)


def _is_position(values: Any) -> bool:
    """Whether plain values are those of a `Position`; older ones had no sums, or no skipped."""
    if not isinstance(values, dict) or not {"step", "seconds"} <= values.keys():
        return False
    position = {"summed": 0, "sums": {}, "skipped": 0.0} | values
    steps, sums = (position["step"], position["summed"]), position["sums"]
    return (
        position.keys() == Position.__dataclass_fields__.keys()
        and all(type(value) is int and 0 <= value < 2**53 for value in steps)
        and steps[1] <= steps[0]
        and isinstance(sums, dict)
        and bool(sums) == bool(steps[1])
        and all(is_number(value) for value in sums.values())
        and all(is_number(position[name]) and position[name] >= 0 for name in TIMES)
    )


def _trained(modules: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained; a frozen one has no optimiser state."""
    named = modules.named_parameters()
    return {name: parameter for name, parameter in named if parameter.requires_grad}


def _optimizer_state(optimizer: Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What Adam keeps of a parameter; before its first step, what it would begin with."""
    if state := optimizer.state.get(parameter):
        return {key: state[key] for key in ADAM}
    moments = (torch.zeros_like(parameter, requires_grad=False) for _ in ADAM[1:])
    return dict(zip(ADAM, (torch.zeros(()), *moments), strict=True))


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """What the optimiser keeps of a parameter, where and as that lies in memory.

    Fused Adam reads parameter and moments side by side, and a file knows one layout only.
    """
    if value.shape != parameter.shape:  # the step
        return value.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
