"""Commands on channels."""

from pathlib import Path


def test_a_channels_bundle_is_the_release_that_is_live(run, filled, tmp_path):
    run("release", "policy", "--out", "one.uvr")
    run("release", "policy")
    run("channel", "move", "prod", "policy")
    back = run("channel", "move", "prod", "policy@1")
    assert (back.code, "`uvr-registry rollback policy@1`" in back.err) == (0, True)
    assert run("bundle", "export", "--channel", "prod", "--out", "prod.uvr").code == 0
    assert Path("one.uvr").read_bytes() == Path("prod.uvr").read_bytes()


def test_a_pause_is_told_in_place_of_what_it_suspends(run, filled):
    pause = ("--disable", "pistol=2999-01-01", "--enforce-nothing")
    run("release", "policy", *pause)
    run("channel", "move", "prod", "policy")
    head, *rows = run("live", "prod").out.splitlines()[1:3]
    assert "disabled" not in head
    assert "enforce (switched off until 2999-01-01T00:00:00Z)" in rows[0]
