"""Scenes drawn by a painter: their truth is what the painter was told."""

import math
from functools import partial

import torch

from airscene.data.rendered import RenderedScenes
from airscene.models.arrangement import draw_one
from airscene.painters.raycast import RayCaster
from airscene.painters.world import ONE_OBJECT

PAINTER = RayCaster(ONE_OBJECT)


def drawn(number: int, seed: int = 0):
    scenes = RenderedScenes(PAINTER, partial(draw_one, ONE_OBJECT))
    return scenes.compose(number, torch.Generator().manual_seed(seed))


def test_pictures_are_those_of_their_truth():
    scenes = drawn(6)
    assert scenes.image.dtype == torch.uint8 and scenes.image.shape == (6, 3, 32, 32)
    assert scenes.labels is not None and scenes.pose is not None
    again = PAINTER(scenes.labels, scenes.pose, scenes.camera)
    torch.testing.assert_close(scenes.pixels(), again, atol=0.51 / 255, rtol=0)
    assert scenes.count is not None and scenes.count.tolist() == [1] * 6


def test_kinds_places_and_yaws_are_uniform(monkeypatch):
    monkeypatch.setattr(RenderedScenes, "_images", lambda self, drawn: drawn.kind)
    scenes = drawn(30_000)
    assert scenes.labels is not None and scenes.pose is not None
    shares = scenes.labels.flatten().bincount() / 30_000
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.01, rtol=0)
    ends = torch.tensor([1.0, 1.0, math.pi])
    pose = scenes.pose[:, 0] / ends
    assert pose.abs().max() <= 1
    torch.testing.assert_close(pose.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(pose.var(0), torch.full((3,), 1 / 3), atol=0.01, rtol=0)


def test_scenes_are_decided_by_the_generator_and_drawn_in_chunks(monkeypatch):
    whole = drawn(5)
    monkeypatch.setattr("airscene.data.rendered.CHUNK", 2)
    assert torch.equal(whole.image, drawn(5).image)
    assert not torch.equal(whole.image, drawn(5, seed=1).image)
