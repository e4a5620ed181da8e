"""How many images fit into a pass of a model, and how much memory is free."""

from pathlib import Path

import psutil
import torch

from airscene.errors import UserError
from airscene.models.base import ModelConfig

PASS = 1_000_000_000  # bytes that a pass without gradients may take
COSTLY = 300_000_000  # bytes of all the images that a figure of many passes is taken over
MOST, LEAST = 1000, 100  # of these images
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def inference_batch(model: ModelConfig, steps: int, batch: int = 256) -> int:
    """How many images to infer at a time, so that a pass takes about 1 GB at most.

    Args:
        model: shape of the model.
        steps: the largest count that is allowed for.
        batch: the most images.

    Returns:
        Between 1 and `batch`.

    >>> from airscene.models.air_config import AIRConfig
    >>> inference_batch(AIRConfig(), 3), inference_batch(AIRConfig(height=500, width=500), 100)
    (256, 1)
    """
    return min(batch, max(1, PASS // model.pass_bytes(steps)))


def costly_scenes(model: ModelConfig, steps: int) -> int:
    """Over how many images a figure of many passes is taken, so that it takes minutes at most.

    Args:
        model: shape of the model.
        steps: the largest count that is allowed for.

    >>> from airscene.models.air_config import AIRConfig
    >>> costly_scenes(AIRConfig(), 3), costly_scenes(AIRConfig(height=64, width=64, channels=3), 5)
    (1000, 281)
    """
    return max(LEAST, min(MOST, COSTLY // model.pass_bytes(steps)))


def check_pass(model: ModelConfig, steps: int, device: torch.device) -> None:
    """Refuses so many steps that not even one image fits into memory.

    Raises:
        UserError: the message names --max-objects.
    """
    needed = model.pass_bytes(steps)
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
