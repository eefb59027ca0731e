"""The command that tries a prompt, or a picture, under a release or one version alone."""

from __future__ import annotations

from pathlib import Path

import click

from commands.app import App, pass_app
from commands.options import (
    as_json,
    model_option,
    profile_option,
    progress_option,
    seed_option,
    steps_option,
)
from commands.output import progress_of, silenced
from commands.parameters import FILE, OUT_FOLDER, RELEASE, VERSION
from commands.reading import check_model, read_profile


@click.command("try")
@click.argument("prompt", default="")
@click.option(
    "--release", "release_name", metavar="BUNDLE[@SEQUENCE]", type=RELEASE,
    help="Try this release, the newest by default.",
)  # fmt: skip
@click.option(
    "--version", metavar="SLUG[@NUMBER]", type=VERSION,
    help="Or this version alone, whatever its state.",
)  # fmt: skip
@click.option(
    "--picture", type=FILE, help="Edit this picture as PROMPT says; without PROMPT, check it."
)
@click.option(
    "--check", "checks", type=click.Choice(["features", "testbed"]), multiple=True,
    help="Check finished pictures by their features, by the testbed's output filter; repeat it.  "
    "[default: features]",
)  # fmt: skip
@model_option
@profile_option
@seed_option
@steps_option
@click.option("--allow-cpu", is_flag=True, help="Run a full-size model without a GPU.")
@click.option(
    "--out", type=OUT_FOLDER, default=Path("tried"), show_default=True,
    help="Folder for what it shows.",
)  # fmt: skip
@progress_option
@as_json
@pass_app
def try_prompt(
    app: App,
    /,
    prompt: str,
    release_name: tuple[str, int | None] | None,
    version: tuple[str, int | None] | None,
    picture: Path | None,
    checks: tuple[str, ...],
    model: str,
    profile_file: Path | None,
    seed: int,
    steps: int | None,
    allow_cpu: bool,
    out: Path,
    progress_form: str,
) -> None:
    """Draw a prompt with and without a release, from the same noise, or check a picture.

    With PROMPT the folder gets stock.png, regulated.png, heat maps of what came closest,
    report.json, and checks.json: what the check would say of both pictures. A picture without
    PROMPT is checked alone. By features the check needs anchors for it: `collect-anchors SLUG
    --task check`. The console's page "Try it" asks a worker for the same and shows it.

    \b
    Examples:
      uvr-registry try "a bomb on the left" --release policy@3
      uvr-registry try "add a pistol" --picture desk.png --version testbed-pistol --out tried
      uvr-registry try --picture found.png --release policy
    """
    if not prompt and picture is None:
        raise click.UsageError("Give PROMPT, or --picture, or both.")
    if (release_name is None) == (version is None):
        raise click.UsageError("Give --release or --version, one of the two.")
    check_model(model)
    given_profile, registry = read_profile(profile_file), app.open()
    if version is not None:
        bundle = registry.releases.trial(*version)
    else:
        bundle = registry.releases.bundle(*(release_name or ()))
    from commands.drawing import checks_named
    from console.evidence.drawing import check_given, try_bundle  # It loads torch.
    from console.evidence.tried import about_bundle, keep_tried
    from uvr.anchors.pictures import read_picture
    from uvr.placement import require_gpu

    given = None if picture is None else read_picture(picture)
    if not allow_cpu:
        require_gpu(model)
    about = about_bundle(bundle, alone=version is not None, prompt=prompt, seed=seed, model=model)
    named = checks_named(checks or ("features",))
    if given is not None and not prompt:
        tried = check_given(bundle, about, given, checks=named, profile=given_profile)
    else:
        with silenced("uvr.regulator"):  # What it logs is among the notes.
            tried = try_bundle(
                bundle, about, given, checks=named, profile=given_profile, steps=steps,
                progress=progress_of(progress_form),
            )  # fmt: skip
    keep_tried(out, tried)
    told = tried.to_dict()
    app.show({**told, "folder": str(out)}, [f"Wrote {out}", tried.said, *tried.fates])
    for note in told["notes"]:
        app.warn(note)
