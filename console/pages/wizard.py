"""A new release, step by step: what is to change, what that does, and only then the release.

Each step is a form that holds what was chosen so far. What would be released is made and rolled
back by the library, and the release is made only if it is that to the digest of its lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from concepts.errors import InputError, NotFoundError, UVRError
from concepts.instant import parse_instant
from console.call import Call, go_to
from console.form import Form
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
class Plan:
    """What somebody wants a release to be.

    Attributes:
        bundle: Name of the bundle.
        include: As ``Releases.add`` has it.
        members: Versions to take in, "slug@3".
        changes: What changes, by slug: a key of ``WAYS``, and an instant where that needs one.
        allow_shrink: Whether members may be enforced less.
        enforce_nothing: Whether nothing at all may be enforced.
        expires: Instant at which engines begin to refuse it; "" for never.
        note: Why.
    """

    bundle: str
    include: str = "last"
    members: tuple[str, ...] = ()
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    allow_shrink: bool = False
    enforce_nothing: bool = False
    expires: str = ""
    note: str = ""

    def add_to(
        self, registry: Registry, actor: str, expect_digest: str, expect_lock: str | None = None
    ) -> NewRelease:
        """Make the release; see ``Releases.add``."""
        ways = self.changes.items()
        return registry.releases.add(
            self.bundle,
            self.members,
            actor=actor,
            include=self.include,
            drop=frozenset(slug for slug, (way, _) in ways if way == "drop"),
            modes={slug: way for slug, (way, _) in ways if way in ("enforce", "log", "shadow")},
            disabled={
                slug: until if way == "off" else None
                for slug, (way, until) in ways
                if way in ("off", "on")
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
    changes = {}
    if slug := call.query.get("concept", ""):
        changes[slug] = (call.query.get("way", ""), call.query.get("until", ""))
    return _shown(call, Plan(bundle, changes=changes))


def go_on(call: Call) -> Response:
    """Show what was chosen would do, or make that release."""
    plan, form = read_plan(call.form), call.form
    if form.text("step") != "release":
        return _shown(call, plan)
    made = plan.add_to(call.registry, call.actor, form.text("before"), form.text("lock"))
    return go_to(f"/releases/{made.bundle}/{made.sequence}", "released")


def read_plan(form: Form) -> Plan:
    """Return what a form says; InputError for what it cannot mean."""
    changes: dict[str, tuple[str, str]] = {}
    rows = zip(form.many("slug"), form.many("way"), form.many("until"), strict=False)
    for slug, way, until in rows:
        if not slug or not way:
            continue
        if way not in WAYS:
            raise InputError(f"'{way}' is no way to change a concept.")
        if slug in changes:
            raise InputError(f"'{slug}' is changed twice. Choose one change for each concept.")
        changes[slug] = (way, _until(way, until))
    include = form.text("include", "last")
    if include not in ("last", "approved", "all"):
        raise InputError(f"'{include}' is no choice of concepts.")
    expires = form.text("expires")
    return Plan(
        bundle=form.text("bundle"),
        include=include,
        members=form.many("member"),
        changes=changes,
        allow_shrink=form.flag("allow_shrink"),
        enforce_nothing=form.flag("enforce_nothing"),
        expires=_instant("It expires", f"{expires}d" if expires.isdigit() else expires),
        note=form.text("note"),
    )


def _shown(call: Call, plan: Plan) -> Response:
    """Show a plan and, once something was chosen, what it would do: made, and rolled back."""
    before = _newest(call.registry, plan.bundle)
    trial, refused = None, None
    if call.form.fields:
        try:
            expected = before.bundle_digest if before else ""
            trial = plan.add_to(call.registry.rehearsal(), call.actor, expected)
        except UVRError as error:
            refused = advice_words(str(error))
    return call.page(
        "wizard.html", plan=plan, before=before, trial=trial, refused=refused, ways=WAYS,
        needed=call.registry.team.policy().signatures,
        waiting=[item for item in (before.left_out if before else ()) if item.takes],
        slugs=sorted(item.slug for item in call.registry.concepts.list()),
    )  # fmt: skip


def _newest(registry: Registry, bundle: str) -> NewRelease | None:
    try:
        return registry.releases.get(bundle)
    except NotFoundError:
        return None


def _until(way: str, text: str) -> str:
    """Return until when a concept is off: a number of days, or an instant."""
    if way != "off":
        return ""
    if not text:
        raise InputError("Say for how many days it is switched off.")
    return _instant("Switched off until", f"{text}d" if text.isdigit() else text)


def _instant(what: str, text: str) -> str:
    try:
        return parse_instant(text) if text else ""
    except ValueError as error:
        raise InputError(f"{what}: {error}.") from error
