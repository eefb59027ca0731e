"""Reports to compare."""

from typing import Any


def without_times(report: Any) -> Any:
    """A report without what a clock measured."""
    if isinstance(report, dict):
        return {k: without_times(v) for k, v in report.items() if not k.startswith("seconds")}
    return [without_times(item) for item in report] if isinstance(report, list) else report
