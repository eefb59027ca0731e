"""Where text, output and reference tokens lie in the joint sequence of an MM-DiT.

UVR (arXiv 2606.06875) localises on output tokens and regulates what text, output and reference
tokens tell each other. Its reference release fixes 512 text tokens and a 64 x 64 grid; here each
span comes from the call, in whatever order the model has them (``uvr.families`` reads it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Grid = tuple[int, int]


@dataclass(frozen=True)
class TokenLayout:
    """Spans of one joint sequence, and the grids of its pictures.

    Attributes:
        text: Positions of the text.
        output: Positions of the picture being generated.
        references: Positions of each reference picture, in order; empty for text-to-image.
        grid: Rows and columns of the output tokens.
        reference_grids: Rows and columns of each reference.
    """

    text: slice
    output: slice
    references: tuple[slice, ...]
    grid: Grid
    reference_grids: tuple[Grid, ...]

    @property
    def total(self) -> int:
        """Length of the joint sequence."""
        return max(int(span.stop) for span in (self.text, self.output, *self.references))

    @property
    def num_text(self) -> int:
        """Number of text tokens."""
        return int(self.text.stop - self.text.start)

    @property
    def num_output(self) -> int:
        """Number of output tokens."""
        return int(self.output.stop - self.output.start)

    def with_text(self, num_text: int) -> TokenLayout:
        """Return the layout of the same pictures with so many text tokens.

        The passes of true CFG share their pictures, and a negative prompt may have another length.
        """
        shift = num_text - self.num_text
        if shift == 0:
            return self

        def moved(span: slice) -> slice:
            by = shift if span.start >= self.text.stop else 0
            return slice(span.start + by, span.stop + by)

        return replace(
            self,
            text=slice(self.text.start, self.text.stop + shift),
            output=moved(self.output),
            references=tuple(moved(span) for span in self.references),
        )
