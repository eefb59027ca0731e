"""Logging in in a real browser, at a provider that is another site to it."""

from __future__ import annotations

from typing import Any

from console.app import make_app
from console.settings import OpenID, Settings
from tests.console.provider import CLIENT, SECRET, Provider, served


def test_somebody_logs_in_approves_follows_a_link_and_logs_out(team, browser):
    def provider(url: str) -> Any:
        # To a browser this is another site than 127.0.0.1, so that it keeps cookies back.
        made = Provider(url.replace("127.0.0.1", "localhost"))
        return made, made.app()

    def console(url: str) -> Any:
        openid = OpenID(known.url, CLIENT, SECRET)
        settings = Settings("ann", port=int(url.rpartition(":")[2]), openid=openid)
        return url, make_app(team, settings)

    said: list[str] = []
    with served(provider) as known, served(console) as url:
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{url}/reviews/pistol/2")
        page.wait_for_url(f"{url}/reviews/pistol/2")
        assert page.locator(".who").text_content() == "bob · reviewer"
        page.get_by_label("Why you approve it").fill("looks right")
        page.get_by_role("button", name="Approve").click()
        page.wait_for_url("**/concepts/pistol/2?done=approved")
        assert team.audit.events()[-1].actor == "bob"
        # A link on another site: the session is still there.
        asked = len(known.seen)
        page.goto(f"{known.url}/nix")
        page.evaluate(f"location.href = '{url}/audit'")
        page.wait_for_url(f"{url}/audit")
        page.get_by_role("heading", name="What was done, and by whom").wait_for()
        assert len(known.seen) == asked
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="You are logged out").wait_for()
        page.goto(f"{known.url}/nix")  # So that nothing is open while the servers end.
    assert [text for text in said if "Failed to load resource" not in text] == []
