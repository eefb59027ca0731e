"""Going back: the members of an earlier release again, looked at first and then released."""

from __future__ import annotations

import json

from starlette.responses import Response

from concepts.errors import InputError, UVRError
from console.call import Call, go_to, status_of
from console.form import FieldError, Form
from console.pages.wizard import field_instant
from console.words import advice_words
from registry.answers import NewRelease
from registry.registry import Registry


def begin(call: Call) -> Response:
    """Ask why, and for what goes, to go back to a release."""
    return _shown(call)


def go_on(call: Call) -> Response:
    """Show what going back would do, or do it if it is still what was shown."""
    if call.form.text("step") != "release" or call.form.text("looked") != _chosen(call.form):
        return _shown(call)
    try:
        made = _roll_back(call.registry, call, call.form.text("before"))
    except UVRError as error:
        if status_of(error) == 500:
            raise
        return _shown(call, error)
    return go_to(f"/releases/{made.bundle}/{made.sequence}", "released")


def _shown(call: Call, wrong: UVRError | None = None) -> Response:
    """Show the form and, once it was sent, what would come of it: made, and rolled back."""
    registry, bundle = call.registry, call.path["bundle"]
    old = registry.releases.get(bundle, call.path["sequence"])
    newest, trial = registry.releases.get(bundle), None
    status = 200 if wrong is None else status_of(wrong)
    if call.form.fields and wrong is None:
        try:
            trial = _roll_back(registry.rehearsal(), call, newest.bundle_digest)
        except UVRError as error:
            wrong = error
            status = 422 if isinstance(error, InputError) else 200
    held = {member.slug for member in old.members}
    return call.page(
        "rollback.html", status, old=old, newest=newest, trial=trial, form=call.form,
        going=[member.slug for member in newest.members if member.slug not in held],
        dropped=call.form.many("drop"), looked=_chosen(call.form),
        wrong=wrong.field if isinstance(wrong, FieldError) else "",
        refused=None if wrong is None else advice_words(str(wrong)),
    )  # fmt: skip


def _roll_back(registry: Registry, call: Call, expect_digest: str) -> NewRelease:
    form = call.form
    if not form.text("reason"):
        raise FieldError("reason", "Say why: the audit trail keeps it.")
    expires = field_instant("expires", "It expires", form.text("expires"))
    return registry.releases.roll_back(
        call.path["bundle"], call.path["sequence"], actor=call.actor, reason=form.text("reason"),
        drop=frozenset(form.many("drop")), allow_shrink=form.flag("allow_shrink"),
        enforce_nothing=form.flag("enforce_nothing"), expires=expires or None,
        expect_digest=expect_digest,
    )  # fmt: skip


def _chosen(form: Form) -> str:
    """Return the choices of a form, which may have changed since what they do was looked at."""
    boxes = [name for name in ("allow_shrink", "enforce_nothing") if form.flag(name)]
    return json.dumps([sorted(form.many("drop")), boxes, form.text("expires")])
