"""Tables: in full for scripts, within the terminal for people."""

import re
import subprocess
import sys

import pytest

from commands.table import Table

ROWS = [
    {
        "slug": "testbed-mouse-mascot",
        "at": "2026-11-24T10:00:00.000000Z",
        "reason": "fires on hands, cups and everything that is round and has a handle",
        "content_digest": "3e9a" * 16,
        "approved_by": ["bob", "carol"],
    }
]
TABLE = Table(tuple(ROWS[0]), ROWS)


def test_a_script_gets_each_row_on_one_line_with_short_digests():
    head, row = TABLE.lines()
    assert head.split("  ")[0] == "slug"
    assert row == (
        "testbed-mouse-mascot  2026-11-24T10:00:00Z  fires on hands, cups and everything that is "
        "round and has a handle  3e9a3e9a3e9a    bob, carol"
    )


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_fits_the_terminal_and_keeps_digests_and_instants_whole(width):
    lines = TABLE.lines(width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "2026-11-24T10:00:00Z" in text
    assert "3e9a3e9a3e9a" in text
    assert "3e9a" * 4 not in text
    words = re.findall(r"fires|hands,|cups|everything|handle|bob|carol", text)
    assert sorted(words) == ["bob", "carol", "cups", "everything", "fires", "handle", "hands,"]


def test_a_terminal_too_narrow_for_columns_gets_a_line_for_each_value():
    assert TABLE.lines(40)[:2] == ["slug: testbed-mouse-mascot", "at: 2026-11-24T10:00:00Z"]


def test_a_table_that_fits_is_the_same_everywhere():
    table = Table(("name",), [{"name": "prod"}])
    assert table.lines(80) == table.lines() == ["name", "prod"]
    assert Table(("name",), [], "No channels yet.").lines(80) == ["No channels yet."]


def test_what_would_move_the_cursor_is_escaped():
    assert Table(("note",), [{"note": "a\x1b[2J\nb"}]).lines()[1] == "a\\x1b[2J\\nb"


def test_rich_is_loaded_only_for_a_table_that_does_not_fit():
    script = (
        "import sys, commands.table as t; t.Table(('a',), [{'a': 1}]).lines(80); "
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
