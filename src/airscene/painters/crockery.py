"""Meshes of crockery, made by code: profiles that are turned about the vertical, and handles.

The origin of each is the middle of its foot, so that it stands on the table at height 0; handles
point along x. Lengths are in radii: the rim of each has the radius 1. Nothing here needs torch.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

SIDES = 14  # of what is turned
BEND, AROUND = 6, 4  # of a handle: pieces along it, and corners of its section

Profile = Sequence[tuple[float, float]]


class Mesh(NamedTuple):
    """A surface of triangles, seen from the side from which they run counterclockwise.

    Attributes:
        vertices: shape (V, 3).
        faces: indices of vertices, shape (F, 3).
    """

    vertices: np.ndarray
    faces: np.ndarray


def lathe(profile: Profile) -> Mesh:
    """The surface that a profile sweeps in a turn about the vertical.

    Args:
        profile: radius and height of its points; the outside is on the right of the way along it.
            It begins and ends on the axis.

    >>> lathe([(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (0.0, 2.0)]).vertices.max(0)[[0, 2]].tolist()
    [1.0, 2.0]
    """
    turn = 2 * math.pi * np.arange(SIDES) / SIDES
    radius, height = np.array(profile).T[..., None]  # (P, 1)
    flat = radius * np.stack([np.cos(turn), np.sin(turn)])[:, None]  # (2, P, SIDES)
    vertices = np.stack([*flat, np.broadcast_to(height, flat[0].shape)], -1)
    return _tidy(Mesh(vertices.reshape(-1, 3), _grid(len(profile), SIDES)))


def handle(path: Sequence[tuple[float, float]], thickness: float) -> Mesh:
    """A bar along a path in the plane of x and z, whose ends lie within what it holds.

    Args:
        path: x and z of its points, at least two.
        thickness: half the side of its section.
    """
    points = np.array(path)
    along = np.gradient(points, axis=0)
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    turn = 2 * math.pi * (np.arange(AROUND) + 0.5) / AROUND
    width, side = thickness * math.sqrt(2) * np.array([np.cos(turn), np.sin(turn)])
    plane = points[:, None] + width[:, None] * across[:, None]  # (P, AROUND, 2)
    y = np.broadcast_to(side, plane.shape[:2])
    vertices = np.stack([plane[..., 0], y, plane[..., 1]], -1)
    return Mesh(vertices.reshape(-1, 3), _grid(len(points), AROUND))


def joined(parts: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + start for part, start in zip(parts, starts, strict=False)]
    return Mesh(np.concatenate([part.vertices for part in parts]), np.concatenate(faces))


def mug() -> Mesh:
    """A mug 1.6 high, whose ear reaches to 1.9."""
    wall = [(0, 0), (0.85, 0), (1, 0.3), (1, 1.6), (0.85, 1.6), (0.8, 0.2), (0, 0.2)]
    bend = np.linspace(-math.pi / 2, math.pi / 2, BEND)
    ear = [(0.95 + 0.85 * math.cos(turn), 0.8 + 0.5 * math.sin(turn)) for turn in bend]
    return joined([lathe(wall), handle(ear, 0.14)])


def plate() -> Mesh:
    """A plate 0.2 high."""
    return lathe([(0, 0), (0.6, 0), (1, 0.15), (1, 0.2), (0.62, 0.07), (0, 0.07)])


def pan() -> Mesh:
    """A pan 0.5 high, whose handle reaches to 2.3."""
    wall = [(0, 0), (0.85, 0), (1, 0.5), (0.93, 0.5), (0.8, 0.08), (0, 0.08)]
    return joined([lathe(wall), handle([(0.93, 0.4), (1.5, 0.5), (2.3, 0.55)], 0.13)])


@cache
def mesh_of(shape: str) -> Mesh:
    """The mesh of a shape, whose name is one of `MESHES`."""
    return MESHES[shape]()


MESHES = {"mug": mug, "plate": plate, "pan": pan}
"""Meshes by the names of their shapes."""


def _grid(rows: int, columns: int) -> np.ndarray:
    """Triangles between neighbours of rows that close around, shape (F, 3)."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    here, beside = row * columns + column, row * columns + (column + 1) % columns
    quads = here, beside, beside + columns, here + columns
    a, b, c, d = (corner.ravel() for corner in quads)
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def _tidy(mesh: Mesh) -> Mesh:
    """Without triangles that have two corners in one place, as those at the axis."""
    corners = mesh.vertices[mesh.faces]  # (F, 3, 3)
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return Mesh(mesh.vertices, mesh.faces[np.linalg.norm(area, axis=1) > 1e-9])
