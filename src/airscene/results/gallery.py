"""Objects sorted by their appearance codes: what kinds there are, and what is like no other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from scipy.spatial import KDTree
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor

from airscene.models.objects import Objects
from airscene.models.whole import WholeAIR

SHOWN = 16  # objects of a row
KINDS = range(2, 7)  # how many kinds are tried
FEWEST = 3 * SHOWN  # objects that are sorted into kinds; of fewer, all are one kind
COMPARED = 2000  # objects that the number of kinds is chosen by
NEIGHBOURS = 5  # an outlier is far from so many others
PIXELS = 4_000_000  # of prepared pictures that objects are taken from


@dataclass(frozen=True)
class Gallery:
    """Some objects, a row for each kind of them and one of outliers.

    Attributes:
        titles: what each row shows.
        rows: its objects, in [0, 1], each of shape (n, 1, s, s).
    """

    titles: list[str]
    rows: list[np.ndarray]


def gallery(model: WholeAIR, pictures: Sequence[Tensor]) -> Gallery | None:
    """The objects in pictures, sorted; None where there are none.

    Args:
        model: a trained model.
        pictures: prepared, in [0, 1], shape (1, H, W); the first are looked at.
    """
    found = [*_objects(model, pictures)]
    if not sum(len(codes) for codes, _ in found):
        return None
    codes, views = (np.concatenate(values) for values in zip(*found, strict=True))
    kinds = sort_kinds(codes)
    titles = [f"kind {k}: {len(kind)}" for k, kind in enumerate(kinds, start=1)]
    rows = [views[spread(kind)] for kind in kinds]
    if len(codes) >= FEWEST:
        titles.append("outliers")
        rows.append(views[outliers(codes)])
    return Gallery(titles, rows)


def sort_kinds(codes: np.ndarray) -> list[np.ndarray]:
    """The objects of each kind, the largest first, from the middle of the kind outwards.

    Kinds are those of k-means, as many as give the largest silhouette (Rousseeuw 1987).

    Args:
        codes: appearance codes, shape (T, D), T at least 1.

    Returns:
        Indices of the objects of each kind.
    """
    number = _number_of_kinds(codes) if len(codes) >= FEWEST else 1
    away = KMeans(number, random_state=0).fit_transform(codes)
    order = np.argsort(away.min(1), kind="stable")
    kinds = [order[away[order].argmin(1) == k] for k in range(number)]
    return sorted(kinds, key=len, reverse=True)


def outliers(codes: np.ndarray) -> np.ndarray:
    """Indices of the objects that are farthest from others, the farthest first."""
    distance, _ = KDTree(codes).query(codes, NEIGHBOURS + 1)  # the first is the object itself
    return np.argsort(-np.asarray(distance)[:, -1], kind="stable")[:SHOWN]


def spread(order: np.ndarray) -> np.ndarray:
    """Some of a row, evenly spread, the first and the last among them."""
    at = np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)
    return order[at]


def _number_of_kinds(codes: np.ndarray) -> int:
    few = codes[np.linspace(0, len(codes) - 1, min(COMPARED, len(codes))).astype(int)]
    scores = {k: silhouette_score(few, KMeans(k, random_state=0).fit_predict(few)) for k in KINDS}
    return max(KINDS, key=lambda k: scores[k])


def _objects(
    model: WholeAIR, pictures: Sequence[Tensor]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Codes (T, D) and views (T, 1, s, s) of the objects of each picture that lie inside it."""
    pixels = 0
    for picture in pictures:
        if pixels and pixels + picture.numel() > PIXELS:
            return
        pixels += picture.numel()
        objects = model.explain_whole(picture.to(model.device))
        objects = objects[_inside(objects, picture)]
        yield objects.q_what.loc.cpu().numpy(), _views(objects, picture, model.config.region)


def _inside(objects: Objects, picture: Tensor) -> Tensor:
    """Whether the whole window of each object lies in the picture."""
    centre, half = objects.window[:, :2], objects.window[:, 2:] / 2
    size = centre.new_tensor([picture.shape[2], picture.shape[1]])
    return ((centre >= half) & (centre + half <= size)).all(1)


def _views(objects: Objects, picture: Tensor, side: int) -> np.ndarray:
    """A square of the picture around each object, black beyond its border, (T, 1, s, s)."""
    wide = F.pad(picture, [side] * 4).numpy()
    corners = (objects.window[:, :2].cpu() + side / 2).floor().int().tolist()
    views = [wide[:, y : y + side, x : x + side] for x, y in corners]
    return np.stack(views) if views else np.zeros((0, 1, side, side), np.float32)
