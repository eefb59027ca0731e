"""A page with one of its forms as somebody had filled it in, and why it was refused beside it.

No page does this for its own forms: the form that was sent is found in the page that it is on, by
its address and its fields, and what is written into it is escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

from markupsafe import Markup, escape

from concepts.printable import printable
from console.form import Form

Attributes = dict[str, str | None]
_TYPED = ("text", "number", "search", "email", "url")


@dataclass
class _Found:
    """A form of a page: where it begins, and the names of its fields."""

    place: int
    action: str
    names: set[str] = field(default_factory=set)


def refilled(page: str, address: str, form: Form, why: Markup, name: str = "") -> str:
    """Return a page with a form filled in again.

    Args:
        page: HTML of the page that the form is on.
        address: Where the form was sent.
        form: What was sent. Hidden fields stay as the page has them: they are of now.
        why: The refusal.
        name: The field that it is about; "" for the whole form.
    """
    reader = _Forms()
    reader.feed(page)
    reader.close()
    forms = [item for item in reader.found if item.action == address]
    sent = set(form.fields)
    best = max(forms, key=lambda item: -len(item.names ^ sent), default=None)
    place = -1 if best is None else best.place
    about = name if best is not None and name in best.names else ""
    writer = _Writer(place, form.fields, Markup('<p class="refusal" role="alert">{}</p>')
                     .format(why), about)  # fmt: skip
    writer.feed(page)
    writer.close()
    return writer.text() if best is not None else _at_top(page, writer.why)


def _at_top(page: str, why: Markup) -> str:
    head, heading, rest = page.partition("</h1>")
    return f"{head}{heading}\n{why}{rest}"


class _Forms(HTMLParser):
    """Reads which forms a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Found] = []
        self._within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append(_Found(len(self.found), given.get("action") or ""))
            self._within = True
        elif self._within and given.get("name"):
            self.found[-1].names.add(str(given["name"]))

    def handle_endtag(self, tag: str) -> None:
        self._within = self._within and tag != "form"


class _Writer(HTMLParser):
    """Writes a page again, its form of a number filled in."""

    def __init__(
        self, place: int, fields: Mapping[str, tuple[str, ...]], why: Markup, about: str
    ) -> None:
        super().__init__(convert_charrefs=False)
        self.why = why
        self._place, self._fields, self._about = place, fields, about
        self._parts: list[str] = []
        self._forms, self._within = -1, False
        self._details: list[int] = []
        self._select = ""
        self._option: Attributes | None = None
        self._lost: set[str] = set()
        self._skipping = False

    def text(self) -> str:
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw, given = self.get_starttag_text() or "", dict(attrs)
        if tag == "details":
            self._details.append(len(self._parts))
        elif tag == "form":
            self._forms += 1
            self._within = self._forms == self._place
            for part in self._details if self._within else ():
                self._parts[part] = self._parts[part].replace("<details", "<details open", 1)
        elif self._within:
            raw = self._filled(tag, given, raw)
        self._parts.append(raw)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._skipping = False
        if self._option is not None:  # One without a text.
            self.handle_data("")
        if tag == "details" and self._details:
            self._details.pop()
        elif tag == "form" and self._within:
            self._within = False
            self._parts.append("" if self._about else self.why)
        elif tag == "select":
            self._parts.extend(_option(value) for value in sorted(self._lost))
            self._lost = set()
        self._parts.append(f"</{tag}>")
        if tag in ("select", "textarea"):
            self._say(self._select)
            self._select = ""

    def handle_data(self, data: str) -> None:
        if self._option is not None:
            self._parts.append(_tag("option", self._chosen(self._option, data.strip())))
            self._option = None
        if not self._skipping:
            self._parts.append(data)

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")

    def handle_decl(self, decl: str) -> None:
        self._parts.append(f"<!{decl}>")

    def handle_comment(self, data: str) -> None:
        self._parts.append(f"<!--{data}-->")

    def _filled(self, tag: str, given: Attributes, raw: str) -> str:
        """A field's tag with what was sent, its own where nothing of that name was."""
        name = given.get("name") or ""
        values = self._fields.get(name)
        if tag == "option" and self._select in self._fields:
            self._option = given
            return ""
        if tag == "select":
            self._select, self._lost = name, {value for value in values or () if value}
        if tag == "textarea":
            self._select, self._skipping = name, values is not None
            return raw + (str(escape(f"\n{_visible(values[0])}")) if values else "")
        if tag != "input" or given.get("type") == "hidden":
            return raw
        kind = given.get("type") or "text"
        if kind in ("checkbox", "radio"):
            given.pop("checked", None)
            given |= {"checked": None} if given.get("value", "on") in (values or ()) else {}
        elif kind in _TYPED and values:
            given["value"] = _visible(values[0])
        said = self.why if name == self._about and name else ""
        return f"{_tag(tag, given)}{said}"

    def _chosen(self, given: Attributes, text: str) -> Attributes:
        given.pop("selected", None)
        value = given.get("value") or text
        self._lost.discard(value)
        chosen = value in self._fields[self._select]
        return {**given, "selected": None} if chosen else given

    def _say(self, name: str) -> None:
        if self._within and name and name == self._about:
            self._parts.append(self.why)


def _option(value: str) -> str:
    """An option that the page by itself does not offer, such as the release that it came from."""
    return f"{_tag('option', {'value': value, 'selected': None})}{escape(_visible(value))}</option>"


def _visible(text: str) -> str:
    """Make visible what reorders or hides text, as pages do with all that they show."""
    return "\n".join(map(printable, text.split("\n")))


def _tag(tag: str, given: Attributes) -> str:
    parts = [
        name if value is None else f'{name}="{escape(value)}"' for name, value in given.items()
    ]
    return f"<{' '.join([tag, *parts])}>"
