"""Pictures for other servers: the same pixels, and the size that the model would choose itself."""

from __future__ import annotations

import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from qwen_ui.engines.data_url import reduced
from tests.pictures import photo


def test_a_picture_within_the_limit_is_sent_as_it_is() -> None:
    pixels = photo(100, 50)
    assert reduced(pixels, 5000) is pixels


@pytest.mark.parametrize(
    "size", [(400, 300), (301, 403), (1000, 40), (65, 999), (322, 322), (321, 321)]
)
def test_a_larger_one_gets_the_size_that_the_model_would_choose(size: tuple[int, int]) -> None:
    limit = 320 * 320
    if size[0] * size[1] <= limit:
        limit = size[0] * size[1] - 1
    smaller = reduced(photo(*size), limit)
    height, width = smart_resize(size[1], size[0], factor=32, min_pixels=1, max_pixels=limit)
    assert smaller.size == (width, height)
    again = smart_resize(height, width, factor=32, min_pixels=1, max_pixels=limit)
    assert again == (height, width)  # nothing is resampled twice
