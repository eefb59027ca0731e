"""A new release, step by step: what is to change, what that does, and only then the release.

Each step is a form that holds what was chosen so far. What would be released is made and rolled
back by the library, and the release is made only if it is that to the digest of its lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.responses import Response

from concepts.errors import InputError, NotFoundError, UVRError
from concepts.instant import parse_instant
from concepts.words import MODES
from console.call import Call, go_to, status_of
from console.form import FieldError, Form
from console.words import advice_words
from registry.answers import NewRelease
from registry.registry import Registry

WAYS = {
    "": "choose what changes",
    "enforce": "regulate it",
    "log": "report it only",
    "shadow": "try it silently",
    "off": "switch it off for some days",
    "on": "switch it on again",
    "drop": "take it out",
}


@dataclass(frozen=True)
class Row:
    """What is to become of one concept: a key of ``WAYS``, and an instant where that needs one."""

    slug: str
    way: str = ""
    until: str = ""


@dataclass(frozen=True)
class Plan:
    """What somebody wants a release to be.

    Attributes:
        bundle: Name of the bundle.
        include: As ``Releases.add`` has it.
        members: Versions to take in, "slug@3".
        rows: What changes, as the form has it.
        allow_shrink: Whether members may be enforced less.
        enforce_nothing: Whether nothing at all may be enforced.
        expires: Instant at which engines begin to refuse it; "" for never.
        note: Why.
    """

    bundle: str
    include: str = "last"
    members: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    allow_shrink: bool = False
    enforce_nothing: bool = False
    expires: str = ""
    note: str = ""

    def add_to(
        self, registry: Registry, actor: str, expect_digest: str, expect_lock: str | None = None
    ) -> NewRelease:
        """Make the release; see ``Releases.add``."""
        rows = self.rows
        return registry.releases.add(
            self.bundle,
            self.members,
            actor=actor,
            include=self.include,
            drop=frozenset(row.slug for row in rows if row.way == "drop"),
            modes={row.slug: row.way for row in rows if row.way in MODES},
            disabled={
                row.slug: row.until if row.way == "off" else None
                for row in rows
                if row.way in ("off", "on")
            },
            allow_shrink=self.allow_shrink,
            enforce_nothing=self.enforce_nothing,
            expires=self.expires or None,
            note=self.note,
            expect_digest=expect_digest,
            expect_lock=expect_lock,
        )


def begin(call: Call) -> Response:
    """Show the first step: what stays if nothing is chosen, and what waits."""
    bundles = sorted({item.bundle for item in call.registry.releases.summaries()})
    bundle = call.query.get("bundle", "").strip() or next(iter(bundles), "policy")
    rows: tuple[Row, ...] = ()
    if slug := call.query.get("concept", ""):
        rows = (Row(slug, call.query.get("way", ""), call.query.get("until", "")),)
    return _shown(call, Plan(bundle, rows=rows, note=call.query.get("note", "")))


def go_on(call: Call) -> Response:
    """Show what was chosen would do, or make that release."""
    plan, form = plan_of(call.form), call.form
    plan, wrong = checked(plan)
    if wrong is not None or form.text("step") != "release":
        return _shown(call, plan, wrong)
    try:
        made = plan.add_to(call.registry, call.actor, form.text("before"), form.text("lock"))
    except UVRError as error:
        if status_of(error) == 500:
            raise
        return _shown(call, plan, error)
    return go_to(f"/releases/{made.bundle}/{made.sequence}", "released")


def plan_of(form: Form) -> Plan:
    """Return what a form says, as it says it."""
    rows = zip(form.many("slug"), form.many("way"), form.many("until"), strict=False)
    return Plan(
        bundle=form.text("bundle"),
        include=form.text("include", "last"),
        members=form.many("member"),
        rows=tuple(Row(*row) for row in rows if row[0]),
        allow_shrink=form.flag("allow_shrink"),
        enforce_nothing=form.flag("enforce_nothing"),
        expires=form.text("expires"),
        note=form.text("note"),
    )


def checked(plan: Plan) -> tuple[Plan, FieldError | None]:
    """Return a plan with its times as instants, or the plan as it is and what is wrong with it."""
    try:
        rows, known = [], set[str]()
        for number, row in enumerate(plan.rows, 1):
            if row.way not in WAYS:
                raise FieldError(f"way-{number}", f"'{row.way}' is no way to change a concept.")
            if row.slug in known:
                raise FieldError(
                    f"slug-{number}",
                    f"'{row.slug}' is changed twice. Choose one change for each concept.",
                )
            known.add(row.slug)
            rows.append(replace(row, until=_until(row, f"until-{number}")))
        if plan.include not in ("last", "approved", "all"):
            raise FieldError("include", f"'{plan.include}' is no choice of concepts.")
        expires = field_instant("expires", "It expires", plan.expires)
    except FieldError as error:
        return plan, error
    return replace(plan, rows=tuple(rows), expires=expires), None


def _shown(call: Call, plan: Plan, wrong: UVRError | None = None) -> Response:
    """Show a plan and, once something was chosen, what it would do: made, and rolled back.

    Args:
        call: The request.
        plan: What was chosen.
        wrong: Why it cannot be meant, or was not made.
    """
    before = _newest(call.registry, plan.bundle)
    trial, status = None, 200 if wrong is None else status_of(wrong)
    if call.form.fields and not isinstance(wrong, FieldError):
        try:
            expected = before.bundle_digest if before else ""
            trial = plan.add_to(call.registry.rehearsal(), call.actor, expected)
        except UVRError as error:
            wrong = wrong or error
            status = max(status, 422) if isinstance(error, InputError) else status
    field = wrong.field if isinstance(wrong, FieldError) else ""
    return call.page(
        "wizard.html", status, plan=plan, before=before, trial=trial, wrong=field, ways=WAYS,
        refused=None if wrong is None else advice_words(str(wrong)),
        needed=call.registry.team.policy().signatures,
        waiting=[item for item in (before.left_out if before else ()) if item.takes],
        slugs=sorted(item.slug for item in call.registry.concepts.list()),
    )  # fmt: skip


def _newest(registry: Registry, bundle: str) -> NewRelease | None:
    try:
        return registry.releases.get(bundle)
    except NotFoundError:
        return None


def _until(row: Row, field: str) -> str:
    """Return until when a concept is off: a number of days, or an instant."""
    if row.way != "off":
        return ""
    if not row.until:
        raise FieldError(field, "Say for how many days it is switched off.")
    return field_instant(field, "Switched off until", row.until)


def field_instant(field: str, what: str, text: str) -> str:
    """Read a time as a field has it: a number of days from now, or an instant; "" stays.

    Args:
        field: Name of the field.
        what: What happens then, to begin the sentence of an error.
        text: What was typed.

    Raises:
        FieldError: It is neither.
    """
    try:
        return parse_instant(f"{text}d" if text.isdigit() else text) if text else ""
    except ValueError as error:
        raise FieldError(field, f"{what}: {error}.") from error
