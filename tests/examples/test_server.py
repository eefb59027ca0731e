import json

import pytest
from fastapi.testclient import TestClient

from tests.examples.conftest import example


@pytest.fixture
def client(publish, tmp_path, monkeypatch):
    monkeypatch.setenv("UVR_BUNDLE", str(publish()))
    monkeypatch.setenv("UVR_STATE", str(tmp_path / "state"))
    with TestClient(example("server").app) as client:
        yield client


def test_it_draws_tells_how_it_stands_and_counts(client, tmp_path):
    drawn = client.post("/generate", json={"prompt": "a cat"}, headers={"x-request-id": "r-17"})
    assert (drawn.status_code, drawn.content[:4]) == (200, b"\x89PNG")
    assert (drawn.headers["x-request-id"], drawn.headers["x-outcome"]) == ("r-17", "regulated")
    health = client.get("/health")
    assert (health.status_code, health.json()["sequence"]) == (200, 1)
    assert 'uvr_hits_total{concept="ball",mode="enforce"} 1.0' in client.get("/metrics").text
    assert client.post("/generate", json={"prompt": ""}).status_code == 422
    unnamed = client.post("/generate", json={"prompt": "a cat", "seed": 1})
    assert unnamed.headers["x-request-id"] not in ("", "r-17")
    client.__exit__(None, None, None)  # the server stops, and its log is whole
    lines = (tmp_path / "state" / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["request"] for line in lines] == [
        "r-17", unnamed.headers["x-request-id"],
    ]  # fmt: skip


def test_without_a_bundle_it_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setenv("UVR_BUNDLE", str(tmp_path / "none.uvr"))
    monkeypatch.setenv("UVR_STATE", str(tmp_path / "state"))
    with pytest.raises(Exception, match=r"none\.uvr"), TestClient(example("server").app):
        pass


def test_without_the_name_of_a_bundle_it_says_what_to_set(monkeypatch):
    monkeypatch.delenv("UVR_BUNDLE", raising=False)
    with pytest.raises(SystemExit, match="UVR_BUNDLE is not set: name a bundle's file"):
        example("server")
