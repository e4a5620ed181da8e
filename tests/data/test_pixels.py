import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as made

from airscene.data.pixels import pixels_of
from airscene.errors import UserError

BYTES = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
BYTES[0, 0, 0, :2] = 0, 255
FLOATS = (BYTES / 255).astype(np.float32)
FROZEN = FLOATS.copy()
FROZEN.flags.writeable = False
TENSOR = torch.from_numpy(FLOATS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (BYTES, FLOATS),
        (BYTES[:, 0], FLOATS[:, :1]),
        (BYTES > 99, BYTES > 99),
        (FLOATS, FLOATS),
        (FLOATS.astype(np.float64), FLOATS),
        (FLOATS.astype(np.longdouble), FLOATS),
        (FLOATS.astype(np.float16), FLOATS.astype(np.float16)),
        (FLOATS.astype(">f4"), FLOATS),
        (FLOATS.astype(">f8"), FLOATS),
        (FROZEN, FLOATS),
        (BYTES[::-1, :, ::-1, ::-2], FLOATS[::-1, :, ::-1, ::-2]),
        (np.moveaxis(np.moveaxis(FLOATS, 1, -1).copy(), -1, 1), FLOATS),
        (np.asfortranarray(FLOATS), FLOATS),
        (np.broadcast_to(FLOATS[:1], (2, 3, 4, 5)), FLOATS[[0, 0]]),
        (np.ma.masked_array(FLOATS, mask=False), FLOATS),
        (FLOATS.tolist(), FLOATS),
        ((BYTES > 99).tolist(), BYTES > 99),
        (list(BYTES), FLOATS),
        (tuple(TENSOR), FLOATS),
        (TENSOR, FLOATS),
        (torch.from_numpy(BYTES), FLOATS),
        (torch.from_numpy(BYTES > 99), BYTES > 99),
        (TENSOR.double().requires_grad_() * 1, FLOATS),
        (TENSOR.half(), FLOATS.astype(np.float16)),
        (TENSOR.bfloat16(), TENSOR.bfloat16().float().numpy()),
        (TENSOR.transpose(2, 3), FLOATS.swapaxes(2, 3)),
        (FLOATS * (1 + 5e-7), FLOATS),
    ],
)
def test_what_is_taken(given, expected):
    pixels = pixels_of(given)
    assert pixels.dtype == torch.float32 and pixels.device.type == "cpu"
    assert pixels.is_contiguous() and not pixels.requires_grad
    assert pixels.shape == expected.shape
    assert np.allclose(pixels.numpy(), expected, rtol=0, atol=6e-7)
    assert pixels.min() >= 0 and pixels.max() <= 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (FLOATS * 255, r"holds pixels from 0 to 255; scale the floats to \[0, 1\]"),
        (FLOATS - 0.5, "pixels from -0.5 to 0.5;"),
        (FLOATS * 1.00001, "pixels from 0 to 1.0000"),
        (FLOATS * np.nan, "NaN or infinite"),
        (TENSOR / 0, "NaN or infinite"),
        (BYTES.astype(np.int64), "int64; save uint8"),
        (BYTES.tolist(), "int64; save uint8"),
        (BYTES.astype(np.uint16), "uint16, of unknown white; divide them by 65535, or by 4095"),
        (BYTES.astype(complex), "complex128"),
        (TENSOR + 0j, "complex64"),
        (BYTES.astype(object), "object"),
        (BYTES.astype(str), "<U3"),
        ("a.png", r"shape \(\)"),
        (None, r"shape \(\)"),
        (0.5, r"shape \(\)"),
        (FLOATS[0, 0], r"shape \(4, 5\); give \(M, H, W\) or \(M, C, H, W\)"),
        (FLOATS[None], r"shape \(1, 2, 3, 4, 5\)"),
        (FLOATS[:0], r"shape \(0, 3, 4, 5\)"),
        (FLOATS[:, :, :0], r"shape \(2, 3, 0, 5\)"),
        (np.moveaxis(FLOATS, 1, -1), r"numpy\.moveaxis\(x, -1, 1\)"),
        (FLOATS[:, :2], r"shape \(2, 2, 4, 5\), not \(M, C, H, W\); C is 1 or 3"),
        (np.ma.masked_array(FLOATS, mask=BYTES > 99), "masked pixels"),
        ([[[0.0, 1.0]], [[0.0]]], "not one array of numbers"),
        ([*torch.ones(2, 3, 4), torch.ones(5, 4)], "not one array of numbers"),
        (TENSOR.to_sparse(), "sparse"),
        (torch.empty(1, 2, 2, device="meta"), "meta"),
    ],
)
def test_what_is_refused(given, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        pixels_of(given)
    assert "\n" not in str(caught.value)


@given(made.arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3)))
@settings(max_examples=30, deadline=None)
def test_bytes_survive_the_way_through_floats(array):
    pixels = pixels_of(array)
    assert torch.equal(pixels, pixels_of(pixels))
    assert np.array_equal((pixels[:, 0] * 255).round().byte(), array)
