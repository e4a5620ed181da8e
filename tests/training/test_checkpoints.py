import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from airscene.config import Config
from airscene.errors import UserError
from airscene.kinds import make_objective
from airscene.models.air_config import AIRConfig
from airscene.training.checkpoints import (
    Position,
    is_checkpoint,
    load_checkpoint,
    load_model,
    read_checkpoint,
    save_checkpoint,
)
from airscene.training.objectives import make_optimizer


class Modules(nn.Module):
    """A model beside an estimator, as training holds them."""

    def __init__(self, width=3):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))
        self.model.register_buffer("odds", torch.rand(()))
        self.estimator = nn.Linear(2, 1)


def make(seed=0, width=3):
    torch.manual_seed(seed)
    modules = Modules(width)
    optimizer = torch.optim.Adam(modules.parameters())
    for _ in range(2):
        x = torch.randn(5, 2)
        (modules.model(x) + modules.estimator(x)).square().sum().backward()
        optimizer.step()
    return modules, optimizer


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, *make(0), Position(7, 1.5))
    return path


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_checkpoint_brings_everything_back(path):
    saved, saved_optimizer = make(0)
    modules, optimizer = make(1)
    assert load_checkpoint(path, modules, optimizer) == Position(7, 1.5)
    assert same(modules.state_dict(), saved.state_dict())
    pairs = zip(modules.parameters(), saved.parameters(), strict=True)
    for parameter, original in pairs:
        assert same(optimizer.state[parameter], saved_optimizer.state[original])


def test_training_goes_on_as_if_never_stopped(path):
    saved, (modules, optimizer) = make(0), make(1)
    load_checkpoint(path, modules, optimizer)
    for network, adam in (saved, (modules, optimizer)):
        adam.zero_grad()
        (network.model(torch.ones(1, 2)) + network.estimator(torch.ones(1, 2))).sum().backward()
        adam.step()
    assert same(modules.state_dict(), saved[0].state_dict())


def test_what_the_optimiser_keeps_lies_in_memory_as_its_parameter(path):
    """Fused Adam pairs values by where they lie, and a file keeps one layout only."""

    def convolution():
        torch.manual_seed(0)
        net = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        return net, torch.optim.Adam(net.parameters(), fused=True)

    def step(net, optimizer):
        optimizer.zero_grad()
        net(torch.arange(32.0).view(1, 2, 4, 4)).square().sum().backward()
        optimizer.step()

    saved, resumed = convolution(), convolution()
    step(*saved)
    save_checkpoint(path, *saved, Position(1, 1.0))
    load_checkpoint(path, *resumed)
    step(*saved)
    step(*resumed)
    assert same(resumed[0].state_dict(), saved[0].state_dict())


def dair(seed):
    """A small DAIR after a step, as training holds it."""
    torch.manual_seed(seed)
    config = AIRConfig(feedback="residual", height=16, width=16, glimpse=4, what=3, hidden=8)
    objective = make_objective(Config(model=config))
    optimizer = make_optimizer(objective)
    noise = torch.randn(2, *objective.noise_shape)
    objective(torch.rand(2, 1, 16, 16), noise)[0].backward()
    optimizer.step()
    return objective, optimizer


def save_without_coarse_paths(path, rename):
    """Writes the checkpoint of a small DAIR, its tensors renamed and its coarse paths left out."""
    save_checkpoint(path, *dair(0), Position(1, 1.0))
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    tensors = load_file(path).items()
    kept = {rename(k): v for k, v in tensors if ".coarse." not in k and "odds_weight" not in k}
    save_file(kept, path, about)


@pytest.fixture
def of_last_release(path) -> Path:
    """A checkpoint of DAIR without coarse paths, and whose presence did not weigh its gain."""
    save_without_coarse_paths(path, lambda name: name.replace(".correction.", "."))
    return path


def test_a_run_of_the_last_release_goes_on_where_it_was(of_last_release):
    (saved, saved_optimizer), (found, optimizer) = dair(0), dair(1)
    load_checkpoint(of_last_release, found, optimizer)
    kept = dict(saved.named_parameters())
    for name, parameter in found.named_parameters():
        if ".coarse." in name or name.endswith("odds_weight"):
            assert not parameter.any() and not optimizer.state[parameter]["exp_avg"].any()
        else:
            assert torch.equal(parameter, kept[name])
            assert same(optimizer.state[parameter], saved_optimizer.state[kept[name]])
    model = dair(2)[0].model
    load_model(of_last_release, model)
    assert same(model.state_dict(), found.model.state_dict())


def test_a_checkpoint_without_its_coarse_paths_is_not_taken_for_one_of_the_last_release(path):
    save_without_coarse_paths(path, str)
    with pytest.raises(UserError, match=r"nothing for (\S*)coarse\.weight"):
        load_model(path, dair(1)[0].model)


def test_a_model_is_loaded_without_estimator_and_optimiser(path):
    model = make(1)[0].model
    assert load_model(path, model).step == 7
    assert same(model.state_dict(), make(0)[0].model.state_dict())


def test_the_names_in_the_file_say_what_they_hold(path):
    names = load_file(path).keys()
    assert {name.split(".")[0] for name in names} == {"weights", "optimizer"}
    assert "weights.model.0.weight" in names
    assert "optimizer.exp_avg_sq.estimator.bias" in names


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"checkpoint.safetensors is truncated.*train again"):
        read_checkpoint(path)


def test_another_kind_of_file_is_refused(path):
    path.write_text("these are no weights\n" * 9)
    with pytest.raises(UserError, match="not safetensors"):
        read_checkpoint(path)


def test_safetensors_of_others_are_refused(path):
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="not a checkpoint of format"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.safetensors does not exist"):
        read_checkpoint(tmp_path / "none.safetensors")


def test_a_folder_in_its_place_is_refused(tmp_path):
    with pytest.raises(UserError, match=tmp_path.name):
        read_checkpoint(tmp_path)


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="a pipe, a socket or a device"):
        read_checkpoint(tmp_path / "pipe")
    assert not is_checkpoint(tmp_path / "pipe")


def test_another_shape_is_refused_and_nothing_is_changed(path):
    modules, optimizer = make(1, width=4)
    before = {name: value.clone() for name, value in modules.state_dict().items()}
    with pytest.raises(
        UserError,
        match=r"\(3,\) for optimizer.exp_avg.model.0.bias .* makes float32 of shape \(4,\)",
    ):
        load_checkpoint(path, modules, optimizer)
    assert same(modules.state_dict(), before)


def test_a_missing_estimator_is_refused(path):
    with pytest.raises(UserError, match=r"nothing for optimizer.exp_avg.extra"):
        modules, optimizer = make(1)
        modules.extra = nn.Parameter(torch.zeros(1))
        load_checkpoint(path, modules, optimizer)


def test_complaints_are_one_line(path):
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_a_full_disk_keeps_the_old_checkpoint(path, monkeypatch, moment):
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes" if moment == "writing" else "replace", full)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device; free some"):
        save_checkpoint(path, *make(1), Position(8, 2.0))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]  # and leaves no half of the new one


def test_the_position_is_plain_json(path):
    with safe_open(path, framework="pt") as file:
        position = json.loads(file.metadata()["position"])
    assert position == {"step": 7, "seconds": 1.5, "summed": 0, "sums": {}, "skipped": 0.0}


def spoil(path: Path, name: str, change) -> None:
    """Rewrites a checkpoint with one tensor changed, or without it where the change gives None."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    tensors[name] = change(tensors[name])
    save_file({k: v for k, v in tensors.items() if v is not None}, path, about)


DAMAGE = {
    "missing": lambda value: None,
    "of another shape": lambda value: value.repeat(2, *[1] * (value.ndim - 1) or [1]),
    "of another type": lambda value: value.double(),
    "integers": lambda value: value.long(),
    "NaN": lambda value: value * torch.nan,
    "infinite": lambda value: value.clone().fill_(torch.inf),
}


@pytest.mark.parametrize("name", ["weights.model.0.weight", "weights.model.odds"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_refused_before_use(path, name, damage):
    spoil(path, name, DAMAGE[damage])
    model = make(1)[0].model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=r"checkpoint\.safetensors holds"):
        load_model(path, model)
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("key", ["step", "exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_optimiser_is_refused_before_use(path, key, damage):
    spoil(path, f"optimizer.{key}.model.1.weight", DAMAGE[damage])
    modules, optimizer = make(1)
    before = {name: value.clone() for name, value in modules.state_dict().items()}
    moments = {p: {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()}
    with pytest.raises(UserError, match=r"checkpoint\.safetensors holds"):
        load_checkpoint(path, modules, optimizer)
    assert same(modules.state_dict(), before)
    assert all(same(optimizer.state[p], state) for p, state in moments.items())


def test_a_tensor_too_many_is_refused(path):
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    save_file(load_file(path) | {"optimizer.exp_avg.more": torch.zeros(2)}, path, about)
    with pytest.raises(UserError, match=r"of shape \(2,\) for optimizer.exp_avg.more"):
        load_checkpoint(path, *make(1))


POSITIONS = [
    "",
    "[]",
    "{}",
    "null",
    '{"step": 7}',
    '{"step": "7", "seconds": 1.0}',
    '{"step": true, "seconds": 1.0}',
    '{"step": 7.5, "seconds": 1.0}',
    '{"step": -1, "seconds": 1.0}',
    '{"step": 7, "seconds": NaN}',
    '{"step": 7, "seconds": -1.0}',
    '{"step": 7, "seconds": 1.0, "more": 1}',
    '{"step": 7, "seconds": 1.0, "summed": 1, "sums": {}}',
    '{"step": 7, "seconds": 1.0, "summed": 8, "sums": {"loss": 1.0}}',
    '{"step": 7, "seconds": 1.0, "summed": 1, "sums": {"loss": "1"}}',
    '{"step": 7, "seconds": 1' + 400 * "0" + "}",
    "[" * 100_000,
]


@pytest.mark.parametrize("position", POSITIONS)
def test_a_damaged_position_is_refused(path, position):
    save_file(load_file(path), path, {"format": "airscene-1", "position": position})
    with pytest.raises(UserError, match="does not say how far training had come; train again"):
        read_checkpoint(path)


def test_a_position_without_sums_is_read(path):
    """As checkpoints had it before the log's sums were kept."""
    about = {"format": "airscene-1", "position": '{"step": 7, "seconds": 1.5}'}
    save_file(load_file(path), path, about)
    assert read_checkpoint(path)[1] == Position(7, 1.5)


def test_the_sums_of_a_position_come_back_exactly(path):
    sums = {"loss": float(torch.tensor(1 / 3)), "elbo": -1e-30}
    position = Position(7, 1.5, 2, sums)
    save_checkpoint(path, *make(0), position)
    assert read_checkpoint(path)[1] == position


def test_frozen_parameters_are_saved_and_loaded(path):
    modules, _ = make(0)
    modules.model[0].requires_grad_(False)
    optimizer = torch.optim.Adam(p for p in modules.parameters() if p.requires_grad)
    save_checkpoint(path, modules, optimizer, Position(1, 1.0))
    other, _ = make(1)
    other.model[0].requires_grad_(False)
    again = torch.optim.Adam(p for p in other.parameters() if p.requires_grad)
    load_checkpoint(path, other, again)
    assert same(other.state_dict(), modules.state_dict())
    assert not [name for name in load_file(path) if name.startswith("optimizer.exp_avg.model.0")]


def test_a_parameter_that_no_step_has_reached_begins_as_it_would_have(path):
    modules = Modules()
    save_checkpoint(path, modules, torch.optim.Adam(modules.parameters()), Position())
    other, optimizer = make(1)
    load_checkpoint(path, other, optimizer)
    assert not any(value.any() for state in optimizer.state.values() for value in state.values())
