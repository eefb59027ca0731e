"""Forms that are refused: shown again as they were filled in."""

from __future__ import annotations

from markupsafe import Markup

from console.form import Form
from console.refilled import refilled
from tests.console.conftest import read, text_of

PAGE = """<!doctype html>
<h1>A</h1>
<form action="/other"><input name="text" value="mine"></form>
<details><summary>B</summary><form method="post" action="/there">
<input type="hidden" name="token" value="t2">
<input name="text" value="">
<select name="task"><option value="">none</option><option value="t2i">T</option><option>edit</option></select>
<input type="checkbox" name="sure" value="yes"><input type="checkbox" name="more" checked>
<textarea name="reason" rows="2">old</textarea>
<p><button>Go &amp; do</button></p></form></details>
"""  # noqa: E501
FORM = Form({
    "token": ("t1",), "text": ('"><script>',), "task": ("edit",), "sure": ("yes",),
    "reason": ("a\n<b>",),
})  # fmt: skip


def test_a_form_is_filled_in_again_and_no_other():
    found = refilled(PAGE, "/there", FORM, Markup("<b>no</b>"), "text")
    told = '<p class="refusal" role="alert"><b>no</b></p>'
    assert found == (
        PAGE.replace("<details>", "<details open>")
        .replace(
            '<input name="text" value="">',
            f'<input name="text" value="&#34;&gt;&lt;script&gt;">{told}',
        )
        .replace("<option>edit", "<option selected>edit")
        .replace('value="yes">', 'value="yes" checked>')
        .replace('name="more" checked', 'name="more"')
        .replace(">old<", ">\na\n&lt;b&gt;<")
    )


def test_what_a_page_by_itself_does_not_offer_is_kept():
    found = refilled(PAGE, "/there", Form({"task": ("<x>",)}), Markup("no"))
    assert '<option value="&lt;x&gt;" selected>&lt;x&gt;</option></select>' in found


def test_what_is_of_no_field_stands_at_the_end_of_the_form():
    found = refilled(PAGE, "/there", FORM, Markup("no"))
    assert found.endswith('</p><p class="refusal" role="alert">no</p></form></details>\n')
    assert refilled(PAGE, "/gone", FORM, Markup("no")).startswith(
        '<!doctype html>\n<h1>A</h1>\n<p class="refusal" role="alert">no</p>'
    )


def test_every_form_that_is_refused_keeps_what_was_filled_in(team, visit):
    """Whoever may not, or meant something else, does not write it all again."""
    sent = [
        ("ann", "/concepts/pistol/look-alikes", {"text": "<" * 5000}, "<" * 5000),
        ("ann", "/concepts/pistol/collect", {"model": "testbed", "task": "t2i", "seed": "x"}, "x"),
        ("ann", "/concepts/pistol/1/revoke", {"reason": "<" * 5000}, "<" * 5000),
        ("bob", "/reviews/pistol/2/approve", {"reason": "fine <b>", "content": "1"}, "fine <b>"),
        ("cem", "/releases/policy/1/move", {"new_channel": "X y", "reason": "a <w>"}, "a <w>"),
        ("ann", "/audit/compare", {"checkpoint": "{<}"}, "{<}"),
        ("ann", "/incident", {"report": "{<}", "request": "r-1"}, "{<}"),
    ]  # fmt: skip
    for name, path, fields, kept in sent:
        answer = visit(team, name).post(path, fields)
        assert answer.status_code in (403, 409, 422), path
        page = read(answer.text)
        values = [given.get("value") for _, given in page.elements]
        assert kept in [*values, *(text.strip() for text in page.texts)], path
        assert 'class="refusal"' in answer.text, path


def test_the_sentence_stands_beside_its_field(solo, visit):
    found = visit(solo).post(
        "/concepts/pistol/collect", {"task": "edit", "model": "testbed", "seed": "x1"}
    )
    assert found.status_code == 422
    assert 'value="x1"' in found.text
    assert "not 'x1'." in text_of(found.text.partition('name="seed"')[2].partition("</p>")[0])
    assert '<option value="edit" selected>' in found.text
