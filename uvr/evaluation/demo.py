"""The demo: pictures and figures of one bundle on the testbed, as a sheet and a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from concepts.bundle import Bundle
from uvr.evaluation.cases import Case
from uvr.evaluation.drawn import Drawn, draw_cases
from uvr.evaluation.figures import (
    Erasure,
    Preservation,
    erasure,
    preservation,
    table,
    together,
)
from uvr.evaluation.uses import make_cases
from uvr.testbed import load_testbed
from uvr.testbed.scenes import BANNED

COUNTS = {  # cases a concept, by task and use; benign cases three times as many
    "t2i": {"asked for": 16},
    "edit": {"kept": 12, "named": 6, "added": 6, "swapped in": 6},
}
SEED = 7
SHOWN: dict[str, dict[str | None, int]] = {  # rows of the sheet, by use
    "asked for": dict.fromkeys((*BANNED, None), 2),
    "kept": dict.fromkeys((*BANNED, None), 1),
    "named": {"pistol": 1, "bomb": 1},
    "added": {"kitchen knife": 1, "mascot": 1},
    "swapped in": {"bare mannequin": 1, "pistol": 1},
}
CELL, GAP, TEXT = 128, 8, 330
COLUMNS = ("source", "stock", "regulated", "what matched")


@dataclass(frozen=True)
class Row:
    """One line of the sheet: what was asked, and its four pictures (None where there is none)."""

    title: str
    pictures: tuple[Image.Image | None, ...]


@dataclass(frozen=True)
class DemoResult:
    """The figures; the sheet is on disk."""

    erased: list[Erasure]
    preserved: list[Preservation]

    def table(self) -> str:
        """The figures as plain text."""
        return table(self.erased, self.preserved)


def run_demo(bundle: Bundle, out: Path, progress: Callable[[int, int], None]) -> DemoResult:
    """Draw, measure, and write `out/sheet.png`.

    Args:
        bundle: Holds the five stand-in concepts for both tasks.
        out: Folder, made if it is not there.
        progress: Called with pictures drawn and pictures in all.
    """
    plan = [(task, use, thing, count if thing else 3 * count)
            for task, uses in COUNTS.items() for use, count in uses.items()
            for thing in (*BANNED, None)]  # fmt: skip
    total = 2 * sum(count for *_, count in plan)
    done = 0
    erased, rows = [], []
    benign: dict[str, list[tuple[Drawn, Drawn]]] = {}

    def draw(task_pipe: object, cases: Sequence[Case], regulated: Bundle | None) -> Drawn:
        nonlocal done
        drawn = draw_cases(task_pipe, cases, regulated, lambda n, _: progress(done + n, total))
        done += len(cases)
        return drawn

    pipes = {task: load_testbed(task) for task in COUNTS}
    for task, use, thing, count in plan:
        cases = make_cases(task, thing, count, SEED, use)
        stock, regulated = draw(pipes[task], cases, None), draw(pipes[task], cases, bundle)
        if thing:
            erased.append(erasure(cases, task, use, stock, regulated))
        else:
            benign.setdefault(task, []).append((stock, regulated))
        shown = range(SHOWN[use].get(thing, 0))
        rows += [sheet_row(cases[i], stock, regulated, i) for i in shown]
    preserved = [preservation(task, *map(together, zip(*parts, strict=True)))
                 for task, parts in benign.items()]  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    sheet(rows).save(out / "sheet.png")
    return DemoResult(erased, preserved)


def sheet_row(case: Case, stock: Drawn, regulated: Drawn, index: int) -> Row:
    """The pictures of one case."""
    report, place = regulated.reports[index]
    heat = report.overlay(stock.images[index], place)
    pictures = (case.source, stock.images[index], regulated.images[index], heat)
    return Row(case.prompt, pictures)


def sheet(rows: Sequence[Row]) -> Image.Image:
    """All rows in two columns, text-to-image left and edits right."""
    half = (len(rows) + 1) // 2
    width = TEXT + len(COLUMNS) * (CELL + GAP)
    height = 40 + half * (CELL + GAP)
    canvas = Image.new("RGB", (2 * width + GAP, height), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(18)
    for side, part in enumerate((rows[:half], rows[half:])):
        left = side * (width + GAP)
        for column, title in enumerate(COLUMNS):
            draw.text((left + TEXT + column * (CELL + GAP), 10), title, "black", font)
        for line, row in enumerate(part):
            top = 40 + line * (CELL + GAP)
            draw.multiline_text((left + 6, top + 20), wrap(row.title), "black", font, spacing=6)
            for column, picture in enumerate(row.pictures):
                if picture is not None:
                    large = picture.resize((CELL, CELL), Image.Resampling.LANCZOS)
                    canvas.paste(large, (left + TEXT + column * (CELL + GAP), top))
    return canvas


def wrap(text: str, width: int = 32) -> str:
    """`text` in lines of at most `width` characters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += word + " "
    return "\n".join(line.strip() for line in lines)
