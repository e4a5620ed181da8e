import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from airscene.errors import UserError
from airscene.training.checkpoints import (
    Position,
    load_checkpoint,
    load_model,
    read_checkpoint,
    save_checkpoint,
)


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


def test_another_shape_is_refused_and_nothing_is_changed(path):
    modules, optimizer = make(1, width=4)
    before = {name: value.clone() for name, value in modules.state_dict().items()}
    with pytest.raises(UserError, match=r"\(3,\) for model.0.bias .* makes \(4,\)"):
        load_checkpoint(path, modules, optimizer)
    assert same(modules.state_dict(), before)


def test_a_missing_estimator_is_refused(path):
    with pytest.raises(UserError, match="nothing for extra"):
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
    header = path.read_bytes()[8:].split(b"}}")[0].decode()
    position = json.loads(json.loads(f"{header}}}}}")["__metadata__"]["position"])
    assert position == {"step": 7, "seconds": 1.5}
