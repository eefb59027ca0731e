from __future__ import annotations

import numpy as np
import pytest
import torch

from uvr.method.masks import dilate, erode, fill_holes, resize_mask, seeds_and_growth


def grid_of(text: str) -> tuple[torch.Tensor, tuple[int, int]]:
    """Rows of digits as scores in tenths, (1, patches)."""
    rows = text.split()
    values = [[int(cell) / 10 for cell in row] for row in rows]
    return torch.tensor(values).reshape(1, -1), (len(rows), len(rows[0]))


def rows_of(mask: torch.Tensor, grid: tuple[int, int]) -> list[str]:
    return ["".join("#" if cell else "." for cell in row) for row in mask.reshape(grid)]


def test_growth_keeps_components_with_a_seed_and_drops_the_rest():
    scores, grid = grid_of("95000 05000 00050 00000 55000")
    mask = seeds_and_growth(scores, grid, 0.9, 0.5)
    assert rows_of(mask, grid) == ["##...", ".#...", ".....", ".....", "....."]


def test_the_second_person_is_kept():
    scores, grid = grid_of("95000009 50000005 00000000")
    mask = seeds_and_growth(scores, grid, 0.9, 0.5, close_gaps=True)
    assert rows_of(mask, grid) == ["##.....#", "#......#", "........"]


def test_a_narrow_gap_is_closed_without_touching_the_border():
    scores, grid = grid_of("000000 090090 090090 000000")
    mask = seeds_and_growth(scores, grid, 0.9, 0.5, close_gaps=True)
    assert rows_of(mask, grid) == ["......", ".####.", ".####.", "......"]


def test_nothing_above_the_seed_threshold_is_an_empty_mask():
    scores, grid = grid_of("8888 8888")
    assert not seeds_and_growth(scores, grid, 0.9, 0.5, close_gaps=True, dilation=2).any()


def test_a_score_equal_to_the_threshold_is_a_match():
    scores = torch.tensor([[0.5, 0.25]])
    assert seeds_and_growth(scores, (1, 2), 0.5, 0.25).tolist() == [[True, True]]


def test_samples_of_a_batch_have_masks_of_their_own():
    scores = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0] * 4])
    mask = seeds_and_growth(scores, (2, 2), 0.9, 0.5)
    assert mask.tolist() == (scores > 0.5).tolist()


def test_filling_closes_holes_but_never_a_corner():
    ring = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]).bool()
    corner = torch.tensor([[0, 0, 1, 0], [0, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]).bool()
    filled = fill_holes(torch.stack([ring, corner]).flatten(1), (4, 4)).reshape(2, 4, 4)
    assert rows_of(filled[0], (4, 4)) == ["###.", "###.", "###.", "...."]
    assert torch.equal(filled[1], corner)


def test_a_corner_blob_never_becomes_a_full_mask():
    scores, grid = grid_of("9900000 9900000 0000000 0000000")
    mask = seeds_and_growth(scores, grid, 0.9, 0.5, close_gaps=True)
    assert int(mask.sum()) == 4


def test_dilation_and_erosion_are_inverse_on_a_block():
    block = torch.zeros(1, 5, 5, dtype=torch.bool)
    block[0, 2, 2] = True
    grown = dilate(block.flatten(1), (5, 5))
    assert int(grown.sum()) == 9
    assert torch.equal(erode(grown, (5, 5)), block.flatten(1))


def test_masks_map_to_another_grid_by_nearest_neighbour():
    mask = torch.tensor([[True, False, False, False]])
    resized = resize_mask(mask, (2, 2), (4, 2))
    assert rows_of(resized, (4, 2)) == ["#.", "#.", "..", ".."]


def test_each_row_may_have_thresholds_of_its_own():
    scores, grid = grid_of("950 500 000")
    both = scores.repeat(2, 1)
    thresholds = torch.tensor([[0.9, 0.5], [0.95, 0.5]])
    mask = seeds_and_growth(both, grid, thresholds[:, :1], thresholds[:, 1:])
    assert rows_of(mask[0], grid) == ["##.", "#..", "..."]
    assert not mask[1].any()


def flooded(allowed: np.ndarray, start: np.ndarray, *, diagonal: bool) -> np.ndarray:
    """What a walk over allowed cells reaches, cell by cell."""
    reached = np.zeros_like(allowed)
    todo = [tuple(cell) for cell in np.argwhere(start & allowed)]
    while todo:
        row, column = todo.pop()
        if not (0 <= row < allowed.shape[0] and 0 <= column < allowed.shape[1]):
            continue
        if reached[row, column] or not allowed[row, column]:
            continue
        reached[row, column] = True
        near = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if diagonal or not i or not j]
        todo += [(row + i, column + j) for i, j in near]
    return reached


@pytest.mark.parametrize("size", [(1, 1), (7, 11), (40, 33)])
def test_growth_and_filling_equal_a_walk_from_cell_to_cell(size):
    scores = np.random.default_rng(0).random((6, *size))
    flat = torch.from_numpy(scores).flatten(1)
    grown = seeds_and_growth(flat, size, 0.95, 0.55).reshape(6, *size)
    filled = fill_holes(flat >= 0.45, size).reshape(6, *size)
    for number, score in enumerate(scores):
        walked = flooded(score >= 0.55, score >= 0.95, diagonal=True)
        assert np.array_equal(grown[number].numpy(), walked)
        background = np.pad(score < 0.45, 1, constant_values=True)
        outside = flooded(
            background, np.pad(np.zeros(size, bool), 1, constant_values=True), diagonal=False
        )
        assert np.array_equal(filled[number].numpy(), ~outside[1:-1, 1:-1])


def test_growth_follows_a_path_of_any_length():
    scores, grid = grid_of(" ".join(["9" * 20, "0" * 19 + "5", "5" * 20, "5" + "0" * 19, "5" * 20]))
    scores[0, 1:20] = 0.5
    mask = seeds_and_growth(scores, grid, 0.9, 0.5)
    assert torch.equal(mask, scores >= 0.5)
