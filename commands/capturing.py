"""How pictures are captured that anchors come from: options, plan, and where features are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App
from commands.options import engine_option, progress_option
from commands.reading import require_ray
from commands.table import Table
from concepts.files import in_use

if TYPE_CHECKING:
    from concepts.definition import ConceptDefinition
    from uvr.anchors.capturing import Capturing
    from uvr.anchors.exemplars import Exemplars
    from uvr.anchors.feature_folder import FeatureFolder
    from uvr.anchors.plan import Plan
    from uvr.placement import Placement

_OPTIONS = (
    click.option("--plan", is_flag=True, help="Say what it takes, trying one batch, and stop."),
    click.option(
        "--batch-size",
        type=click.IntRange(1, 1024),
        default=8,
        show_default=True,
        help="Pictures that pass the model together; other sizes round otherwise.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["bfloat16", "float16", "float32"]),
        help="Precision of the weights.  [default: bfloat16 on a GPU, else float32]",
    ),
    click.option(
        "--offload",
        type=click.Choice(["model", "sequential"]),
        help="Keep weights in main memory but for the model, or the layer, that runs.",
    ),
    click.option("--allow-cpu", is_flag=True, help="Run a full-size model without a GPU."),
    engine_option,
    progress_option,
)


def capturing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of how pictures are captured; the command gets them as its ``means``."""

    @wraps(command)
    def with_means(**options: Any) -> Any:
        means = Means(**{option.name: options.pop(option.name) for option in fields(Means)})
        return command(means=means, **options)

    for option in reversed(_OPTIONS):
        with_means = option(with_means)
    return with_means


@dataclass(frozen=True)
class Means:
    """How pictures are captured.

    Attributes:
        plan: Whether to stop once it is said what that takes.
        batch_size: Pictures in a batch.
        dtype: Precision, None for the usual one.
        offload: "model", "sequential" or None.
        allow_cpu: Whether a large model may run without a GPU.
        engine: "local" or "ray", and an address.
        progress_form: "bar" or "json".
    """

    plan: bool
    batch_size: int
    dtype: str | None
    offload: str | None
    allow_cpu: bool
    engine: tuple[str, str | None]
    progress_form: str

    def check(self) -> None:
        """Refuse what cannot be, before the slow imports."""
        if self.engine[0] == "ray":
            require_ray()
            if self.plan:
                raise click.UsageError("--plan tries a batch in this process: leave --engine out.")

    def placement(self, model: str) -> Placement | None:
        """Precision and offload; a large model that would run on a CPU is refused."""
        from uvr.placement import Placement, require_gpu

        if not self.allow_cpu:
            require_gpu(model)
        return Placement(self.dtype, self.offload) if self.dtype or self.offload else None

    @contextmanager
    def capturing(self, folder: FeatureFolder, model: str) -> Iterator[Capturing]:
        """Give how features are captured, connected to a cluster where one does it."""
        from uvr.anchors.capturing import Capturing

        kind, address = self.engine
        with ExitStack() as stack:
            stack.enter_context(in_use(folder.path))
            if kind == "local":
                yield Capturing(self.batch_size, folder)
                return
            from uvr.anchors.cluster import ray_engine

            engine = stack.enter_context(ray_engine(model, self.placement(model), address))
            yield Capturing(self.batch_size, folder, engine)


def feature_folder(home: Path) -> FeatureFolder:
    """Where features are kept until a version has their anchors; `gc` clears it."""
    from registry.store.home import FEATURES
    from uvr.anchors.feature_folder import FeatureFolder

    return FeatureFolder(home / FEATURES)


def warn_of_undrawn(
    app: App,
    definitions: Sequence[ConceptDefinition],
    exemplars: Exemplars,
    model: str,
    tasks: Sequence[str],
) -> None:
    """Warn of prompts that the model will not draw, before it is loaded."""
    from uvr.anchors.doubts import foreseen

    for definition in definitions:
        for sentence in foreseen(definition, exemplars, model, tasks):
            app.warn(f"{definition.slug}: {sentence}")


def plan(
    app: App,
    definitions: Sequence[ConceptDefinition],
    exemplars: Exemplars,
    means: Means,
    folder: FeatureFolder,
    model_options: Mapping[str, Any],
) -> None:
    """Say what collections take, and capture a batch of each to tell their time."""
    from uvr.anchors.plan import plan_all

    with means.capturing(folder, model_options["model"]) as capturing:
        plans, lacking = plan_all(definitions, exemplars, capturing, **model_options)
    for sentence in lacking:
        app.warn(sentence)
    _show_plans(app, plans, folder)


def _show_plans(app: App, plans: Sequence[Plan], folder: FeatureFolder) -> None:
    rows = [
        {
            "concept": plan.slug,
            "task": plan.task,
            "pictures": plan.pictures,
            "captured": plan.kept,
            "batches": plan.batches,
            "disk": _size(plan.disk_bytes),
            "memory": _size(plan.memory_bytes),
            "a batch": _time(plan.seconds_a_batch),
            "left": _time(plan.seconds_left),
        }
        for plan in plans
    ]
    places = dict.fromkeys(f"{plan.model} on {plan.device} in {plan.dtype}" for plan in plans)
    columns = ("concept", "task", "pictures", "captured", "batches", "disk", "memory", "a batch",
               "left")  # fmt: skip
    lines: list[str | Table] = [
        Table(columns, rows),
        f"{', '.join(places)}: about {_time(sum(plan.seconds_left for plan in plans))} left, one "
        "batch after the other. What was captured is kept.",
        f"Disk until a version is made: {_size(sum(plan.disk_bytes for plan in plans))} of "
        f"{_size(folder.free)} free at '{folder.path}'. Memory is beside the model's.",
    ]
    data = {
        "plans": [plan.to_dict() for plan in plans],
        "folder": str(folder.path),
        "free_bytes": folder.free,
    }
    app.show(data, lines)


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "none left"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
