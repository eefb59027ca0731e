import json

import pytest

from concepts.errors import NotFoundError
from uvr.decisions.reading import LoggedDecisions
from uvr.decisions.rolling_file import RollingFile, full_files


def test_full_files_come_first_and_what_is_no_decision_is_counted(decide, tmp_path):
    path = tmp_path / "log.jsonl"
    for name, request in (("log.000002.jsonl", "b"), ("log.000001.jsonl", "a")):
        (tmp_path / name).write_text(json.dumps(decide(request=request).to_dict()) + "\n")
    whole = json.dumps(decide(request="c").to_dict())
    path.write_text(f'{{"torn\n\n[1]\n{{"schema": "other/1"}}\n{whole}\n')
    (tmp_path / "log.1.jsonl").write_text("of another program\n")
    reading = LoggedDecisions([path])
    assert [item.request for item in reading] == ["a", "b", "c"]
    assert reading.missing() == ["lines that could not be read as decisions: 3"]


def test_decisions_are_found_by_request_and_by_picture(decide, tmp_path):
    path = tmp_path / "log.jsonl"
    made = [decide(request="a"), decide(request="b", pixels="0" * 64), decide(request="a")]
    path.write_text("".join(json.dumps(item.to_dict()) + "\n" for item in made))
    reading = LoggedDecisions([path])
    assert [item.request for item in reading.of_request("a")] == ["a", "a"]
    assert [item.request for item in reading.of_picture("0" * 64, 9)] == ["b"]
    assert [item.request for item in reading.of_picture(made[0].pixels, 1)] == ["a"]
    assert reading.read == 1


def test_files_that_are_put_aside_while_a_log_is_read_are_not_lost(decide, tmp_path):
    def append(request):
        file.append(json.dumps(decide(request=request).to_dict()).encode() + b"\n")

    file = RollingFile(tmp_path / "log.jsonl", max_bytes=1, keep=2)
    for request in "abc":
        append(request)
    reading = LoggedDecisions([file.path])
    decisions = iter(reading)
    seen = [next(decisions).request]
    for request in "defg":
        append(request)
    seen += [item.request for item in decisions]
    assert (seen, reading.missing()) == (["a", "b", "c"], [])
    assert [item.request for item in reading] == ["e", "f", "g"]


def test_a_file_that_is_put_aside_while_files_are_opened_is_read_once(
    decide, tmp_path, monkeypatch
):
    def listed(path):
        """As a writer leaves it after the newest was opened, and removes the oldest then."""
        path.rename(tmp_path / "log.000002.jsonl")
        found = full_files(path)
        found[0].unlink()
        return found

    path = tmp_path / "log.jsonl"
    for name, request in (("log.000001.jsonl", "a"), ("log.jsonl", "b")):
        (tmp_path / name).write_text(json.dumps(decide(request=request).to_dict()) + "\n")
    reading = LoggedDecisions([path])
    monkeypatch.setattr("uvr.decisions.reading.full_files", listed)
    assert [item.request for item in reading] == ["b"]
    assert reading.missing() == ["full files that were removed before they could be read: 1"]


def test_no_log_is_not_an_empty_one(tmp_path):
    with pytest.raises(NotFoundError, match="No decision log at"):
        LoggedDecisions([tmp_path / "log.jsonl"])
