"""An analysis as a picture: a square for each layer and level, brighter where more is told."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont

from uvr.anchors.analyse import Analysis
from uvr.anchors.separation import RATE, Separation

CELL = (46, 20)
GAP, HEAD, FOOT = 28, 66, 44
INK, FRAME = (30, 30, 30), (214, 39, 40)
# Dark blue over green to yellow: even steps of lightness, for the colour-blind too.
COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def heat_map(analysis: Analysis) -> Image.Image:
    """Draw recall and ``where`` of every layer, the chosen taps framed at their look."""
    font = ImageFont.load_default(12)
    left = int(max(map(font.getlength, analysis.layers))) + 18
    width, height = CELL[0] * len(analysis.sigmas), CELL[1] * len(analysis.layers)
    size = (left + 2 * width + 2 * GAP, HEAD + height + FOOT)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    title = f"{analysis.concept}, {analysis.model}, {analysis.task}: "
    draw.text((8, 8), f"{title}{analysis.pictures} pictures, {analysis.benign} benign", INK, font)
    panels: tuple[tuple[str, Callable[[Separation], float], float], ...] = (
        (f"found at {RATE:.0%} of benign pictures", lambda cell: cell.recall, 0.0),
        ("where in its pictures (AUC)", lambda cell: cell.where, 0.5),
    )
    for place, layer in enumerate(analysis.layers):
        draw.text((left - 8, HEAD + CELL[1] * (place + 0.5)), layer, INK, font, anchor="rm")
    for panel, (name, figure, least) in enumerate(panels):
        x = left + panel * (width + GAP)
        draw.text((x, 30), name, INK, font)
        _panel(draw, analysis, (x, HEAD), figure, least)
        draw.text((x + width / 2, HEAD + height + 12), "noise level", INK, font, anchor="mt")
    if analysis.separates:
        draw.text((8, HEAD + height + 26), "framed: the proposed taps and look", FRAME, font)
    return image


def _panel(
    draw: ImageDraw.ImageDraw,
    analysis: Analysis,
    corner: tuple[int, int],
    figure: Callable[[Separation], float],
    least: float,
) -> None:
    """Draw the squares of one figure, whose lowest colour is for ``least`` and below."""
    font = ImageFont.load_default(11)
    chosen = analysis.chosen if analysis.separates else None
    frames = []
    for column, row in enumerate(analysis.single):
        x = corner[0] + CELL[0] * column
        level = f"{analysis.sigmas[column]:.2f}"
        draw.text((x + CELL[0] / 2, corner[1] - 4), level, INK, font, anchor="mb")
        for place, cell in enumerate(row):
            y = corner[1] + CELL[1] * place
            box = (x, y, x + CELL[0] - 2, y + CELL[1] - 2)
            share = (figure(cell) - least) / (1 - least)
            colour = _colour(share)
            draw.rectangle(box, colour)
            ink = "white" if share < 0.55 else "black"
            middle = (x + CELL[0] / 2 - 1, y + CELL[1] / 2 - 1)
            draw.text(middle, f"{figure(cell):.2f}", ink, font, anchor="mm")
            if chosen is not None and cell.sigma == chosen.sigma and cell.taps[0] in chosen.taps:
                frames.append(box)
    for box in frames:  # last, so that no square lies over them
        draw.rectangle(box, outline=FRAME, width=2)


def _colour(share: float) -> tuple[int, int, int]:
    """A colour between the nearest two of ``COLOURS``."""
    at = min(max(share, 0.0), 1.0) * (len(COLOURS) - 1)
    low = min(int(at), len(COLOURS) - 2)
    red, green, blue = (
        round(one + (at - low) * (other - one))
        for one, other in zip(COLOURS[low], COLOURS[low + 1], strict=True)
    )
    return red, green, blue
