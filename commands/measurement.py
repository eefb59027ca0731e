"""What `evaluate` does without a registry: draw and judge a suite in a folder, and tell it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.output import progress_steps, silenced
from commands.table import Table
from concepts.files import write_file

if TYPE_CHECKING:
    from concepts.bundle import Bundle
    from uvr.evaluation.suites.source import Asked
    from uvr.evaluation.suites.suite import Suite


@dataclass(frozen=True)
class Measurement:
    """One measurement of a suite: by what, and where.

    Attributes:
        model: Instead of the suite's; None for that.
        engine: Kind and address of what draws; see ``engine_option``.
        out: Folder of pictures, raw scores and reports.
        pictures: Cases that each section of the page shows at most; None for the usual number.
        progress_form: How progress is told.
    """

    model: str | None
    engine: tuple[str, str | None]
    out: Path
    pictures: int | None
    progress_form: str

    def run(self, suite: Suite, asked: Asked, bundle: Bundle | None) -> tuple[dict[str, Any], str]:
        """Draw and judge what is missing in the folder; return its report, and that file's digest.

        Args:
            suite: What to measure by which methods.
            asked: Of which concepts, by which cases.
            bundle: For the methods that use one.
        """
        from concepts.digest import sha256
        from uvr.evaluation.page import evaluation_page
        from uvr.evaluation.report import evaluation_report
        from uvr.evaluation.run.cluster import RayEngine
        from uvr.evaluation.run.draw import draw_calls
        from uvr.evaluation.run.run import load_models, run_suite
        from uvr.evaluation.run.work import work_folder
        from uvr.evaluation.shown import MOST

        kind, address = self.engine
        models = load_models(suite, asked, bundle, self.model)
        with work_folder(self.out) as work:
            with silenced("uvr.regulator"), progress_steps(self.progress_form) as progress:
                draws = RayEngine(address) if kind == "ray" else draw_calls
                outcomes = run_suite(suite, models, asked, work, progress, draws)
            report = evaluation_report(suite, models, asked, work, outcomes)
            written = (json.dumps(report, indent=1) + "\n").encode()
            write_file(self.out / "report.json", written)
            cards = MOST if self.pictures is None else self.pictures
            page = evaluation_page(report, suite, work, outcomes, cards)
            write_file(self.out / "report.html", page.encode())
        return report, sha256(written)


def table_lines(report: Mapping[str, Any], out: Path) -> list[str | Table]:
    """A report as a table, and where its page is."""
    from uvr.evaluation.report import COLUMNS, LEGEND, report_table

    rows = [{column: row.get(column, "") for column in COLUMNS} for row in report_table(report)]
    return [Table(COLUMNS, rows), *LEGEND, f"Report: {out / 'report.html'}"]
