"""Metrics of a server for Prometheus: what was found, how long it took, which release is in use.

``prometheus_client`` is the extra ``metrics``: it is imported when metrics are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from concepts.errors import NotFoundError
from uvr.decisions.decision import Decision
from uvr.decisions.hits import modes_of
from uvr.decisions.log import DecisionLog

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from uvr.engine.regulator import Regulator
    from uvr.engine.status import RegulatorStatus

SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 20, 60, 120)
"""Bounds of the buckets of seconds: from a look to a whole call."""

STATES = ("ok", "stale", "degraded", "failed")


class Metrics:
    """Counts decisions, ``Regulator(on_decision=[log, metrics])``, and tells how a server stands.

    Args:
        registry: Where they are registered; Prometheus's own by default.

    Raises:
        NotFoundError: ``prometheus_client`` is not installed.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            import prometheus_client as prometheus  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise NotFoundError("Metrics need the extra: pip install '.[metrics]'.") from error
        self._registry = registry or prometheus.REGISTRY
        self._pictures = prometheus.Counter(
            "uvr_pictures", "Pictures decided", ("model", "task", "outcome"),
            registry=self._registry,
        )  # fmt: skip
        self._hits = prometheus.Counter(
            "uvr_hits", "Pictures in which a concept was found", ("concept", "mode"),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = prometheus.Histogram(
            "uvr_seconds", "Seconds of a call and its parts: look, rewind, check", ("part",),
            buckets=SECONDS, registry=self._registry,
        )  # fmt: skip

    def __call__(self, decision: Decision) -> None:
        """Count one decision; the seconds of a call once, with its first picture."""
        verdict = decision.verdict
        self._pictures.labels(decision.model, decision.task, verdict.outcome).inc()
        for concept, mode in modes_of(decision).items():
            self._hits.labels(concept, mode).inc()
        if verdict.picture == 0:
            for part, seconds in decision.seconds.items():
                self._seconds.labels(part).observe(seconds)

    def watch(self, regulator: Regulator, log: DecisionLog | None = None) -> None:
        """Tell at each scrape how a regulator stands, and how many decisions a log dropped."""
        self._registry.register(_Standing(regulator, log))


class _Standing:
    """Asks a regulator for its status at each scrape."""

    def __init__(self, regulator: Regulator, log: DecisionLog | None) -> None:
        self._regulator, self._log = regulator, log

    def describe(self) -> Iterator[Any]:
        """Name nothing beforehand, so that nothing is asked when it is registered."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """Yield the families of metrics."""
        from prometheus_client.core import (  # noqa: PLC0415 (an extra)
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        status = self._regulator.status()
        yield _states(GaugeMetricFamily, status.state)
        if status.bundle is not None:
            yield _release(GaugeMetricFamily, status)
        if status.created:
            text = (
                "When the release in use was made, seconds since 1970; its age is time() minus it"
            )
            yield GaugeMetricFamily("uvr_release_created_seconds", text, _seconds(status.created))
        if status.source is not None:
            checked = status.source.checked_at
            if checked:
                text = "When the release in use was last confirmed, seconds since 1970"
                yield GaugeMetricFamily("uvr_release_checked_seconds", text, _seconds(checked))
            yield CounterMetricFamily("uvr_polls", "Polls", status.source.polls)
            text = "Polls that failed"
            yield CounterMetricFamily("uvr_polls_failed", text, status.source.polls_failed)
        if self._log is not None:
            text = "Decisions that the log did not write"
            yield CounterMetricFamily("uvr_decisions_dropped", text, self._log.dropped)


def _states(family: Any, state: str) -> Any:
    states = family("uvr_state", "1 for the state that the server is in", labels=("state",))
    for name in STATES:
        states.add_metric([name], float(name == state))
    return states


def _release(family: Any, status: RegulatorStatus) -> Any:
    """The release in use by its labels; the value is its number."""
    labels = ("bundle", "digest")
    release = family("uvr_release", "Number of the release in use", labels=labels)
    release.add_metric([str(status.bundle), str(status.digest)], float(status.sequence or 0))
    return release


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
