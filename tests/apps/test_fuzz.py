"""Hostile use at random, the same at every call: damaged runs, flags, inputs, environments.

Every command must end with exit code 0, or with 2 and one line that is no traceback. After a
refusal all folders are byte for byte as before.
"""

import contextlib
import dataclasses
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import typing
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from airscene.apps.cli import COMMANDS, main
from airscene.config import Config
from airscene.presets import PRESETS

SCENES = "--scenes.canvas 12 12 --scenes.size 9 --scenes.train-size 16 --scenes.test-size 8"
SHORT = (
    "--training.iterations 2 --training.batch 4 --training.validate-every 1 "
    "--training.validation-scenes 4 --training.snapshots 2 --training.compile off"
)
MODELS = {
    "digits": "--model.glimpse 4 --model.what 2 --model.lstm 4 --model.hidden 4",
    "dair": "--model.glimpse 4 --model.what 2 --model.hidden 4 --scenes.source digits",
    "draw": "--model.steps 2 --model.latent 2 --model.lstm 4 --scenes.source digits",
}
TRIES = 1  # of each kind of damage
OWN = f"{SHORT} --model.glimpse 4 --model.what 2 --model.lstm 4 --model.hidden 4".split()


def tiny(preset: str = "digits") -> list[str]:
    """Flags of a training that takes a moment."""
    return f"--preset {preset} {SCENES} {MODELS[preset]} {SHORT}".split()


def tree(folder: Path) -> dict[str, bytes]:
    """All files and folders below a folder, with the files' content."""
    paths = folder.rglob("*")
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in paths if not p.is_fifo()}


def attempt(root: Path, *words: object) -> tuple[int, str]:
    """Runs a command and checks what holds for every command; returns its code and its message."""
    before, out, err = tree(root), io.StringIO(), io.StringIO()
    redirected = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with redirected[0], redirected[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:  # of --help
            code = ended.code
    lines = [line for line in err.getvalue().splitlines() if not line.startswith("step ")]
    assert code in (0, 2), err.getvalue()
    if code == 2:
        told = [line for line in lines if not line.startswith("airscene: note: ")]
        assert len(told) == 1 and told[0].startswith("airscene: ") and len(told[0]) > 15, lines
        if not diverged(told[0]):
            assert tree(root) == before, told
    return code, err.getvalue()


def diverged(line: str) -> bool:
    """Whether a training had begun before it was refused."""
    return "the loss is not finite" in line


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Figures take most of a report's time, and have tests of their own."""
    monkeypatch.setattr("airscene.report.page._write_figures", lambda *_: [])
    monkeypatch.setattr("airscene.results.evaluation.bound", lambda *_: 0.0)


@pytest.fixture
def drawing(quick, monkeypatch):
    """Draws the figures nevertheless."""
    monkeypatch.undo()
    monkeypatch.setattr("airscene.results.evaluation.bound", lambda *_: 0.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A run of each kind, and pictures; no test may touch them."""
    root = tmp_path_factory.mktemp("runs")
    (root / "pictures").mkdir()
    for k in range(5):
        pixels = default_rng(k).integers(0, 256, (12, 12), np.uint8)
        Image.fromarray(pixels).save(root / "pictures" / f"{k}.png")
    for preset in MODELS:
        assert attempt(root, "train", "--out", root / preset, *tiny(preset))[0] == 0
    own = ["--out", root / "own", "--data", root / "pictures", *OWN]
    assert attempt(root, "train", *own)[0] == 0
    return root


# damaged files of a run


def some_bytes(rng: Generator, content: bytes) -> bytes:
    """The content with a few bytes changed."""
    changed = bytearray(content)
    for place in rng.integers(0, max(1, len(changed)), 1 + rng.integers(8)):
        if changed:
            changed[place] = rng.integers(256)
    return bytes(changed)


HOSTILE = (
    *(None, True, -1, 0, 10**6, 2**64, 10**400, 1.5, -0.0, 1e308, 1e-300, math.nan, math.inf),
    *("", "x", "ü" * 300, "\0", [], {}, [[]], {"a": {}}, [1e9] * 3, [[0, 1], [0, 1]]),
)
DEEP = "[" * 5000


def in_place_of(rng: Generator, value: typing.Any) -> typing.Any:
    """Plain values with one of them, at any depth, replaced by a hostile one, removed or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = str(rng.choice([*value]))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != name}
        if rng.random() < 0.1:
            return value | {"more": HOSTILE[rng.integers(len(HOSTILE))]}
        return value | {name: in_place_of(rng, value[name])}
    return HOSTILE[rng.integers(len(HOSTILE))]


def damage_json(rng: Generator, path: Path) -> None:
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    chosen = rng.integers(len(lines)) if lines else 0
    if lines:
        lines[chosen] = json.dumps(in_place_of(rng, json.loads(lines[chosen])))
    path.write_text("\n".join(lines) + "\n")


def damage_tensors(rng: Generator, path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    name = str(rng.choice([*tensors]))
    changes: list[Callable] = [
        lambda value: None,
        lambda value: value.double(),
        lambda value: value.long(),
        lambda value: value * math.nan,
        lambda value: value.flatten()[:0].clone(),
        lambda value: value[None].clone(),
    ]
    tensors[name] = changes[rng.integers(len(changes))](tensors[name])
    save_file({k: v for k, v in tensors.items() if v is not None}, path, about)


def damage_position(rng: Generator, path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    position = in_place_of(rng, json.loads(about["position"]))
    text = str(rng.choice([json.dumps(position), DEEP, "", "{"]))
    save_file(load_file(path), path, about | {"position": text})


def replace_by_folder(rng: Generator, path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_other(rng: Generator, path: Path) -> None:
    others = [p for p in sorted(path.parent.rglob("*")) if p.is_file()]
    path.write_bytes(others[rng.integers(len(others))].read_bytes())


def truncate(rng: Generator, path: Path) -> None:
    path.write_bytes(path.read_bytes()[: rng.integers(path.stat().st_size + 1)])


DAMAGES: dict[str, Callable[[Generator, Path], object]] = {
    "truncated": truncate,
    "bytes changed": lambda rng, path: path.write_bytes(some_bytes(rng, path.read_bytes())),
    "noise": lambda rng, path: path.write_bytes(rng.bytes(100)),
    "nested": lambda rng, path: path.write_text(DEEP),
    "removed": lambda rng, path: path.unlink(),
    "a folder": replace_by_folder,
    "another file": replace_by_other,
}
VALUES = {".json": [damage_json], ".jsonl": [damage_json]}
VALUES[".safetensors"] = [damage_tensors, damage_position]

USES: dict[str, Callable[[Path, Path], list]] = {
    "evaluate": lambda run, root: ["evaluate", run],
    "report": lambda run, root: ["report", run],
    "infer": lambda run, root: ["infer", run, root / "x.png", "--out", root / "y"],
    "generate": lambda run, root: ["generate", run, "--out", root / "g", "--n", 2],
    "resume": lambda run, root: ["train", "--out", run, "--resume"],
    "overwrite": lambda run, root: ["train", "--out", run, "--overwrite", *tiny()],
    "train": lambda run, root: ["train", "--out", run, *tiny()],
}


@pytest.mark.parametrize("seed", range(160))
def test_a_damaged_run_is_told_or_does_no_harm(runs, tmp_path, seed):
    rng = default_rng(seed)
    kind = str(rng.choice(["digits", "dair", "draw", "own"]))
    run = Path(shutil.copytree(runs / kind, tmp_path / "run"))
    shutil.copy(runs / "pictures" / "0.png", tmp_path / "x.png")
    files = [path for path in sorted(run.rglob("*")) if path.is_file()]
    important = [path for path in files if path.suffix in VALUES]
    path = (important if rng.random() < 0.8 else files)[rng.integers(len(important))]
    damages = [*DAMAGES.values(), *VALUES.get(path.suffix, []) * 4]
    damages[rng.integers(len(damages))](rng, path)
    use = USES[str(rng.choice([*USES]))]
    code, message = attempt(tmp_path, *use(run, tmp_path))
    if code == 0 and use is not USES["infer"] and use is not USES["generate"]:
        json.loads((run / "evaluation.json").read_bytes(), parse_constant=pytest.fail)
    assert "Traceback" not in message


# every kind of damage, one by one, with figures


PLACES = (
    *("config.json", "checkpoint.safetensors", "metrics.jsonl", "evaluation.json"),
    *("pictures.json", "report.html", "snapshots/00000002.npz", "figures/bound.png"),
    *("figures", "snapshots", "tensorboard"),
)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


IN_PLACE: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "an empty file": lambda path: path.write_bytes(b""),
    "a folder": lambda path: (path.mkdir(), (path / "mine").write_text("mine")),
    "a pipe": os.mkfifo,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture
def no_waiting():
    """Ends what waits."""

    def end(*_: object) -> None:
        pytest.fail("it waits without end")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READING = ("evaluate", "report", "infer", "resume", "overwrite", "train", "generate")


@pytest.mark.parametrize("kind", IN_PLACE)
@pytest.mark.parametrize("name", PLACES)
def test_whatever_stands_in_the_place_of_a_file(runs, tmp_path, drawing, no_waiting, name, kind):
    shutil.copy(runs / "pictures" / "0.png", tmp_path / "x.png")
    rng = default_rng([len(name), len(kind)])
    for use in rng.permutation(READING)[:2]:
        run = Path(shutil.copytree(runs / "own", tmp_path / str(use)))
        remove(run / name)
        IN_PLACE[kind](run / name)
        attempt(tmp_path, *USES[str(use)](run, tmp_path))


TEXTS = {
    "NaN": "NaN",
    "infinity": "-Infinity",
    "large": "1e308",
    "above all": "1e999",
    "huge": "1" + 400 * "0",
    "endless": 5000 * "1",
    "negative": "-1",
    "zero": "0",
    "half": "0.5",
    "word": '"x"',
    "zero byte": '"a\\u0000b"',
    "surrogate": '"\\ud800"',
    "line break": '"a\\nb"',
    "null": "null",
    "true": "true",
    "list": "[]",
    "ragged": '[[1, 2], ["x"]]',
    "counts": "[[1, 2], [3]]",
    "huge counts": "[[1" + 30 * "0" + ", -5]]",
    "object": "{}",
    "deep": 900 * "[" + 900 * "]",
    "deeper": 100_000 * "[" + 100_000 * "]",
    "deep object": 900 * '{"a":' + "1" + 900 * "}",
}
"""Values as JSON writes them."""

FILES_OF_TEXT = {
    "config.json": READING,
    "metrics.jsonl": ("report", "resume"),
    "evaluation.json": ("report",),
    "pictures.json": ("report", "resume", "evaluate", "infer"),
    "checkpoint.safetensors": ("report", "resume", "evaluate"),
}


def places_in(value: typing.Any, path: tuple = ()) -> list[tuple]:
    """The places of all values within nested plain values."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [path, *(place for key, part in inner for place in places_in(part, (*path, key)))]


def put(value: typing.Any, path: tuple, text: str) -> str:
    """Nested plain values as JSON, with a text in place of the value at a path."""

    def replaced(value: typing.Any, path: tuple) -> typing.Any:
        if not path:
            return "@"
        copy = value.copy()
        copy[path[0]] = replaced(value[path[0]], path[1:])
        return copy

    return json.dumps(replaced(value, path)).replace('"@"', text)


def put_somewhere(rng: Generator, line: str, text: str) -> str:
    values = json.loads(line)
    places = [place for place in places_in(values) if place]
    return put(values, places[rng.integers(len(places))], text)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("name", FILES_OF_TEXT)
def test_every_kind_of_value_in_a_file(runs, tmp_path, drawing, no_waiting, name, kind):
    shutil.copy(runs / "pictures" / "0.png", tmp_path / "x.png")
    rng = default_rng([len(name), *kind.encode()])
    for k in range(TRIES):
        runs_of = ["own"] if name == "pictures.json" else ["digits", "draw", "own"]
        run = Path(shutil.copytree(runs / str(rng.choice(runs_of)), tmp_path / f"run{k}"))
        path = run / name
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                about = file.metadata()
            position = put_somewhere(rng, about["position"], TEXTS[kind])
            save_file(load_file(path), path, about | {"position": position})
        else:
            lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            lines[0] = put_somewhere(rng, lines[0], TEXTS[kind])
            path.write_text("\n".join(lines) + "\n")
        use = str(rng.choice(FILES_OF_TEXT[name]))
        code, _ = attempt(tmp_path, *USES[use](run, tmp_path))
        if code == 0 and use in ("evaluate", "report"):
            json.loads((run / "evaluation.json").read_bytes(), parse_constant=pytest.fail)


@pytest.mark.parametrize("value", [3e38, -3e38, 1e30, 1e-45])
@pytest.mark.parametrize("kind", ["digits", "dair", "draw"])
def test_extreme_weights(runs, tmp_path, monkeypatch, kind, value):
    monkeypatch.undo()
    shutil.copy(runs / "pictures" / "0.png", tmp_path / "x.png")
    rng = default_rng([*kind.encode()])
    for use in ("evaluate", str(rng.choice(["report", "infer", "generate", "resume"]))):
        run = Path(shutil.copytree(runs / kind, tmp_path / use))
        path = run / "checkpoint.safetensors"
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        tensors = load_file(path)
        name = str(rng.choice([name for name in tensors if name.startswith("weights")]))
        save_file(tensors | {name: tensors[name] * 0 + value}, path, about)
        remove(run / "evaluation.json")
        code, _ = attempt(tmp_path, *USES[use](run, tmp_path))
        if code == 0 and use in ("evaluate", "report"):
            json.loads((run / "evaluation.json").read_bytes(), parse_constant=pytest.fail)


SNAPSHOTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NaN": lambda array: np.full(array.shape, np.nan),
    "large": lambda array: np.full(array.shape, 1e308),
    "negative": lambda array: np.full(array.shape, -1),
    "many": lambda array: np.full(array.shape, 2**31),
    "objects": lambda array: np.array([None, {}], dtype=object),
    "words": lambda array: np.array(["a", "b"]),
    "truths": lambda array: array.astype(bool),
    "half": lambda array: array.astype(np.float16),
    "a number": lambda array: np.float32(1),
    "no rows": lambda array: array[:0],
    "no columns": lambda array: array[..., :0],
    "fewer": lambda array: array[:1],
    "more axes": lambda array: array[None, None],
    "flat": lambda array: array.reshape(-1),
    "twice": lambda array: np.concatenate([array, array]),
}


@pytest.mark.parametrize("kind", SNAPSHOTS)
@pytest.mark.parametrize("name", ["image", "reconstruction", "windows", "count"])
def test_an_array_of_a_snapshot(runs, tmp_path, drawing, name, kind):
    run = Path(shutil.copytree(runs / "digits", tmp_path / "run"))
    path = sorted((run / "snapshots").iterdir())[-1]
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {name: SNAPSHOTS[kind](arrays[name])})
    assert attempt(tmp_path, "report", run)[0] == 0


# hostile values of flags

VALUES_OF_FLAGS = (
    *("", "0", "-1", "nan", "inf", "-inf", "1e308", "1e-300", "1e12", str(2**64), "9" * 400),
    *("x", "-", "--", "ü", "None", "True", "/dev/null", "/nowhere/at/all", "~nobody/x", ".", "/"),
    *("a" * 10_000, "x\0y", "[1, 2]", "{}", "0 1", "../..", "%s", "$(true)", "*"),
)


def flags_of(kind: type, prefix: str = "--") -> list[str]:
    """Every flag of a command, those of nested dataclasses included."""
    flags = []
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            flags += flags_of(hint, "--" if hint is Config else f"{prefix}{name}.")
        else:
            flags.append(f"{prefix}{name}".replace("_", "-"))
    models = [PRESETS[preset].model for preset in MODELS] if kind is Config else []
    for model in models:
        flags += [f"--model.{field.name}".replace("_", "-") for field in dataclasses.fields(model)]
    return flags


def beginning(command: str, rng: Generator, runs: Path, root: Path) -> list:
    """A command that would be right as it stands."""
    run = root / "run"
    return {
        "train": ["--out", root / "new", *tiny(str(rng.choice([*MODELS])))],
        "evaluate": [run],
        "infer": [run, root / "x.png", "--out", root / "y"],
        "generate": [run, "--out", root / "g", "--n", 1],
        "report": [run],
        "data": ["nothing", "--out", root / "d.npz"],
        "reproduce": ["nothing", "--out", root / "r"],
    }[command]


def spelled(rng: Generator, flag: str, value: str) -> list[str]:
    """A flag in one of the spellings that the parser knows, or without its value."""
    flag = flag.replace("-", "_").replace("__", "--", 1) if rng.random() < 0.3 else flag
    spelling = rng.integers(10)
    if spelling == 0:
        return [flag]
    return [f"{flag}={value}"] if spelling < 4 else [flag, value]


@pytest.mark.parametrize("seed", range(200))
def test_a_hostile_flag_is_refused_or_does_no_harm(runs, tmp_path, monkeypatch, seed):
    rng = default_rng(1000 + seed)
    shutil.copytree(runs / "digits", tmp_path / "run")
    shutil.copy(runs / "pictures" / "0.png", tmp_path / "x.png")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    names = [*COMMANDS, *["train"] * 10]
    command = names[rng.integers(len(names))]
    flags = [
        flag
        for flag in flags_of(COMMANDS[command])
        if flag not in ("--out", "--overlay", "--labels")
    ]
    flag = flags[rng.integers(len(flags))]
    value = VALUES_OF_FLAGS[rng.integers(len(VALUES_OF_FLAGS))]
    words = beginning(command, rng, runs, tmp_path)
    attempt(tmp_path, command, *words, *spelled(rng, flag, value))


@pytest.mark.parametrize(
    "value", ["", "/dev/null/x", "/proc/x", "a" * 300, "x.png", "x.png/y", "."]
)
@pytest.mark.parametrize("command", ["train", "infer", "generate", "data", "evaluate"])
def test_a_hostile_place_to_write_is_refused_before_any_work(
    runs, tmp_path, monkeypatch, command, value
):
    shutil.copytree(runs / "digits", tmp_path / "run")
    shutil.copy(runs / "pictures" / "0.png", tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)
    words = [str(word) for word in beginning(command, default_rng(0), runs, tmp_path)]
    words = words[: words.index("--out")] if "--out" in words else words
    words += tiny() if command == "train" else []
    words = ["digits" if word == "nothing" else word for word in words]
    code, _ = attempt(tmp_path, command, *words, "--out", value)
    fine = {("train", "."), ("generate", "."), ("evaluate", "x.png")}
    assert code == (0 if (command, value) in fine else 2)


# damaged and hostile inputs

FORMATS = ("png", "jpg", "bmp", "tif", "gif", "webp", "npy", "npz")


def make_input(rng: Generator, path: Path) -> None:
    shape = (12, 12, 3) if rng.random() < 0.5 else (12, 12)
    pixels = rng.integers(0, 256, shape, np.uint8)
    if path.suffix == ".npy":
        np.save(path, pixels[None])
    elif path.suffix == ".npz":
        count = np.array([1])
        np.savez(path, x=pixels[None], count=count, boxes=np.array([[[1.0, 1, 5, 5]]]))
    else:
        Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("seed", range(160))
def test_a_damaged_input_is_told_or_does_no_harm(runs, tmp_path, seed):
    rng = default_rng(2000 + seed)
    run = Path(shutil.copytree(runs / "digits", tmp_path / "run"))
    path = tmp_path / f"x.{FORMATS[seed % len(FORMATS)]}"
    make_input(rng, path)
    content = path.read_bytes()
    kept = content[: rng.integers(len(content) + 1)] if rng.random() < 0.4 else content
    path.write_bytes(some_bytes(rng, kept))
    if rng.random() < 0.8:
        attempt(tmp_path, "infer", run, path, "--out", tmp_path / "y")
    else:
        attempt(tmp_path, "evaluate", run, "--data", path)


ARRAYS: dict[str, Callable[[], dict]] = {
    "complex": lambda: {"x": np.zeros((1, 12, 12), complex)},
    "objects": lambda: {"x": np.array([[object()]])},
    "strings": lambda: {"x": np.full((1, 12, 12), "a")},
    "times": lambda: {"x": np.zeros((1, 12, 12), "datetime64[s]")},
    "records": lambda: {"x": np.zeros((1, 12, 12), [("a", "u1")])},
    "big-endian": lambda: {"x": np.zeros((1, 12, 12), ">f4")},
    "negative": lambda: {"x": np.full((1, 12, 12), -1.0)},
    "NaN": lambda: {"x": np.full((1, 12, 12), np.nan)},
    "empty": lambda: {"x": np.zeros((0, 12, 12), np.uint8)},
    "flat": lambda: {"x": np.zeros((1, 0, 12), np.uint8)},
    "scalar": lambda: {"x": np.array(3.0)},
    "deep": lambda: {"x": np.zeros((1,) * 30, np.uint8)},
    "no image": lambda: {"count": np.array([1])},
    "reversed boxes": lambda: truth(boxes=[[[5.0, 5, 1, 1]]]),
    "boxes of NaN": lambda: truth(boxes=[[[np.nan] * 4]]),
    "few boxes": lambda: truth(count=[3], boxes=[[[1.0, 1, 5, 5]]]),
    "flat boxes": lambda: truth(boxes=[1.0, 1, 5, 5]),
    "fractional counts": lambda: truth(count=[0.5]),
    "many counts": lambda: truth(count=[1, 1, 1]),
    "huge counts": lambda: truth(count=[2**62]),
    "named counts": lambda: truth(count=["one"]),
}


def truth(**arrays) -> dict:
    """One picture with a truth."""
    known = {"count": [1]} | arrays
    return {"x": np.zeros((1, 12, 12), np.uint8)} | {k: np.array(v) for k, v in known.items()}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("use", ["infer", "evaluate", "train"])
def test_a_hostile_array_is_told_or_does_no_harm(runs, tmp_path, kind, use):
    run = Path(shutil.copytree(runs / "digits", tmp_path / "run"))
    path = tmp_path / "x.npz"
    np.savez(path, **ARRAYS[kind]())
    words = {
        "infer": ["infer", run, path, "--out", tmp_path / "y"],
        "evaluate": ["evaluate", run, "--data", path],
        "train": ["train", "--data", path, "--out", tmp_path / "new", *OWN],
    }
    attempt(tmp_path, *words[use])


@pytest.mark.parametrize("use", ["infer", "evaluate", "train"])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(runs, tmp_path, use):
    run = Path(shutil.copytree(runs / "digits", tmp_path / "run"))
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", "/dev/random"):
        words = {
            "infer": ["infer", run, path, "--out", tmp_path / "y"],
            "evaluate": ["evaluate", run, "--data", path],
            "train": ["train", "--data", path, "--out", tmp_path / "new", *OWN],
        }
        assert attempt(tmp_path, *words[use])[0] == 2


# hostile environments

ENVIRONMENTS = {
    "a rank that is no number": ({"RANK": "abc"}, 2),
    "a precision that is none": ({"ACCELERATE_MIXED_PRECISION": "fp3"}, None),
    "an unknown backend of figures": ({"MPLBACKEND": "foo"}, 0),
    "warnings as errors": ({"PYTHONWARNINGS": "error::UserWarning"}, 0),
    "no language, no terminal": (
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "x", "HOME": ""},
        0,
    ),
}


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_a_hostile_environment_is_told_or_does_no_harm(tmp_path, kind):
    changes, expected = ENVIRONMENTS[kind]
    command = [sys.executable, "-m", "airscene", "train", "--out", tmp_path / "run", *tiny()]
    done = subprocess.run(
        [*map(str, command)], env=os.environ | changes, capture_output=True, text=True
    )
    assert done.returncode in (0, 2) if expected is None else done.returncode == expected
    assert "Traceback" not in done.stderr, done.stderr
