"""Shape checks for every module with shapes in its types, and the tiny model that tests share."""

from collections.abc import Iterator

from jaxtyping import install_import_hook

SHAPED = ("spatial", "counts", "networks", "models", "estimators", "metrics", "detections")

# Before anything imports airscene. The modules above these hold no shaped types, and are called in
# their own tests with stand-ins that a checker of all types would refuse.
install_import_hook([f"airscene.{name}" for name in SHAPED], "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402

from airscene.models.air import AIR, AIRConfig  # noqa: E402


@pytest.fixture
def double() -> Iterator[None]:
    """Float64 wherever no type is named, so that tolerances need not make room for rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def tiny_config() -> AIRConfig:
    """The smallest model worth testing: a canvas that is not square, three steps."""
    return AIRConfig(steps=3, height=10, width=12, glimpse=5, what=2, lstm=8, hidden=8)


@pytest.fixture
def tiny_air(tiny_config: AIRConfig, double: None) -> AIR:
    """A tiny model in float64, the same one every time, its outputs far from their start."""
    torch.manual_seed(0)
    air = AIR(tiny_config)
    with torch.no_grad():  # at its start a model hardly looks at its input
        for parameter in air.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return air
