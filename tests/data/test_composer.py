from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from airscene.core.spatial import INK
from airscene.data import composer
from airscene.data.composer import Composer, SceneConfig, compose_split
from airscene.data.sources import Sprites, load_sprites
from airscene.errors import UserError

DIGITS = load_sprites("digits", "train")
CONFIG = SceneConfig(canvas=(40, 40), size=16.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def compose(config: SceneConfig, number: int = 200, seed: int = 0, sprites: Sprites = DIGITS):
    return Composer(sprites, config).compose(number, seeded(seed))


def blocks(*levels: int) -> Sprites:
    """Uniform sprites, which stay uniform at any size: a block's level tells its label."""
    images = torch.tensor(levels, dtype=torch.uint8)[:, None, None].expand(-1, 8, 8)
    return Sprites(images.contiguous(), torch.tensor(levels))


def box_of(image: torch.Tensor) -> list[int]:
    y, x = np.nonzero(image.numpy() > 255 * INK)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def painted(scenes, index: int) -> torch.Tensor:
    """The sum of a scene's blocks, drawn from its truth alone."""
    canvas = torch.zeros(scenes.image.shape[2:])
    for k in range(int(scenes.count[index])):
        x0, y0, x1, y1 = scenes.boxes[index, k].int().tolist()
        canvas[y0:y1, x0:x1] += scenes.labels[index, k]
    return canvas


def crossings(scenes) -> int:
    """The number of scenes in which two boxes share a pixel."""
    found = 0
    for count, boxes in zip(scenes.count.tolist(), scenes.boxes, strict=True):
        cover = torch.zeros(scenes.image.shape[2:])
        for x0, y0, x1, y1 in boxes[:count].int().tolist():
            cover[y0:y1, x0:x1] += 1
        found += int(cover.max() > 1)
    return found


@given(
    height=st.integers(24, 48),
    width=st.integers(24, 48),
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
    overlap=st.sampled_from(["pixels", "any"]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_scenes_keep_the_contract(height, width, counts, overlap, seed):
    config = SceneConfig(
        canvas=(height, width), counts=tuple(counts), overlap=overlap, size=10.0, scale_mean=1.2
    )
    scenes = compose(config, 9, seed)
    most = max(counts)
    assert scenes.image.shape == (9, 1, height, width) and scenes.image.dtype == torch.uint8
    assert scenes.count.shape == (9,) and set(scenes.count.tolist()) <= set(counts)
    assert scenes.boxes.shape == (9, most, 4) and scenes.boxes.dtype == torch.float32
    assert scenes.labels.shape == (9, most) and scenes.labels.dtype == torch.int64
    absent = torch.arange(most) >= scenes.count[:, None]
    assert (scenes.boxes[absent] == 0).all() and (scenes.labels[absent] == -1).all()
    x0, y0, x1, y1 = scenes.boxes[~absent].unbind(1)
    assert (x0 >= 0).all() and (x0 < x1).all() and (x1 <= width).all()
    assert (y0 >= 0).all() and (y0 < y1).all() and (y1 <= height).all()


def test_the_generator_decides_everything():
    first, again, other = compose(CONFIG), compose(CONFIG), compose(CONFIG, seed=1)
    for name in ("image", "count", "boxes", "labels"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_one_generator_gives_new_scenes_each_call():
    generator = seeded(0)
    scenes = [Composer(DIGITS, CONFIG).compose(20, generator) for _ in range(2)]
    assert not torch.equal(scenes[0].image, scenes[1].image)


def test_chunks_make_one_batch(monkeypatch):
    monkeypatch.setattr(composer, "PIXELS", 3 * 40 * 40 * 2)
    scenes = compose(CONFIG, 20)
    assert len(scenes) == 20
    assert torch.equal((scenes.labels >= 0).sum(1), scenes.count)


@pytest.mark.parametrize("canvas", [(40, 40), (30, 57), (57, 30)])
def test_the_box_of_a_lone_object_is_that_of_its_ink(canvas):
    scenes = compose(replace(CONFIG, canvas=canvas, counts=(1,)), 60)
    for image, boxes in zip(scenes.image, scenes.boxes, strict=True):
        assert boxes[0].tolist() == box_of(image[0])


def test_images_are_the_sum_of_the_objects_in_the_truth():
    scenes = compose(replace(CONFIG, counts=(0, 3)), 60, sprites=blocks(60, 70, 80))
    for index in range(60):
        assert torch.equal(scenes.image[index, 0].float(), painted(scenes, index))


def test_boxes_never_overlap():
    crowded = replace(CONFIG, counts=(3,))
    assert crossings(compose(replace(crowded, overlap="boxes"))) == 0
    assert crossings(compose(replace(crowded, overlap="pixels"))) > 0


def test_summed_ink_never_exceeds_full_intensity():
    crowded = replace(CONFIG, counts=(3,))
    scenes = compose(crowded, sprites=blocks(100, 150))
    sums = torch.stack([painted(scenes, index) for index in range(len(scenes))])
    assert sums.max() <= 255 and (sums > 150).any()
    clash = compose(crowded, sprites=blocks(150, 200))
    assert crossings(clash) == 0


def test_any_overlap_clips_the_sum():
    scenes = compose(replace(CONFIG, counts=(3,), overlap="any"), sprites=blocks(150, 200))
    sums = torch.stack([painted(scenes, index) for index in range(len(scenes))])
    assert (sums > 255).any()
    assert torch.equal(scenes.image[:, 0].float(), sums.clamp(max=255))


def test_redrawing_keeps_the_shares_of_the_counts():
    config = replace(CONFIG, counts=(0, 1, 4), shares=(1.0, 2.0, 1.0), overlap="boxes", size=14.0)
    count = compose(config, 4000).count
    shares = [(count == number).float().mean().item() for number in config.counts]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.04)  # 5 standard deviations


def test_a_count_without_a_share_never_occurs():
    assert set(compose(replace(CONFIG, shares=(0.0, 1.0, 1.0))).count.tolist()) == {1, 2}


def test_places_and_sides_are_uniform_where_they_fit():
    config = SceneConfig(canvas=(10, 14), counts=(1,), size=8.0, scale_mean=1.0, scale_std=0.0)
    scenes = compose(config, 3000, sprites=blocks(200))
    x0, y0, x1, _ = scenes.boxes[:, 0].unbind(1)
    assert (x1 - x0 == 8).all()
    assert torch.bincount(x0.long(), minlength=7).float().div(3000).sub(1 / 7).abs().max() < 0.04
    assert torch.bincount(y0.long(), minlength=3).float().div(3000).sub(1 / 3).abs().max() < 0.05


def test_sides_follow_the_scale():
    config = SceneConfig(canvas=(60, 60), counts=(1,))
    x0, _, x1, _ = compose(config, 2000, sprites=blocks(200)).boxes[:, 0].unbind(1)
    normal = np.random.default_rng(0).normal(1.3, 0.1, 100_000)
    assert (x1 - x0).mean().item() == pytest.approx(np.floor(28 / normal).mean(), abs=0.25)
    smallest, largest = config.sides
    assert smallest <= (x1 - x0).min() and (x1 - x0).max() <= largest


@given(pixels=st.integers(5, 32), side=st.integers(4, 40), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_resizing_agrees_with_pillow(pixels, side, seed):
    array = np.random.default_rng(seed).integers(0, 256, (pixels, pixels), dtype=np.uint8)
    sprites = Sprites(torch.from_numpy(array)[None], torch.zeros(1, dtype=torch.int64))
    config = SceneConfig(
        canvas=(side, side), counts=(1,), size=float(side), scale_mean=1.0, scale_std=0.0
    )
    ours = compose(config, 1, sprites=sprites).image[0, 0].numpy().astype(int)
    pillow = Image.fromarray(array).resize((side, side), Image.Resampling.BILINEAR)
    assert np.abs(ours - np.asarray(pillow).astype(int)).max() <= 1


def test_the_background_lifts_the_canvas():
    plain = compose(CONFIG).image.float()
    lifted = compose(replace(CONFIG, background=0.4)).image
    assert torch.equal(lifted.float(), (255 * 0.4 + 0.6 * plain).round())
    assert lifted.min() == 102


KINDS = {
    "sum": CONFIG,
    "over": replace(CONFIG, compose="over", overlap="any", counts=(0, 1, 4)),
    "class": replace(CONFIG, channels=3, colour="class"),
    "levels": replace(CONFIG, compose="over", backdrop="levels", colour="levels", channels=3),
    "contrast": replace(CONFIG, compose="over", backdrop="photos", colour="contrast"),
    "noisy": replace(CONFIG, backdrop="noisy", channels=3),
    "grid": replace(CONFIG, backdrop="grid"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_scene_keeps_the_contract(name):
    config = KINDS[name]
    scenes = Composer(DIGITS, config).compose(50, seeded(0), masks=True)
    assert scenes.image.shape == (50, config.channels, 40, 40)
    assert scenes.image.dtype == scenes.masks.dtype == torch.uint8
    assert scenes.masks.shape == (50, 40, 40)
    assert (scenes.masks.flatten(1).amax(1) <= scenes.count).all()
    for masks, count, boxes in zip(scenes.masks, scenes.count, scenes.boxes, strict=True):
        for k, (x0, y0, x1, y1) in enumerate(boxes[:count].int().tolist(), start=1):
            inside = (masks[y0:y1, x0:x1] == k).sum()
            assert inside == (masks == k).sum() and (inside > 0 or config.overlap == "any")
    without = Composer(DIGITS, config).compose(50, seeded(0))
    assert torch.equal(without.image, scenes.image) and without.masks is None


def test_masks_are_where_a_lone_object_has_ink():
    scenes = Composer(DIGITS, replace(CONFIG, counts=(1,))).compose(20, seeded(0), masks=True)
    assert torch.equal(scenes.masks > 0, scenes.image[:, 0] > 255 * INK)


def test_objects_of_one_colour_and_their_backdrop_of_another():
    config = replace(KINDS["levels"], overlap="any", counts=(2,))
    scenes = Composer(blocks(255), config).compose(40, seeded(0), masks=True)
    for image, masks in zip(scenes.image, scenes.masks, strict=True):
        colours = [image[:, masks == k].unique(dim=1) for k in range(3)]
        assert all(colour.shape[1] <= 1 for colour in colours)
        assert set(image.unique().tolist()) <= {0, 63, 127, 191, 255}
        assert all(not torch.equal(colours[0], colour) for colour in colours[1:])


def test_contrast_with_the_backdrop_is_kept():
    config = replace(KINDS["contrast"], backdrop="levels", channels=3, counts=(1,), contrast=0.3)
    scenes = Composer(blocks(255), config).compose(60, seeded(0), masks=True)
    for image, masks in zip(scenes.image.float() / 255, scenes.masks, strict=True):
        colours = [image[:, masks == k].unique(dim=1) for k in range(2)]
        assert (colours[0] - colours[1]).abs().min() >= 0.3 - 1 / 255


@pytest.mark.parametrize("visible", [0.3, 0.9, 1.0])
def test_objects_are_visible_as_asked(visible):
    config = replace(KINDS["over"], visible=visible, counts=(3,))
    scenes = Composer(blocks(255), config).compose(60, seeded(0), masks=True)
    for masks, boxes in zip(scenes.masks, scenes.boxes, strict=True):
        for k, (x0, y0, x1, y1) in enumerate(boxes.int().tolist(), start=1):
            assert (masks == k).sum() >= visible * (x1 - x0) * (y1 - y0)
    assert (crossings(scenes) == 0) == (visible == 1.0)


def test_objects_may_be_hidden_where_that_is_allowed():
    config = replace(KINDS["over"], counts=(4,), canvas=(24, 24))
    scenes = Composer(blocks(255), config).compose(200, seeded(0), masks=True)
    present = torch.stack([(scenes.masks == k).flatten(1).any(1) for k in range(1, 5)], 1)
    assert not present.all() and present[:, -1].all()
    assert (scenes.boxes[..., 2] > 0).all()


def test_white_objects_on_black_are_the_same_in_colour_and_painted_over():
    grey = compose(CONFIG)
    colour = compose(replace(CONFIG, channels=3))
    assert torch.equal(colour.image, grey.image.expand(-1, 3, -1, -1))
    alone = replace(CONFIG, counts=(0, 1))
    assert torch.equal(compose(replace(alone, compose="over")).image, compose(alone).image)


def test_scenes_without_objects():
    scenes = compose(replace(CONFIG, counts=(0,)), 5)
    assert scenes.boxes.shape == (5, 0, 4) and not scenes.image.any()


def test_an_empty_sprite_is_never_placed():
    sprites = blocks(0, 10, 200)
    assert set(compose(CONFIG, sprites=sprites).labels.unique().tolist()) == {-1, 200}


def test_too_many_objects_name_canvas_size_and_count():
    with pytest.raises(UserError, match=r"12 objects of 21 px do not fit a 50x50 canvas"):
        compose(SceneConfig(counts=(0, 12)), 30)


def test_objects_that_cannot_all_be_seen_name_the_share():
    config = replace(KINDS["over"], counts=(12,), visible=1.0)
    with pytest.raises(UserError, match=r"so that each can be seen; .*lower --scenes\.visible$"):
        compose(config, 5)


def test_masks_go_with_their_scenes():
    scenes = Composer(DIGITS, CONFIG).compose(6, seeded(0), masks=True)
    assert torch.equal(scenes[2:4].masks, scenes.masks[2:4])
    assert scenes.to("meta").masks.device.type == "meta"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"counts": ()}, r"--scenes.counts is \(\)"),
        ({"counts": (1, 1)}, "--scenes.counts is .* distinct"),
        ({"shares": (0.5,)}, "--scenes.shares is .* one share for each of the 3"),
        ({"shares": (0.0, 0.0, 0.0)}, "--scenes.shares is .* above 0"),
        ({"canvas": (50, 20)}, "--scenes.canvas is .* sprites reach 31 px"),
        ({"size": 5.0}, "--scenes.size is 5.0: sprites shrink to 2 px"),
        ({"scale_mean": 0.3}, "--scenes.scale-mean is 0.3: take more than 4 times"),
        ({"source": "stars"}, "--scenes.source is stars: choose one of digits, mnist, shapes"),
        ({"backdrop": "sky"}, "--scenes.backdrop is sky: choose one of plain, noisy, grid"),
        ({"channels": 2}, "--scenes.channels is 2: choose one of 1, 3"),
        ({"channels": True}, "--scenes.channels is True: choose one of 1, 3"),
        ({"compose": "under"}, "--scenes.compose is under: choose one of sum, over"),
        ({"overlap": "none"}, "--scenes.overlap is none: choose one of boxes, pixels, any"),
        ({"colour": "class"}, "--scenes.colour is class: .* give --scenes.channels 3"),
        ({"colour": "levels"}, "--scenes.colour is levels: .* give --scenes.compose over"),
        (
            {"backdrop": "photos", "canvas": (50, 200)},
            r"--scenes.canvas is \(50, 200\): crops of --scenes.backdrop photos .* 427x192 px",
        ),
    ],
)
def test_bad_values_name_the_field(change, complaint):
    with pytest.raises(UserError, match=complaint):
        SceneConfig(**change)


def test_splits_differ_in_sprites_and_in_randomness(monkeypatch):
    config = replace(CONFIG, train_size=50, test_size=30)
    train, test = (compose_split(config, split, seed=3) for split in ("train", "test"))
    assert (len(train), len(test)) == (50, 30)
    assert torch.equal(train.image, compose_split(config, "train", seed=3).image)
    assert not torch.equal(train.image, compose_split(config, "train", seed=4).image)
    monkeypatch.setattr(composer, "load_sprites", lambda *args: DIGITS)
    assert not torch.equal(compose_split(config, "test", seed=3).boxes, train.boxes[:30])


def test_another_device_takes_the_sprites_along():
    moved = Composer(DIGITS, CONFIG).to("meta")
    assert moved.sprites.images.device.type == "meta" and moved.config is CONFIG
