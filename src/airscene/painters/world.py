"""Scenes as descriptions: what can lie on the table, what does, and who looks at it.

Lengths have one unit, in which a table of the default size reaches from -1.5 to 1.5 along x and y.
The top of the table is z = 0, and z points up. Angles are in radians. Nothing here needs torch, so
that a render process starts quickly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from airscene.errors import UserError
from airscene.painters.crockery import MESHES
from airscene.ranges import check_ranges, within

Shape = Literal["box", "sphere", "cylinder", "mug", "plate", "pan"]
Colour = tuple[float, float, float]
Vector = tuple[float, float, float]

# how many numbers tell the size of a shape
SIZES = {"box": 3, "sphere": 1, "cylinder": 2, "mug": 1, "plate": 1, "pan": 1}
LENGTH, CHANNEL = within(1e-3, 1e3), within(0, 1)


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object: its shape, its size and its colours.

    Raises:
        UserError: a value is out of its range, or does not fit the shape.
    """

    name: str
    """As scenes and predictions name it."""
    shape: Shape
    """A box, a sphere, a cylinder that stands upright, or a mesh of `painters.crockery`."""
    size: Annotated[tuple[float, ...], *LENGTH]
    """Half the sides of a box, the radius of a sphere, radius and half height of a cylinder, or
    the radius of a mesh's rim."""
    colour: Annotated[Colour, *CHANNEL]
    """Red, green and blue."""
    second: Annotated[tuple[float, ...], *CHANNEL] = ()
    """The colour that a cylinder's texture fades into and back, once around; plain when empty."""
    symmetry: Annotated[int, *within(0, 1000)] = 1
    """Turns in a circle that leave its look as it is: 4 for a cube, 0 for any turn."""

    def __post_init__(self) -> None:
        where = f"object kind {self.name}: "
        check_ranges(self, where)
        if self.shape not in SIZES:
            raise UserError(f"{where}shape {self.shape} is unknown; choose of {', '.join(SIZES)}")
        if len(self.size) != SIZES[self.shape]:
            raise UserError(f"{where}size of a {self.shape} takes {SIZES[self.shape]} numbers")
        if self.second and (self.shape != "cylinder" or len(self.second) != 3):
            raise UserError(f"{where}second is a cylinder's second colour, of three numbers")

    @property
    def height(self) -> float:
        """Of its origin above the table on which it stands: its centre, or the foot of a mesh."""
        return 0.0 if self.shape in MESHES else self.size[-1]


@dataclass(frozen=True)
class Table:
    """A square table whose top is z = 0."""

    half_side: Annotated[float, *LENGTH] = 1.5
    """Half the length of a side."""
    colour: Annotated[Colour, *CHANNEL] = (0.6, 0.5, 0.4)
    """Red, green and blue."""

    def __post_init__(self) -> None:
        check_ranges(self, "table: ")


@dataclass(frozen=True)
class Light:
    """Light from everywhere and from one direction; a surface's brightness is at most their sum."""

    towards: Annotated[Vector, *within(-1e3, 1e3)] = (-0.8, 0.4, -0.8)
    """The direction in which it shines, of any length above zero."""
    ambient: Annotated[float, *within(0, 1)] = 0.3
    """Light on every surface."""
    diffuse: Annotated[float, *within(0, 1)] = 0.7
    """Light on a surface that faces the direction's origin."""

    def __post_init__(self) -> None:
        check_ranges(self, "light: ")
        if self.ambient + self.diffuse > 1 or not any(self.towards):
            raise UserError("light: ambient and diffuse add up to 1 at most, and towards is not 0")


@dataclass(frozen=True)
class Camera:
    """A camera that looks at a point of the table's top.

    Raises:
        UserError: a value is out of its range, or the camera is in the table or below it.
    """

    azimuth: Annotated[float, *within(-1e3, 1e3)] = -math.pi / 2
    """Direction in which it stands, as seen from what it looks at: 0 along x, counterclockwise."""
    elevation: Annotated[float, *within(-1e3, 1e3)] = 0.9
    """Angle above the table, below π / 2."""
    distance: Annotated[float, *LENGTH] = 3.6
    """From what it looks at."""

    def __post_init__(self) -> None:
        check_ranges(self, "camera: ")
        if not 0.01 < self.elevation < math.pi / 2:
            raise UserError(
                f"camera: elevation is {self.elevation:g}, in the table or below it, or straight "
                f"above; take more than 0.01 and less than π / 2"
            )

    @property
    def numbers(self) -> Vector:
        """Azimuth, elevation, distance."""
        return self.azimuth, self.elevation, self.distance


@dataclass(frozen=True)
class World:
    """All that scenes have in common.

    Raises:
        UserError: there is no kind of object, two have the same name, or there are fewer kinds than
            objects that must differ in kind.
    """

    kinds: tuple[ObjectKind, ...]
    """What can lie on the table."""
    objects: Annotated[int, *within(1, 100)] = 1
    """The most objects N of a scene."""
    repeats: bool = True
    """Whether a scene may have several objects of one kind."""
    size: Annotated[tuple[int, int], *within(4, 4096)] = (32, 32)
    """Height and width of pictures in pixels."""
    table: Table = Table()
    light: Light = Light()
    camera: Camera = Camera()
    """Where the camera is unless a scene says otherwise."""
    field_of_view: Annotated[float, *within(0.01, 3)] = 0.8
    """Angle that a picture spans from bottom to top."""

    def __post_init__(self) -> None:
        check_ranges(self, "world: ")
        names = [kind.name for kind in self.kinds]
        if not names or len({*names}) < len(names):
            raise UserError(
                f"world: kinds {', '.join(names)}: name at least one, none of them twice"
            )
        if not self.repeats and self.objects > len(names):
            raise UserError(
                f"world: {self.objects} objects of {len(names)} kinds repeat a kind; lower the "
                f"number of objects or allow repeats"
            )

    def number(self, kind: str) -> int:
        """The place of a kind among the kinds.

        Raises:
            UserError: there is no such kind.
        """
        names = [some.name for some in self.kinds]
        if kind not in names:
            raise UserError(f"object kind {kind} is unknown; choose one of {', '.join(names)}")
        return names.index(kind)


@dataclass(frozen=True)
class SceneObject:
    """An object that stands on the table."""

    kind: str
    """The name of its kind."""
    position: tuple[float, float]
    """Its centre's x and y."""
    yaw: float = 0.0
    """Its turn about the vertical, counterclockwise as seen from above."""


@dataclass(frozen=True)
class Scene:
    """What lies on the table, and from where it is seen."""

    objects: Sequence[SceneObject] = ()
    camera: Camera | None = None
    """That of the world unless given."""


ONE_OBJECT = World(
    (
        ObjectKind("cube", "box", (0.36, 0.36, 0.36), (0.85, 0.1, 0.1), symmetry=4),
        ObjectKind("sphere", "sphere", (0.4,), (0.1, 0.2, 0.85), symmetry=0),
        ObjectKind("cylinder", "cylinder", (0.38, 0.36), (0.95, 0.9, 0.2), (0.05, 0.35, 0.15)),
    )
)
"""One object of the three kinds of the paper's section 3.3: cube, sphere, textured cylinder."""

BLOCKS = World(
    (
        ObjectKind("cube", "box", (0.26, 0.26, 0.26), (0.85, 0.1, 0.1), symmetry=4),
        ObjectKind("ball", "sphere", (0.3,), (0.1, 0.2, 0.85), symmetry=0),
        ObjectKind("can", "cylinder", (0.28, 0.32), (0.95, 0.9, 0.2), (0.05, 0.35, 0.15)),
    ),
    objects=3,
    size=(48, 48),
    camera=Camera(distance=4.2),
)
"""Up to three blocks on a table, which the ray caster can draw as well."""

CROCKERY = World(
    (
        ObjectKind("mug", "mug", (0.27,), (0.2, 0.45, 0.75)),
        ObjectKind("plate", "plate", (0.42,), (0.95, 0.95, 0.9), symmetry=0),
        ObjectKind("pan", "pan", (0.36,), (0.25, 0.25, 0.28)),
    ),
    objects=3,
    size=(48, 48),
    camera=Camera(distance=4.2),
)
"""Up to three pieces of crockery on a table, as in the paper's Figures 6 and 7."""
