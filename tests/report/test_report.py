import base64
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from airscene.errors import UserError
from airscene.report.figures import View
from airscene.report.page import ReportData, write_report

TRUTH = {
    "count_accuracy": 0.981,
    "count_confusion": [[9, 1], [0, 10]],
    "count_mean_absolute_error": 0.05,
    "box_mean_iou": 0.8,
    "box_f1": 0.96,
    "box_ap50": 0.95,
    "mask_ari": 0.9,
    "mask_iou": 0.7,
}
ALWAYS = {
    "scenes": 20,
    "elbo": 612.3,
    "bound": 620.9,
    "bound_samples": 100,
    "images_per_second": 8000.0,
    "count_histogram": [9, 11],
}


def view(shape=(1, 20, 20)) -> View:
    image = np.random.default_rng(0).random((2, *shape))
    windows = np.tile([5.0, 5.0, 13.0, 13.0], (2, 2, 1))
    return View(image, image, windows, np.array([1, 2]))


def data(**changes) -> ReportData:
    rows = [
        {"step": 0, "seconds": 1.0, "images_per_second": 900.0, "train/elbo": -3000.0},
        {
            "step": 100,
            "seconds": 3725.0,
            "images_per_second": 1000.0,
            "train/elbo": 600.0,
            "validation/elbo": 598.0,
            "validation/count_accuracy": 0.97,
        },
    ]
    whole = ReportData(
        title="AIR",
        config={"model": {"steps": 2}, "out": Path("runs")},
        metrics=rows,
        evaluation=ALWAYS | TRUTH,
        stages=[(0, view()), (100, view())],
        windows=np.full((5, 2, 4), 7.0),
        canvas=(20, 20),
        mistakes=(view(), np.array([2, 1])),
    )
    return replace(whole, **changes)


def without_truth() -> ReportData:
    rows = [
        {key: row[key] for key in row if key != "validation/count_accuracy"}
        for row in data().metrics
    ]
    absent = dict.fromkeys(TRUTH)
    return data(metrics=rows, evaluation=ALWAYS | absent, mistakes=None)


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page)


@pytest.mark.parametrize("shape", [(1, 20, 20), (3, 12, 30)])
def test_report_shows_everything_and_writes_the_figures(tmp_path, shape):
    stages = [(0, view(shape)), (100, view(shape))]
    path = write_report(data(stages=stages, canvas=shape[1:]), tmp_path / "new" / "run")
    assert path == tmp_path / "new" / "run" / "report.html"
    names = ["reconstructions", "confusion", "mistakes", "heatmaps", "count_accuracy", "bound"]
    assert sections(path.read_text()) == [*names, "training"]
    files = {figure.name for figure in (path.parent / "figures").iterdir()}
    assert files == {f"{name}.png" for name in names} | {"training.gif"}


def test_report_without_truth_has_a_histogram_instead(tmp_path):
    page = write_report(without_truth(), tmp_path).read_text()
    assert sections(page) == ["reconstructions", "counts", "heatmaps", "bound", "training"]
    assert "Count accuracy" not in page and "Box overlap" not in page
    assert not (tmp_path / "figures" / "confusion.png").exists()


def test_report_of_nothing_but_an_evaluation(tmp_path):
    bare = data(metrics=[], stages=[], windows=np.full((5, 2, 4), np.nan), mistakes=None)
    assert sections(write_report(bare, tmp_path).read_text()) == ["confusion"]


def test_headline_numbers(tmp_path):
    page = write_report(data(), tmp_path).read_text()
    shown = re.findall(r"<dd>([^<]+)<", page)
    expected = ["98.1%", "0.050", "0.800", "0.960", "0.950", "0.900", "0.700"]
    expected += ["612.3", "620.9", "20", "1 h 2 min"]
    assert shown == [*expected, "1,000", "8,000"]
    assert "over 100 samples" in page


@pytest.mark.parametrize(
    "known, bound, scenes",
    [
        (
            {"bound_scenes": 1000, "scenes": 10_000},
            "over 100 samples, on the first 1,000 scenes<",
            "are over all of them, but for the tighter bound<",
        ),
        ({"bound_scenes": 20, "scenes": 20}, "over 100 samples<", "are over all of them<"),
        ({"scenes": 20}, "over 100 samples<", "are over all of them<"),  # not recorded
    ],
)
def test_the_report_says_on_which_scenes_the_bound_is(tmp_path, known, bound, scenes):
    page = write_report(data(evaluation=ALWAYS | known), tmp_path).read_text()
    assert bound in page and scenes in page


def test_numbers_that_are_not_finite_are_left_out(tmp_path):
    page = write_report(data(evaluation={"elbo": float("nan"), "scenes": 20}), tmp_path).read_text()
    assert "ELBO, nats an image" not in page and "Scenes evaluated" in page


def test_report_is_self_contained(tmp_path):
    page = write_report(data(), tmp_path).read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?://|url\(|@import|<script|<link", page)
    assert len(re.findall(r'<img alt="[^"]+"', page)) == page.count("<img")


def test_embedded_pictures_are_the_files(tmp_path):
    page = write_report(data(), tmp_path).read_text()
    kind, text = re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page)[-1]
    content = base64.b64decode(text)
    assert kind == "gif" and content == (tmp_path / "figures" / "training.gif").read_bytes()
    assert Image.open(BytesIO(content)).size[0] > 100


def test_title_and_configuration_are_escaped(tmp_path):
    hostile = data(title="<b>$1 & co", config={"name": "</pre><script>"})
    page = write_report(hostile, tmp_path).read_text()
    assert page.count("&lt;b&gt;$1 &amp; co") == 2
    assert "<b>" not in page and "<script>" not in page and "&lt;/pre&gt;" in page


def test_many_stages_are_thinned_out_to_the_first_and_last_and_some_between(tmp_path):
    write_report(data(stages=[(step, view()) for step in range(30)]), tmp_path)
    with Image.open(tmp_path / "figures" / "training.gif") as gif:
        assert len(list(ImageSequence.Iterator(gif))) == 30
    with Image.open(tmp_path / "figures" / "reconstructions.png") as picture:
        assert picture.height < 10 * 1.1 * 150


def test_an_existing_report_survives_a_failing_write(tmp_path, monkeypatch):
    path = write_report(data(title="first"), tmp_path)
    before = path.read_text()
    replace_file = Path.replace

    def fail_for_the_page(self, target):
        if Path(target).name == "report.html":
            raise OSError(28, "No space left on device")
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", fail_for_the_page)
    with pytest.raises(UserError, match="No space left"):
        write_report(data(title="second"), tmp_path)
    assert path.read_text() == before
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "figures"}
