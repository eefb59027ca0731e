"""What `generate` and `edit` do: check what was asked for, draw, write, and tell what was found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.output import progress_bar, save_picture, silenced
from commands.reading import check_model, read_bundle_file, read_key_list, read_profile
from concepts.files import check_writable, write_file
from concepts.instant import now
from concepts.printable import printable

if TYPE_CHECKING:
    from PIL.Image import Image

    from concepts.bundle import Bundle
    from uvr.engine.check import Check
    from uvr.profiles import ModelProfile
    from uvr.report import ConceptFinding, RegulationReport


@dataclass(frozen=True)
class Drawing:
    """One picture to draw; each attribute is the option of its name."""

    model: str
    profile_file: Path | None
    bundle_file: Path | None
    keys_file: Path | None
    checks: tuple[str, ...]
    on_residual: str | None
    preset: str | None
    strength: float | None
    out: Path
    report: Path | None
    heat_map: Path | None
    log_file: Path | None
    seed: int
    steps: int | None
    height: int | None
    width: int | None

    def make(self, task: str, request: dict[str, Any]) -> None:
        """Draw by a pipeline, regulated if there is a bundle; write picture and report, and tell.

        Args:
            task: "t2i" or "edit".
            request: ``prompt``, and ``image`` for editing.
        """
        # All of this before the slow imports.
        self._check_options()
        self._check_places()
        check_model(self.model)
        profile = read_profile(self.profile_file)
        self._check_preset(task)
        if self.model == "testbed":
            from uvr.testbed import SIDE_STEP

            self._check_sides(SIDE_STEP)
        image, found = self._draw(task, request, profile, self._bundle())
        save_picture(image, self.out)
        click.echo(f"Wrote {self.out}")
        if found is not None:
            self._write(image, found)
            self._tell(found)

    @property
    def report_file(self) -> Path | None:
        """Where the report goes, None for nowhere."""
        return self.report or (self.out.with_suffix(".json") if self.bundle_file else None)

    @property
    def regulation(self) -> dict[str, Any]:
        """What was said of how to regulate."""
        return _given(preset=self.preset, strength=self.strength)

    def _check_options(self) -> None:
        """Refuse options without the one that they need."""
        of_bundle = (self.report, self.heat_map, self.log_file, self.keys_file, self.checks)
        if self.bundle_file is None and any((*of_bundle, self.regulation)):
            needing = "--report, --heat-map, --log, --keys, --check, --preset and --strength"
            raise click.UsageError(f"{needing} need --bundle.")
        if self.on_residual and not self.checks:
            raise click.UsageError(
                "--on-residual says what to do with what --check finds; give both."
            )

    def _check_places(self) -> None:
        """Refuse files that cannot be written, or that are one."""
        places = [path for path in (self.out, self.report_file, self.heat_map) if path is not None]
        if len({path.absolute() for path in places}) < len(places):
            raise click.UsageError("--out, --report and --heat-map name one file twice.")
        for path in places:
            check_writable(path)

    def _check_preset(self, task: str) -> None:
        if self.preset is not None:
            from uvr.method.presets import Regulation, find_preset

            find_preset(self.preset, task, Regulation())

    def _check_sides(self, step: int) -> None:
        """Refuse sizes that the model would quietly change."""
        for name, side in (("--height", self.height), ("--width", self.width)):
            if side is not None and side % step:
                raise click.UsageError(f"{name} is {side}, a multiple of {step} is expected.")

    def _bundle(self) -> Bundle | None:
        if self.bundle_file is None:
            return None
        return read_bundle_file(self.bundle_file, read_key_list(self.keys_file), now())

    def _draw(
        self, task: str, request: dict[str, Any], given: ModelProfile | None, bundle: Bundle | None
    ) -> tuple[Image, RegulationReport | None]:
        from uvr.decisions.log import DecisionLog
        from uvr.drawing import draw
        from uvr.pipelines import load_pipeline

        pipe, profile = load_pipeline(self.model, task, given)
        if self.model != "testbed":
            self._check_sides(2 * int(pipe.vae_scale_factor))
        size = _given(num_inference_steps=self.steps, height=self.height, width=self.width)
        with ExitStack() as stack:
            # What the regulator logs is among the notes.
            stack.enter_context(silenced("uvr.regulator"))
            progress = stack.enter_context(progress_bar("Drawing"))
            listeners = []
            if self.log_file is not None:
                listeners.append(stack.enter_context(DecisionLog(self.log_file, features=True)))
            return draw(
                pipe, profile, {**request, **size}, seed=self.seed, bundle=bundle,
                check=checks_named(self.checks), on_residual=self.on_residual or "flag",
                on_decision=listeners, progress=progress,
                **self.regulation,
            )  # fmt: skip

    def _write(self, image: Image, found: RegulationReport) -> None:
        if self.report_file is not None:
            write_file(self.report_file, found.to_json().encode())
            click.echo(f"Wrote {self.report_file}")
        if self.heat_map is not None:
            save_picture(found.overlay(image, 0), self.heat_map)
            click.echo(f"Wrote {self.heat_map}")

    def _tell(self, found: RegulationReport) -> None:
        click.echo("\n".join(_outcome(found.images[0] if found.images else [])))
        if self.checks:
            (verdict,) = found.verdicts
            click.echo(f"Verdict: {verdict.outcome}. {verdict.reason}")
        if found.extra_passes:
            click.echo(f"Transformer passes: {found.passes}, and {found.extra_passes} to regulate")
        for note in found.notes:
            click.echo(f"Warning: {printable(note)}", err=True)


def checks_named(names: Sequence[str]) -> list[Check]:
    """Return the checks that an option names."""
    from uvr.engine.check import FeatureCheck

    made: list[Check] = [FeatureCheck()] if "features" in names else []
    if "testbed" in names:
        from uvr.evaluation.output_filter import OutputFilterJudge

        made.append(OutputFilterJudge())
    return made


def _given(**options: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _outcome(findings: Sequence[ConceptFinding]) -> list[str]:
    """What was found in a picture, in words; only what is enforced was regulated."""
    kinds = (("Found and regulated", True), ("Found and reported only", False))
    lines = []
    for label, enforced in kinds:
        slugs = [item.slug for item in findings if item.fired and item.enforced == enforced]
        if slugs:
            lines.append(f"{label}: {', '.join(slugs)}")
    return lines or ["Nothing banned was found."]
