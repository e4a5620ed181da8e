"""Pictures of scenes by MuJoCo, without a screen; needs `pip install "airscene[mujoco]"`.

Ten thousand small pictures a second take settings that MuJoCo does not have by default: no
shadows, no reflections, no skybox, no multisampling, coarse curved surfaces, a box as table and not
a plane, and no threads in the software renderer. Nothing here needs torch: see
`airscene.painters.pool`.
"""

import importlib
import math
import os
import sys
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from airscene.errors import UserError
from airscene.painters.crockery import MESHES, mesh_of
from airscene.painters.world import ObjectKind, World

AWAY = -100.0  # height at which what is not in a scene waits, behind the camera's far plane
TEXELS = 64  # around a textured cylinder
THICKNESS = 0.05  # half of the table's
INSTALL = 'MuJoCo is missing; install it with: pip install "airscene[mujoco]"'
LIBRARIES = (
    "MuJoCo finds no library to draw without a screen ({reason}); on Debian or Ubuntu install one "
    "with: apt-get install libosmesa6, or, to draw with MUJOCO_GL=egl: apt-get install libegl1 "
    "libopengl0"
)
PLAIN = ("mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_SKYBOX", "mjRND_FOG", "mjRND_HAZE")


def load_mujoco() -> ModuleType:
    """The package, drawing without a screen: by OSMesa on Linux, unless MUJOCO_GL says otherwise.

    Raises:
        UserError: it is missing, or a library that it draws with is.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "osmesa")
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        return importlib.import_module("mujoco")
    except ModuleNotFoundError as error:
        raise UserError(INSTALL) from error
    except Exception as error:  # PyOpenGL raises what it happens to stumble on
        raise UserError(LIBRARIES.format(reason=str(error).splitlines()[0])) from error


class MuJoCoRenderer:
    """Draws scenes of a world in this process; `close` it, or use it as a context.

    Args:
        world: what scenes have in common.

    Raises:
        UserError: MuJoCo is missing, or cannot draw here.
    """

    def __init__(self, world: World):
        self.world = world
        self._mujoco = mujoco = load_mujoco()
        self._model = load_model(mujoco, description(world))
        paint_textures(self._model, world)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)
        self._camera, self._option = mujoco.MjvCamera(), mujoco.MjvOption()
        self._scene = mujoco.MjvScene(self._model, 10 + world.objects * len(world.kinds))
        for flag in PLAIN:
            self._scene.flags[getattr(mujoco.mjtRndFlag, flag)] = 0
        self._context, self._resources = self._open()
        self._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives back what it draws with; a second call does nothing."""
        if self._context is not None:
            self._context.make_current()
            self._resources.free()
            self._context.free()
            self._context = None

    def render(self, kind: np.ndarray, pose: np.ndarray, camera: np.ndarray) -> np.ndarray:
        """The pictures of M scenes.

        Args:
            kind: each object's kind by its place among the world's kinds, -1 where there is no
                object, shape (M, N).
            pose: x, y and yaw of each object, shape (M, N, 3).
            camera: azimuth, elevation and distance, shape (M, 3).

        Returns:
            Bytes of shape (M, H, W, 3), the same for the same scene on the same machine.
        """
        assert self._context is not None, "the renderer is closed"
        self._context.make_current()
        pictures = np.empty((len(kind), *self.world.size, 3), np.uint8)
        for picture, *scene in zip(pictures, kind, pose, camera, strict=True):
            self._draw(picture, *scene)
        return pictures[:, ::-1]  # OpenGL's first row is the lowest one

    def _draw(self, picture: np.ndarray, kind: Any, pose: np.ndarray, camera: np.ndarray) -> None:
        mujoco, height, width = self._mujoco, *self.world.size
        self._place(kind, pose)
        azimuth, elevation, distance = camera.tolist()
        self._camera.azimuth = math.degrees(azimuth) + 180  # it tells where the camera looks
        self._camera.elevation = -math.degrees(elevation)
        self._camera.distance = distance
        whole = mujoco.MjrRect(0, 0, width, height)
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mjv_updateScene(
            self._model, self._data, self._option, None, self._camera, everything, self._scene
        )
        mujoco.mjr_render(whole, self._scene, self._resources)
        mujoco.mjr_readPixels(picture, None, whole, self._resources)

    def _place(self, kind: Any, pose: np.ndarray) -> None:
        """Puts the body of each object's kind where the object is, and all others away."""
        position, turn = self._data.mocap_pos, self._data.mocap_quat
        position[:, 2] = AWAY
        for n, (k, (x, y, yaw)) in enumerate(zip(kind.tolist(), pose.tolist(), strict=True)):
            if k >= 0:
                body = n * len(self.world.kinds) + k
                position[body] = x, y, self.world.kinds[k].height
                turn[body] = math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)

    def _open(self) -> tuple[Any, Any]:
        """A place to draw to, and what was loaded into it."""
        mujoco, (height, width) = self._mujoco, self.world.size
        try:
            context = mujoco.GLContext(width, height)
            context.make_current()
            resources = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:  # of each backend its own
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(LIBRARIES.format(reason=reason)) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, resources)
        return context, resources

    def _check(self) -> None:
        """Refuses a renderer that draws nothing, as one without a working OpenGL may."""
        kind, pose = np.zeros((1, self.world.objects), int), np.zeros((1, self.world.objects, 3))
        picture = self.render(kind, pose, np.array([self.world.camera.numbers]))
        if picture.min() == picture.max():
            self.close()
            raise UserError(
                "MuJoCo draws a picture of one colour; let the camera see the table, or draw with "
                "another library: MUJOCO_GL=osmesa or MUJOCO_GL=egl"
            )


def load_model(mujoco: ModuleType, text: str) -> Any:
    """A model in MuJoCo's format.

    Raises:
        UserError: MuJoCo does not load it, such as a mesh without volume.
    """
    try:
        return mujoco.MjModel.from_xml_string(text)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"MuJoCo does not load the world ({reason}); mend the mesh or the size of that kind"
        ) from error


def description(world: World) -> str:
    """The world in MuJoCo's format: the table, and N bodies of each kind that can be placed."""
    light, (height, width) = world.light, world.size
    bodies = "".join(_body(kind) for _ in range(world.objects) for kind in world.kinds)
    half, degrees = world.table.half_side, math.degrees(world.field_of_view)
    return f"""<mujoco>
    <statistic extent="4" center="0 0 0"/>
    <visual>
      <global offwidth="{width}" offheight="{height}" fovy="{degrees}"/>
      <quality shadowsize="0" offsamples="0" numslices="16" numstacks="10"/>
      <headlight ambient="{_text([light.ambient] * 3)}" diffuse="0 0 0" specular="0 0 0"/>
    </visual>
    <asset>{"".join(map(_texture, world.kinds))}{"".join(map(mesh_asset, world.kinds))}</asset>
    <worldbody>
      <light type="directional" dir="{_text(light.towards)}" castshadow="false"
        ambient="0 0 0" diffuse="{_text([light.diffuse] * 3)}" specular="0 0 0"/>
      <geom type="box" size="{half} {half} {THICKNESS}" pos="0 0 {-THICKNESS}"
        rgba="{_text(world.table.colour)} 1"/>{bodies}
    </worldbody></mujoco>"""


def _body(kind: ObjectKind) -> str:
    look = f'material="{kind.name}"' if kind.second else f'rgba="{_text(kind.colour)} 1"'
    return f'<body mocap="true" pos="0 0 {AWAY}"><geom {surface(kind)} {look}/></body>'


def surface(kind: ObjectKind) -> str:
    """What MuJoCo's format says of the shape of a geom."""
    if kind.shape in MESHES:
        return f'type="mesh" mesh="{kind.name}"'
    return f'type="{kind.shape}" size="{_text(kind.size)}"'


def mesh_asset(kind: ObjectKind) -> str:
    """The mesh of a kind, if its shape is one; MuJoCo draws it where its own origin is."""
    if kind.shape not in MESHES:
        return ""
    mesh = mesh_of(kind.shape)
    vertices = _text((kind.size[0] * mesh.vertices).ravel())
    return (
        f'<mesh name="{kind.name}" inertia="convex" smoothnormal="false" vertex="{vertices}" '
        f'face="{" ".join(map(str, mesh.faces.ravel()))}"/>'
    )


def _texture(kind: ObjectKind) -> str:
    """The material of a textured kind, whose colours are filled in later."""
    if not kind.second:
        return ""
    size = f'width="{TEXELS}" height="{TEXELS}"'
    return (
        f'<texture name="{kind.name}" type="2d" builtin="flat" {size}/>'
        f'<material name="{kind.name}" texture="{kind.name}" specular="0"/>'
    )


def paint_textures(model: Any, world: World) -> None:
    """Fills the textures of all textured kinds, in order.

    MuJoCo maps column u in [0, 1] of a texture to the angle 2πu on the side of a cylinder, and to
    x = (2u - 1) radius on its ends.
    """
    u = (np.arange(TEXELS) + 0.5) / TEXELS
    texels = model.tex_data.reshape(-1, TEXELS, TEXELS, 3)
    for k, kind in enumerate(some for some in world.kinds if some.second):
        share = ((1 + np.sin(2 * math.pi * u)) / 2)[:, None]
        row = (1 - share) * np.array(kind.colour) + share * np.array(kind.second)
        texels[k] = np.round(255 * row).astype(np.uint8)


def _text(numbers: Any) -> str:
    return " ".join(f"{number:g}" for number in numbers)
