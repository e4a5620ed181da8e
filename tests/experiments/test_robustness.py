import json
import math
from dataclasses import replace

import pytest

from airscene.errors import UserError
from airscene.experiments import learning, reproduce
from airscene.experiments.robustness import (
    Cell,
    RobustnessExperiment,
    by_cell,
    carry_out,
    full_experiment,
    training_of,
)


@pytest.fixture
def sweep(tiny) -> RobustnessExperiment:
    base = replace(tiny, model=replace(tiny.model, feedback="residual", sigma=None))
    return RobustnessExperiment(base, (9,), (16, 20), (0.8, 1.0), seeds=1)


def run_with(accuracy: float, failed: str | None = None) -> dict:
    return {"count_accuracy": accuracy, "failed": failed}


def test_it_fills_its_folder_and_goes_on_without_computing_again(sweep, out, serial, monkeypatch):
    printed = carry_out(sweep, out, None, serial)
    results = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)
    assert len(results["runs"]) == 4 and all(len(some) == 1 for some in results["runs"].values())
    assert (out / "heatmap.png").stat().st_size > 0
    monkeypatch.setattr(learning, "train_run", pytest.fail)
    assert carry_out(sweep, out, None, serial) == printed


def test_a_cell_decides_scenes_and_model():
    config = training_of(full_experiment().base, Cell(14, 64, 1.0), 3)
    assert config.scenes.canvas == (64, 64) and config.seed == 3
    assert config.scenes.size / config.scenes.scale_mean == pytest.approx(14)
    assert config.model.sigma is None and config.model.glimpse == 14
    window = 64 / (1 + math.exp(-config.model.scale_prior[0]))
    assert window == pytest.approx(0.93 * 14, abs=0.05)
    wider = training_of(full_experiment().base, Cell(14, 64, 1.4), 3)
    assert wider.model.scale_prior[0] > config.model.scale_prior[0]


def test_every_combination_has_a_cell_and_a_folder_of_its_own():
    cells = full_experiment().cells
    assert len(cells) == 4 * 2 * 2 == len({cell.name for cell in cells})


def test_a_run_that_diverged_is_no_success():
    runs = [run_with(0.97), run_with(0.94), run_with(0.99, failed="not finite")]
    row = by_cell({Cell(14, 50, 1.0): runs}).splitlines()[-1]
    assert "1 of 3" in row and "97.0 94.0 99.0" in row


def test_no_seed_is_refused(sweep, out, serial):
    with pytest.raises(UserError, match="--seeds is 0"):
        reproduce("robustness", out, None, seeds=0, quick=True)
    with pytest.raises(UserError, match="--seeds is 0"):
        carry_out(replace(sweep, seeds=0), out, None, serial)
    assert not out.exists()
