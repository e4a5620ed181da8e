import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from airscene.data import Scenes
from airscene.errors import UserError
from airscene.experiments import learning, reading, representation
from airscene.experiments.clusters import found_digits, purity
from airscene.experiments.inferred import infer_scenes, see_boxes, see_pictures
from airscene.experiments.labelled_scenes import Numbers, load_scenes
from airscene.experiments.questions import QUESTIONS
from airscene.experiments.reading import GLIMPSES, chosen_scenes
from airscene.experiments.representation import (
    RepresentationExperiment,
    carry_out,
    full_experiment,
    quick_experiment,
)
from airscene.experiments.representation_tables import by_labels, labels_to, saved
from airscene.models.autoencoder import Autoencoder, AutoencoderConfig


@pytest.fixture
def small() -> RepresentationExperiment:
    """Two digits, one model with objects and one without, one number of labels."""
    quick = quick_experiment()
    exam = quick.exams["two"]
    models = {name: exam.models[name] for name in ("DAIR", "autoencoder")}
    readers = ("true boxes", f"DAIR{GLIMPSES}", "DAIR", "autoencoder", "pixels")
    exam = replace(exam, models=models, readers=readers, questions=("order",), labels=(50,))
    return replace(quick, exams={"two": exam}, numbers=Numbers(60, 20, 20))


@pytest.fixture
def scenes() -> Scenes:
    """Two scenes of two bright squares: 3 left of 7, and 9 left of 1 though it comes second."""
    boxes = torch.tensor([[[2.0, 2, 8, 8], [12, 4, 18, 10]], [[11, 11, 17, 17], [1, 1, 7, 7]]])
    image = torch.zeros(2, 1, 20, 20, dtype=torch.uint8)
    for picture, pair in zip(image, boxes.int().tolist(), strict=True):
        for x0, y0, x1, y1 in pair:
            picture[0, y0:y1, x0:x1] = 255
    return Scenes(image, torch.tensor([2, 2]), boxes, torch.tensor([[3, 7], [1, 9]]))


def shares(*values: float) -> dict:
    return {str(n): [{"test": value}] for n, value in zip((100, 1000, 10_000), values, strict=True)}


def test_it_fills_its_folder_and_goes_on_without_computing_again(small, out, serial, monkeypatch):
    printed = carry_out(small, out, None, serial)
    results = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)
    answers = results["answers"]["two"]["order"]
    assert [*answers] == [*small.exams["two"].readers]
    assert all(0 <= some["50"][0]["test"] <= 1 for some in answers.values())
    assert results["clusters"]["two"].keys() == {"DAIR", "autoencoder"}
    assert (out / "figure.png").stat().st_size > 0
    assert "true boxes" in (out / "tables.md").read_text()
    for module, job in ((learning, "train_run"), (reading, "learn_to_answer")):
        monkeypatch.setattr(module, job, pytest.fail)
    assert carry_out(small, out, None, serial) == printed
    scenes = load_scenes(out / "two" / "scenes", "test")
    assert len(scenes) == 20 and (scenes.count == 2).all()


def test_the_answers_are_those_of_digits_from_left_to_right(scenes):
    assert QUESTIONS["sum"].answers_of(scenes).tolist() == [10, 10]
    assert QUESTIONS["order"].answers_of(scenes).tolist() == [1, 0]


def test_scenes_with_another_number_of_digits_are_refused(scenes):
    with pytest.raises(UserError, match="do not hold 5 digits; give --scenes"):
        QUESTIONS["five"].answers_of(scenes)
    with pytest.raises(UserError, match="have no truth"):
        QUESTIONS["sum"].answers_of(Scenes(scenes.image))


def test_too_few_labels_are_refused():
    exam = full_experiment().exams["two"]
    with pytest.raises(UserError, match="10 labels are fewer than the 19 answers"):
        replace(exam, labels=(10, 100))
    with pytest.raises(UserError, match="60000 labels are asked for, but there are 100"):
        replace(full_experiment(), numbers=Numbers(100))


def test_true_boxes_show_what_is_in_them(scenes):
    seen = see_boxes(scenes, glimpse=7)
    assert seen.glimpses.shape == (2, 2, 1, 7, 7)
    assert (seen.glimpses[..., 1:-1, 1:-1] == 255).all()
    assert seen.features[..., 0].tolist() == [[0, 1], [1, 0]]


def test_pictures_are_seen_whole(scenes):
    seen = see_pictures(scenes)
    assert torch.equal(seen.glimpses[:, 0], scenes.image) and seen.presence.tolist() == [[1], [1]]


def test_objects_are_inferred_with_their_presence_and_glimpses(scenes, known_air):
    image = scenes.pixels()
    objects = torch.stack([image[:, 0], torch.zeros_like(image[:, 0])], 1)
    windows = torch.tensor([[[15.0, 7, 6], [5, 5, 6]], [[4, 4, 6], [14, 14, 6]]])
    model = known_air(objects, torch.tensor([[9.0, 9.0], [9.0, -9.0]]), image, windows)
    seen = infer_scenes(model, scenes, steps=2, glimpse=5)
    assert seen.presence.round().tolist() == [[1, 1], [1, 0]]
    assert seen.features[..., 0].round().tolist() == [[1, 0], [0, 1]]
    assert (seen.glimpses == 255).all()
    assert seen.features.shape == seen.spread.shape == (2, 2, 1 + 3 + 1)
    codes, labels = found_digits(model, scenes)
    assert labels.tolist() == [7, 3, 9] and codes.shape == (3, 1)


def test_a_code_of_the_whole_picture_is_a_set_of_one(scenes):
    torch.manual_seed(0)
    model = Autoencoder(AutoencoderConfig(height=20, width=20, filters=2, hidden=4, latent=3))
    seen = infer_scenes(model, scenes, steps=2, glimpse=5)
    torch.testing.assert_close(seen.features[:, 0], model.infer(scenes.pixels()).means)
    assert seen.features.shape == seen.spread.shape == (2, 1, 3) and not seen.glimpses.numel()


def test_seeds_choose_other_labels_and_more_labels_hold_the_fewer():
    few, many = (set(chosen_scenes(1000, n, 0).tolist()) for n in (10, 100))
    assert len(many) == 100 and few < many
    assert few != set(chosen_scenes(1000, 10, 1).tolist())


def test_purity_is_that_of_the_commonest_label():
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert purity(labels, np.array([0, 0, 1, 1, 1, 2])) == pytest.approx(5 / 6)
    assert purity(labels, np.zeros(6, int)) == pytest.approx(0.5)


def test_labels_to_a_goal_are_read_off_between_two_numbers():
    assert labels_to(shares(0.5, 0.8, 1.0), 0.9) == pytest.approx(math.sqrt(1000 * 10_000))
    assert labels_to(shares(0.95, 0.8, 1.0), 0.9) == 100
    assert math.isinf(labels_to(shares(0.5, 0.6, 0.7), 0.9))


def test_saved_labels_are_a_factor_or_a_bound():
    answers = {"DAIR": shares(0.9, 0.95, 0.99), "pixels": shares(0.2, 0.9, 0.95)}
    assert saved(answers, "DAIR") == "10.0" and saved(answers, "pixels") == "–"
    answers["pixels"] = shares(0.1, 0.2, 0.3)
    assert saved(answers, "DAIR") == "> 100.0"
    assert "> 100.0" in by_labels(answers)


def test_every_reader_of_the_full_experiment_has_a_model():
    for exam in full_experiment().exams.values():
        for reader in exam.readers:
            name = reader.removesuffix(GLIMPSES)
            assert name in exam.models or reader in ("true boxes", "pixels")
    assert representation.reading_tasks(full_experiment(), representation.Path("x"))
