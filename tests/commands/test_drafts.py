"""Commands on drafts."""

from concepts.definition import load_definition
from tests.commands.conftest import on_both


@on_both
def test_a_threshold_of_an_approved_version_moves_in_a_copy(run, filled):
    run("submit", "pistol")
    refused = run("edit-version", "pistol", "--threshold", "t2i", 1.25, 0.5)
    assert (refused.code, "`uvr-registry copy-version`" in refused.err) == (5, True)
    copied = run("copy-version", "pistol@1", "--threshold", "t2i", 1.25, 0.5)
    assert copied.out.splitlines()[0] == "pistol@2 is draft, by tester"
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")
    seen = run("approve", "pistol", "--dry-run").err.splitlines()
    assert seen[2:4] == ["changes since version 1:", "  definition: the same"]
    changes = run("diff", "pistol", 1, 2).out.splitlines()
    assert changes[1] == "  anchors: 0 added, 5 kept, 0 removed"
    assert "  seed threshold: 2 -> 1.2500" in changes
    assert "  strictness: stricter" in changes


@on_both
def test_words_of_an_approved_version_change_in_a_copy(run, filled, tmp_path):
    run("submit", "pistol")
    text = run("show", "pistol@1", "--yaml").out.replace("name: Pistol", "name: Pistols")
    (tmp_path / "new.yaml").write_text(text)
    tried = run("copy-version", "pistol", "--definition", "new.yaml", "--dry-run", "--json").json()
    assert (tried["number"], len(filled.concepts.get("pistol").versions)) == (2, 1)
    assert run("copy-version", "pistol", "--definition", "new.yaml").code == 0
    shown = run("show", "pistol@2", "--json").json()
    assert shown["definition"] == load_definition("new.yaml").to_dict()
