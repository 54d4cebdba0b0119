"""The grid is told by the size alone, and it is the one that the processor cuts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from qwen_ui.demo_model.grid import CELL, MAX_PIXELS, MIN_PIXELS, grid_of


@given(width=st.integers(1, 4000), height=st.integers(1, 4000))
def test_a_grid_is_that_of_the_processor(width: int, height: int) -> None:
    if max(width, height) > 200 * min(width, height):
        return  # refused by the processor
    resized = smart_resize(height, width, CELL, MIN_PIXELS, MAX_PIXELS)
    assert tuple(CELL * cells for cells in grid_of(width, height)) == resized


@pytest.mark.parametrize(
    ("size", "grid"), [((128, 128), (4, 4)), ((192, 128), (4, 6)), ((768, 576), (4, 5))]
)
def test_grids_of_known_sizes(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert grid_of(*size) == grid
