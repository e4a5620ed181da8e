"""How much memory a pass of a model takes, and how many images fit into one.

Everything here is arithmetic on a configuration: nothing is allocated, however large the sizes are.
"""

import math
from pathlib import Path

import psutil
import torch

from airscene.errors import UserError
from airscene.models.air import AIRConfig
from airscene.models.attention import CELL, FILTERS, POINTS
from airscene.models.draw import DRAWConfig

FLOAT = 4  # bytes
PASS = 1_000_000_000  # bytes that a pass without gradients may take
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def kept_bytes(model: AIRConfig | DRAWConfig) -> int:
    """What one image leaves in memory for the gradient, in bytes.

    The formulas count the large tensors of a step. They were compared with the peak of resident
    memory over two training steps on a CPU, for 18 shapes of AIR, DAIR and DRAW that took 28 MB to
    1 GB: weights and activations together were estimated at 0.8 to 1.5 times what was measured.

    Args:
        model: AIR, DAIR or DRAW; its canvas is that of the images.
    """
    per_step = _draw_step(model) if isinstance(model, DRAWConfig) else _air_step(model)
    return FLOAT * model.steps * per_step


def inference_bytes(model: AIRConfig | DRAWConfig, steps: int) -> int:
    """What one image takes while its objects are found, without gradients, in bytes.

    Args:
        model: AIR, DAIR or DRAW.
        steps: the largest count that is allowed for; DRAW takes as much for any.
    """
    pixels = model.height * model.width
    if isinstance(model, DRAWConfig):
        return FLOAT * 10 * model.channels * pixels
    return FLOAT * steps * (2 * model.channels + 7) * pixels


def inference_batch(model: AIRConfig | DRAWConfig, steps: int, batch: int = 256) -> int:
    """How many images to infer at a time, so that a pass takes about 1 GB at most.

    Args:
        model: AIR, DAIR or DRAW.
        steps: the largest count that is allowed for.
        batch: the most images.

    Returns:
        Between 1 and `batch`.

    >>> inference_batch(AIRConfig(), 3), inference_batch(AIRConfig(height=500, width=500), 100)
    (256, 1)
    """
    return min(batch, max(1, PASS // inference_bytes(model, steps)))


def check_pass(model: AIRConfig | DRAWConfig, steps: int, device: torch.device) -> None:
    """Refuses so many steps that not even one image fits into memory.

    Raises:
        UserError: the message names --max-objects.
    """
    needed = inference_bytes(model, steps)
    if needed > PASS and needed > (free := free_bytes(device)):
        raise UserError(
            f"--max-objects {steps} needs about {gigabytes(needed)} for an image; "
            f"{gigabytes(free)} are free: lower it"
        )


def free_bytes(device: torch.device) -> int:
    """Memory of a device that is free, in bytes; on a CPU, no more than a container may use."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [Path(path).read_text().strip() for path in LIMITS if Path(path).exists()]
    allowed = [int(limit) for limit in limits if limit.isdigit()]  # "max" where there is none
    return min([psutil.virtual_memory().available, *allowed])


def gigabytes(number: float) -> str:
    """Bytes as people read them.

    >>> gigabytes(41.3e9), gigabytes(250e6), gigabytes(1.2e15)
    ('41 GB', '0.25 GB', '1,200,000 GB')
    """
    return f"{number / 1e9:,.0f} GB" if number >= 1e10 else f"{number / 1e9:.2g} GB"


def _air_step(c: AIRConfig) -> int:
    """Floats that a step of AIR or DAIR keeps of an image."""
    sides, pixels = c.height + c.width, c.channels * c.height * c.width
    patch = c.channels * c.glimpse**2
    windows = 4 * c.glimpse * sides + c.channels * c.glimpse * sides  # of a crop and a paste
    networks = 8 * c.hidden + 3 * patch + 8 * c.what
    found = windows + networks + 4 * pixels + 8 * (c.steps + 1)  # masks and the Gram matrix
    return found + (12 * c.lstm if c.feedback == "none" else _search_step(c))


def _search_step(c: AIRConfig) -> int:
    """Floats that a step of the search keeps: the residual, the glance, the salience."""
    side = min(c.height, c.width) / (1 + math.exp(-c.scale_prior[0]))
    reduced = c.height * c.width * min(1.0, POINTS / side) ** 2
    glance = 2 * (1 + c.channels) * c.glimpse * (c.height + c.width)
    return round(3 * c.channels * c.height * c.width + glance + 4 * FILTERS * reduced / CELL**2)


def _draw_step(c: DRAWConfig) -> int:
    """Floats that a step of DRAW keeps of an image: filters, canvas, both LSTMs."""
    filters = (4 + c.channels) * (c.read + c.write) * (c.height + c.width)
    patches = 4 * c.channels * (c.read**2 + c.write**2)
    return filters + patches + 2 * c.channels * c.height * c.width + 16 * c.lstm + 8 * c.latent
