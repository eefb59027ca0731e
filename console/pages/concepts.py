"""Concepts and their versions: words, pictures, what was measured, and their life."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import RedirectResponse, Response

from concepts.calibration import Calibration
from concepts.errors import InputError
from concepts.instant import now
from console.call import Call, go_to
from console.pages.jobs import offered_models
from console.pages.pictures import pictures_of
from registry.answers import VersionInfo
from uvr.evaluation.suites.shipped import shipped_suites


def concepts(call: Call) -> Response:
    """List the concepts, all or those whose name holds a word."""
    word = call.query.get("q", "").strip()
    found = [
        item
        for item in call.registry.concepts.standings()
        if word.lower() in f"{item.name} {item.slug} {item.category}".lower()
    ]
    return call.page("concepts.html", concepts=found, word=word, at=now())


def newest(call: Call) -> Response:
    """Go to a concept's newest version; one without versions has a page of its own."""
    concept = call.registry.concepts.get(call.path["slug"])
    if concept.versions:
        return RedirectResponse(f"/concepts/{concept.slug}/{concept.versions[-1].number}", 303)
    history = call.registry.audit.history(concept.slug)
    return call.page("concept.html", concept=concept, history=history)


def version(call: Call) -> Response:
    """Show a version: its address stays."""
    return _shown(call, unveiled=False)


def unveil(call: Call) -> Response:
    """Show a version with pictures that are blurred until somebody asks for them."""
    return _shown(call, unveiled=True)


def compare(call: Call) -> Response:
    """Show what a version changes against another one of its concept."""
    slug, number, before = (call.path[name] for name in ("slug", "number", "before"))
    detail = call.registry.versions.detail(slug, number)
    return call.page(
        "compare.html",
        detail=detail,
        version=detail.version,
        diff=call.registry.versions.diff(slug, before, number),
        pictures=pictures_of(call, detail, before),
    )


def _shown(call: Call, *, unveiled: bool) -> Response:
    slug, number = call.path["slug"], call.path["number"]
    concept = call.registry.concepts.get(slug)
    detail = call.registry.versions.detail(slug, number)
    return call.page(
        "version.html",
        at=now(),
        concept=concept,
        detail=detail,
        version=detail.version,
        found=found_words(detail.version),
        pictures=pictures_of(call, detail, unveiled=unveiled),
        history=call.registry.audit.history(slug),
        suites=shipped_suites(),
        approvals=call.registry.team.policy().approvals,
    )


def add_look_alike(call: Call) -> Response:
    """Name a look-alike that is allowed, in the words that a concept's next version takes."""
    concept, text = call.registry.concepts.get(call.path["slug"]), call.form.text("text")
    if not text:
        raise InputError("Say what the look-alike is, as somebody would ask for it.")
    words = concept.definition
    changed = replace(words, near_misses=(*words.near_misses, text))
    expected = call.form.text("definition")
    call.registry.concepts.add(changed, actor=call.actor, expect_digest=expected or words.digest)
    return go_to(f"/concepts/{concept.slug}/words", "look-alike")


def words(call: Call) -> Response:
    """Show the words that a concept's next version takes."""
    concept = call.registry.concepts.get(call.path["slug"])
    return call.page("words.html", concept=concept, models=offered_models(call))


def submit(call: Call) -> Response:
    """Put a draft up for review, which approves it where the policy asks for none."""
    form = call.form
    done = call.registry.versions.submit(
        call.path["slug"], call.path["number"], actor=call.actor, note=form.text("note"),
        expect_digest=form.text("content"),
    )  # fmt: skip
    told = "approved-at-once" if done.state == "approved" else "submitted"
    return go_to(f"/concepts/{done.slug}/{done.number}", told)


def deprecate(call: Call) -> Response:
    """Take an approved version out of use."""
    done = call.registry.versions.deprecate(
        call.path["slug"], call.path["number"], actor=call.actor, reason=call.form.text("reason"),
        expect_digest=call.form.text("content"),
    )  # fmt: skip
    return go_to(f"/concepts/{done.slug}/{done.number}", "deprecated")


def revoke(call: Call) -> Response:
    """Revoke a version for good."""
    done = call.registry.versions.revoke(
        call.path["slug"], call.path["number"], actor=call.actor, reason=call.form.text("reason"),
        expect_digest=call.form.text("content"),
    )  # fmt: skip
    return go_to(f"/concepts/{done.slug}/{done.number}", "revoked")


def found_words(version: VersionInfo) -> list[tuple[str, Calibration | None]]:
    """Return what a version's strictness promises and reaches, for each use of a model."""
    return [
        (
            f"{item.space.model} {item.space.task}",
            None if item.calibration is None else Calibration.from_dict(item.calibration),
        )
        for item in version.spaces
    ]
