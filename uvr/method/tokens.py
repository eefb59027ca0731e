"""Where text, output and reference tokens lie in a transformer call, read from the call itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from concepts.errors import UVRError

Grid = tuple[int, int]


@dataclass(frozen=True)
class TokenLayout:
    """Spans of one joint sequence, ``[text, output, references...]``, and the grids of its images.

    Attributes:
        text: Number of text tokens; they come first.
        output: Positions of the picture being generated.
        references: Positions of each reference picture, in order; empty for text-to-image.
        grid: Rows and columns of the output tokens.
        reference_grids: Rows and columns of each reference.
    """

    text: int
    output: slice
    references: tuple[slice, ...]
    grid: Grid
    reference_grids: tuple[Grid, ...]

    @property
    def total(self) -> int:
        """Length of the joint sequence."""
        return int((self.references or (self.output,))[-1].stop)

    @property
    def num_output(self) -> int:
        """Number of output tokens."""
        return int(self.output.stop - self.output.start)

    @classmethod
    def from_call(cls, encoder_hidden_states: Tensor, img_ids: Tensor) -> TokenLayout:
        """Read the layout from what a FLUX pipeline passes to its transformer.

        Args:
            encoder_hidden_states: Prompt embeddings, (batch, text tokens, dim).
            img_ids: Position of each image token, (tokens, 3) or, in older pipelines,
                (batch, tokens, 3). Column 0 is 0 for output tokens and >= 1 for reference
                tokens; columns 1 and 2 are row and column.

        Raises:
            UVRError: The output tokens are not the first run, or a run is not a full grid.
        """
        ids = (img_ids[0] if img_ids.ndim == 3 else img_ids).detach().to("cpu", torch.float32)
        text = encoder_hidden_states.shape[1]
        runs = _runs(ids)
        kinds = [float(ids[run.start, 0]) for run in runs]
        if not runs or kinds[0] != 0 or any(kind == 0 for kind in kinds[1:]):
            raise UVRError(
                "img_ids does not start with one run of output tokens (column 0 equal to 0): "
                f"found runs with column 0 = {kinds}. This pipeline's token order is not supported."
            )
        grids = [_grid(ids[run]) for run in runs]
        spans = [slice(text + run.start, text + run.stop) for run in runs]
        return cls(text, spans[0], tuple(spans[1:]), grids[0], tuple(grids[1:]))


def _runs(ids: Tensor) -> list[slice]:
    """Split tokens where the picture index changes or the row number falls back."""
    if len(ids) == 0:
        return []
    new_picture = ids[1:, 0] != ids[:-1, 0]
    row_fell = ids[1:, 1] < ids[:-1, 1]
    cuts = (torch.nonzero(new_picture | row_fell).flatten() + 1).tolist()
    edges = [0, *cuts, len(ids)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _grid(ids: Tensor) -> Grid:
    rows, columns = (len(set(ids[:, axis].tolist())) for axis in (1, 2))
    if rows * columns != len(ids):
        raise UVRError(
            f"Image tokens do not form a grid: {len(ids)} tokens over {rows} rows and "
            f"{columns} columns."
        )
    return rows, columns
