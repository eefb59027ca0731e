"""One request as a page sees it, and the page's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, RedirectResponse, Response

from concepts.errors import PolicyError, UVRError
from console.decisions import DecisionLog
from console.form import Form
from console.identity import Identity
from console.render import render
from console.settings import Settings
from registry.registry import Registry

NOTICES = {
    "approved": "Your approval was recorded.",
    "approved-at-once": "The version is approved: the policy asks for no review.",
    "asked": "The job waits for a worker: `uvr-registry worker`.",
    "deprecated": "The version is out of use.",
    "draft": "The draft was saved.",
    "forgotten": "The picture was deleted, and what was recorded of it.",
    "kept": "The pictures are kept.",
    "left-out": "The picture is left out of the next collections.",
    "look-alike": "The look-alike was added to the words of the next version.",
    "masked": "The mask was saved.",
    "masked-last": "The mask was saved. None that is collected from lacks one.",
    "moved": "The channel was moved.",
    "released": "The release was made.",
    "returned": "The version was sent back to its authors.",
    "revoked": "The version was revoked.",
    "same": "The same was asked for before and did not end yet: this is that job.",
    "stopped": "The job stops, at once or at its worker's next word.",
    "unmasked": "The mask was taken away.",
    "taken-in": "The picture is collected from again.",
    "submitted": "The version waits for review.",
}
"""What a page says after a change; an address names one, so that no text comes from outside."""

GLANCE_S = 0.2
"""Seconds that a page which only tells waits for writers."""


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        registry: The registry.
        settings: How the console is reached.
        decisions: The decision log, where there is one.
        identity: Who asks.
        token: For the forms of the page.
        path: What the address names.
        query: What follows its question mark.
        form: What was sent.
        partial: Whether a script asked for a part of the page alone.
        address: What was asked for, without its query.
    """

    registry: Registry
    settings: Settings
    decisions: DecisionLog
    identity: Identity
    token: str
    path: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Form = field(default_factory=Form)
    partial: bool = False
    address: str = ""

    @property
    def actor(self) -> str:
        """Who acts."""
        return self.identity.actor

    def refusal(self, change: Callable[[Registry], object]) -> str | None:
        """Return why the library would refuse a change; None if it would make it.

        It is made and rolled back, so that no rule is known here. While others write, it cannot be
        told: a page that is only looked at does not queue with them.
        """
        try:
            change(self.registry.rehearsal(GLANCE_S))
        except UVRError as error:
            return str(error)
        return None

    def lacks(self, role: str) -> str:
        """Say why whoever asks may not act in a role; "" where they may."""
        try:
            self.registry.team.require(self.actor, role)
        except PolicyError as error:
            return str(error)
        return ""

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """Render a template as the answer."""
        shown = {
            "actor": self.actor, "roles": self.identity.roles, "token": self.token,
            "notice": NOTICES.get(self.query.get("done", ""), ""), "partial": self.partial,
            "lacks": self.lacks,
            "login": self.settings.openid is not None and self.token != "",
        }  # fmt: skip
        return HTMLResponse(render(template, **{**shown, **values}), status)


def status_of(error: UVRError) -> int:
    """Return what an error is to a browser; 500 where the console's own side is at fault."""
    return {2: 422, 3: 404, 4: 409, 5: 403, 8: 503, 9: 409}.get(error.exit_code, 500)


def go_to(address: str, done: str, **numbers: int) -> Response:
    """Answer a change that was made: the browser opens a page that says so, of which numbers."""
    return RedirectResponse(f"{address}?{urlencode({'done': done, **numbers})}", 303)
