import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageColor, ImageSequence

from airscene.errors import UserError
from airscene.report import figures
from airscene.report.figures import View
from airscene.report.figures.style import STEP_COLOURS, STYLE

SHAPES = [(1, 50, 50), (3, 50, 50), (1, 24, 40), (3, 40, 24)]
shapes = pytest.mark.parametrize("shape", SHAPES)


def view(shape=(1, 50, 50), count=(0, 1, 2), steps=3) -> View:
    random = np.random.default_rng(0)
    image = random.random((len(count), *shape), dtype=np.float32)
    windows = np.tile(np.array([2.0, 3.0, 12.0, 15.0]), (len(count), steps, 1))
    windows += np.arange(steps)[:, None]
    return View(image, 1.3 * image, windows, np.array(count))


def rectangles(axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def render(figure: Figure) -> Figure:
    figure.canvas.draw()  # warnings are errors: drawing must raise none
    return figure


@shapes
def test_reconstructions_has_a_row_for_the_scenes_and_for_each_stage(shape):
    figure = render(figures.reconstructions([(0, view(shape)), (12000, view(shape))]))
    assert len(figure.axes) == 3 * 3
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["scene", "0", "12,000"]
    assert all(axes.images for axes in figure.axes)


def test_windows_from_the_count_on_are_not_drawn():
    figure = figures.reconstructions([(0, view(count=(0, 1, 2, 3)))])
    drawn = [len(rectangles(axes)) for axes in figure.axes]
    assert drawn == [0, 0, 0, 0, 0, 1, 2, 3]


def test_windows_stand_at_their_pixels_in_the_colours_of_their_steps():
    (*_, axes) = figures.reconstructions([(0, view(count=(2,)))]).axes
    first, second = rectangles(axes)
    assert first.get_bbox().bounds == (2, 3, 10, 12)
    assert second.get_bbox().bounds == (3, 4, 10, 12)
    assert first.get_edgecolor() == to_rgba(STEP_COLOURS[0])
    assert second.get_edgecolor() == to_rgba(STEP_COLOURS[1])
    assert axes.get_xlim() == (0, 50) and axes.get_ylim() == (50, 0)


def test_more_steps_than_colours_are_drawn():
    steps = len(STEP_COLOURS) + 2
    (*_, axes) = render(figures.reconstructions([(0, view(count=(steps,), steps=steps))])).axes
    assert len(rectangles(axes)) == steps


def test_reconstructions_needs_a_stage():
    with pytest.raises(ValueError, match="at least one stage"):
        figures.reconstructions([])


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((3, 2, 50, 50))},
        {"reconstruction": np.zeros((3, 1, 50, 49))},
        {"windows": np.zeros((3, 4))},
        {"count": np.zeros(2, dtype=int)},
    ],
)
def test_a_view_of_different_scenes_is_refused(change):
    good = vars(view())
    with pytest.raises(ValueError, match=r"must be|does not reconstruct"):
        View(**(good | change))


@shapes
def test_mistakes_are_titled_true_as_inferred(shape):
    figure = render(figures.mistakes(view(shape, count=(1, 0)), np.array([2, 1])))
    assert [axes.get_title() for axes in figure.axes] == ["2 as 1", "1 as 0", "", ""]
    assert [len(rectangles(axes)) for axes in figure.axes] == [0, 0, 1, 0]


@shapes
def test_scenes_grid_leaves_the_rest_of_the_last_row_empty(shape):
    figure = render(figures.scenes_grid(view(shape, count=[0] * 5).image, columns=3))
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 1, 0]
    assert [axes.axison for axes in figure.axes] == [True] * 5 + [False]


@shapes
def test_a_drawing_shows_the_canvas_and_the_window_of_each_step_below_the_scenes(shape):
    images = view(shape, count=(0, 0)).image
    canvases = np.tile(images[:, None] / 2, (1, 3, 1, 1, 1))
    windows = np.array([2.0, 3.0, 12.0, 15.0]) + np.arange(6).reshape(2, 3, 1)
    windows[1, 2] = [-9, -9, 99, 99]  # a window may be larger than the canvas
    figure = render(figures.drawing(images, canvases, windows))
    labels = [axes.get_ylabel() for axes in figure.axes[::2]]
    assert labels == ["scene", "step 1", "step 2", "step 3"]
    drawn = [[box.get_bbox().extents.tolist() for box in rectangles(a)] for a in figure.axes]
    assert drawn[:2] == [[], []]
    assert drawn[2:] == [[window.tolist()] for step in range(3) for window in windows[:, step]]
    assert all(axes.get_xlim() == (0, shape[2]) for axes in figure.axes)
    assert all(axes.get_ylim() == (shape[1], 0) for axes in figure.axes)


def test_a_drawing_of_many_steps_shows_some_from_the_first_to_the_last():
    canvases, windows = np.zeros((1, 40, 1, 8, 8)), np.ones((1, 40, 4))
    figure = render(figures.drawing(canvases[:, 0], canvases, windows))
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels[:2] == ["scene", "step 1"] and labels[-1] == "step 40" and len(labels) == 8


def test_gray_pictures_span_black_to_white_whatever_their_range():
    image = np.full((1, 1, 8, 8), 0.5)
    image[0, 0, 0, 0], image[0, 0, 0, 1] = 1.7, np.nan
    pixels = np.asarray(figures.scenes_grid(image, columns=1).axes[0].images[0].get_array())
    assert pixels[0, 0].tolist() == [255] * 3
    assert pixels[0, 1].tolist() == [0] * 3
    assert pixels[4, 4].tolist() == [128] * 3


def test_count_accuracy_skips_what_was_not_measured_and_writes_the_last_value():
    figure = render(figures.count_accuracy(np.arange(4), np.array([0.3, 0.9, np.nan, 0.982])))
    (axes,) = figure.axes
    assert np.array_equal(axes.lines[0].get_xdata(), [0, 1, 3])
    assert [text.get_text() for text in axes.texts] == ["98.2%"]


def test_bound_is_not_flattened_by_the_first_values():
    steps = np.arange(100)
    elbo = np.where(steps < 5, -1e6, 600.0 + steps)
    (axes,) = render(figures.bound(steps, elbo, np.where(steps % 10, np.nan, elbo))).axes
    low, high = axes.get_ylim()
    assert 590 < low < 620 and 699 < high < 720
    assert [line.get_label() for line in axes.lines] == ["training", "held out"]
    assert axes.get_legend() is not None


@pytest.mark.parametrize("elbo", [[600.0], [np.nan, np.nan], [5.0, 5.0]])
def test_bound_draws_short_flat_and_failed_runs(elbo):
    render(figures.bound(np.arange(len(elbo)), np.array(elbo)))


@pytest.mark.parametrize("canvas", [(50, 50), (24, 60)])
def test_heatmaps_count_centres_where_they_lie(canvas):
    windows = np.full((7, 3, 4), np.nan)
    windows[:, 0] = [0, 0, 2, 2]  # centred at (1, 1): the upper left bin
    windows[:3, 1] = [canvas[1] - 2, canvas[0] - 2, canvas[1], canvas[0]]
    figure = render(figures.window_heatmaps(windows, canvas))
    first, second, third = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert first[0, 0] == 7 and first.sum() == 7
    assert second[-1, -1] == 3 and second.sum() == 3
    assert third.sum() == 0
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["step 1: 7 windows", "step 2: 3 windows", "step 3: unused"]


def test_confusion_writes_counts_and_percentages_of_each_row():
    (axes,) = render(figures.confusion(np.array([[3, 1, 0], [0, 0, 0], [0, 500, 1500]]))).axes
    texts = [text.get_text().split("\n") for text in axes.texts]
    assert [text[0] for text in texts] == ["3", "1", "0", "0", "0", "0", "0", "500", "1,500"]
    shares = ["75.0%", "25.0%", "0.0%", "0.0%", "0.0%", "0.0%", "0.0%", "25.0%", "75.0%"]
    assert [text[1] for text in texts] == shares


def test_count_histogram_has_a_bar_for_each_count():
    (axes,) = render(figures.count_histogram(np.array([10, 30, 0]))).axes
    assert [bar.get_height() for bar in rectangles(axes)] == [10, 30, 0]
    assert [text.get_text() for text in axes.texts] == ["25.0%", "75.0%", "0.0%"]


@pytest.mark.parametrize("number", [1, 5, 13])
def test_learning_curves_have_a_panel_an_estimator_and_a_line_a_run(number):
    curve = np.arange(1, 4) * 10.0, np.array([0.3, 0.9, 0.97])
    nothing, point = (np.zeros(0), np.zeros(0)), (np.array([7.0]), np.array([0.4]))
    runs = {f"name {k}": [curve, point, nothing] for k in range(number)}
    figure = render(figures.learning_curves(runs, curve, mark=0.95))
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in shown] == list(runs)
    for axes in shown:
        mark, reference, *lines = axes.lines
        assert set(mark.get_ydata()) == {0.95}
        assert reference.get_color() == STYLE["reference"]["color"]
        assert [len(line.get_xdata()) for line in lines] == [3, 1, 0]
        assert axes.get_xlim()[0] == 0 and axes.get_ylim() == (0, 1.05)


def test_gradient_variance_has_a_panel_a_group_and_a_marker_a_stage():
    median = np.geomspace(1e-6, 1e2, 2 * 3 * 4).reshape(2, 3, 4)
    median[0, 0, 0], median[1, 1, 1] = 0.0, np.nan  # not to be drawn
    names, stages, groups = ["a", "b"], ["early", "middle", "late"], list("ABCD")
    figure = render(figures.gradient_variance(median, 10 * median, names, stages, groups))
    assert [axes.get_title() for axes in figure.axes] == groups
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    assert all(axes.get_xscale() == "log" for axes in figure.axes)
    drawn = [[len(line.get_xdata()) for line in axes.lines] for axes in figure.axes]
    assert drawn == [[1, 2, 2], [2, 1, 2], [2, 2, 2], [2, 2, 2]]
    assert [text.get_text() for text in figure.legends[0].texts] == stages


@shapes
def test_overlay_is_large_and_draws_the_boxes(shape):
    picture = figures.overlay(np.zeros(shape), np.array([[4.0, 6.0, 16.0, 20.0]]), [""])
    scale = picture.width // shape[2]
    assert picture.mode == "RGB" and max(picture.size) >= 256
    assert picture.size == (scale * shape[2], scale * shape[1])
    assert picture.getpixel((4 * scale, 10 * scale)) == ImageColor.getrgb(STEP_COLOURS[0])
    assert picture.getpixel((8 * scale, 10 * scale)) == (0, 0, 0)


def test_overlay_keeps_labels_on_the_picture():
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [45.0, 45.0, 50.0, 50.0]])
    bare = figures.overlay(np.zeros((1, 50, 50)), boxes, ["", ""])
    labelled = figures.overlay(np.zeros((1, 50, 50)), boxes, ["7 (0.98)", "long label"])
    changed = (np.asarray(bare) != np.asarray(labelled)).any(axis=2)
    assert changed[:20, :60].any() and changed[-50:, -80:].any()


def test_overlay_needs_a_label_for_each_box():
    with pytest.raises(ValueError):
        figures.overlay(np.zeros((1, 8, 8)), np.zeros((2, 4)), ["one"])


@shapes
def test_animation_has_a_frame_a_stage_and_rests_on_the_last(shape, tmp_path):
    frames = figures.training_animation([(step, view(shape)) for step in (0, 10, 2000)])
    assert len({frame.size for frame in frames}) == 1
    path = figures.save_gif(frames, tmp_path / "training.gif", 0.5)
    with Image.open(path) as gif:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert durations == [500, 500, 2000]


def test_an_animation_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "training.gif"
    path.write_bytes(b"old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="No space left"):
        figures.save_gif([Image.new("RGB", (4, 4))], path, 0.5)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


# --- generalisation and robustness


def curves(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.arange(1.0, 5.0), np.linspace(0, 1, 4) + 0.1 * run) for run in range(number)]


def seen_by(count: int) -> View:
    image = np.random.default_rng(0).random((4, 1, 10, 12))
    windows = np.tile([2.0, 2.0, 8.0, 9.0], (4, 3, 1))
    return View(image, image, windows, np.full(4, count))


def test_models_are_compared_by_what_they_make_of_the_same_scenes_and_by_curves():
    views = {"AIR": seen_by(1), "DAIR": seen_by(3)}
    bounds = {"AIR": curves(2), "DAIR": curves(1)}
    figure = figures.generalization(views, bounds, {"DAIR": curves(3)})
    left, right = figure.subfigs
    assert len(left.axes) == 3 * 4  # scenes and two models
    assert [len(axes.patches) for axes in left.axes[4:]] == [1] * 4 + [3] * 4
    assert [len(axes.lines) for axes in right.axes] == [3, 3]
    labels = [text.get_text() for text in right.axes[0].get_legend().get_texts()]
    assert labels == ["AIR", "DAIR"]  # one a model and not one a run


def test_without_a_bound_the_shares_alone_are_drawn():
    figure = figures.generalization({"AIR": seen_by(1)}, {}, {"AIR": curves(1)})
    (axes,) = figure.subfigs[1].axes
    assert axes.get_ylabel() == "counted right" and axes.get_xlabel() == "training iteration"


def test_counts_of_training_are_shaded():
    (axes,) = figures.accuracy_by_count({"AIR": curves(2)}, seen=(0, 1)).axes
    assert len(axes.patches) == 2 and len(axes.lines) == 2


def test_every_cell_of_a_heatmap_tells_its_rate():
    rates = {"a": np.array([[0.0, 0.5]]), "b": np.array([[1.0, 0.25]])}
    figure = figures.success_heatmaps(rates, ["21"], ["0.8", "1"])
    told = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert told == [["0%", "50%"], ["100%", "25%"]]
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
