import hashlib
import json

import numpy as np
from PIL import Image

from uvr.decisions.decision import (
    Decision,
    named_request,
    pixels_digest,
    prompt_digest,
    request_name,
)


def test_json_has_the_verdict_and_the_call_without_text_pixels_and_features(decide):
    decision = decide(("ball", "enforce"))
    told = decision.to_dict()
    assert told == {
        **decision.verdict.to_dict(),
        "time": "2026-11-24T10:00:00.000000Z", "request": "r-17", "model": "testbed",
        "task": "t2i", "state": "ok", "space": "e" * 64,
        "release": {"bundle": "policy", "sequence": 5}, "seconds": {"call": 2.5, "look": 0.25},
        "pixels": decision.pixels, "labels": {},
        "prompt_digest": f"sha256:{hashlib.sha256(b'a red ball').hexdigest()}",
    }  # fmt: skip
    assert "a red ball" not in json.dumps(told)


def test_json_with_everything_round_trips(decide):
    decision = decide(("ball", "enforce"), labels={"host": "gpu-3"})
    told = json.loads(json.dumps(decision.to_dict(text=True, features=True)))
    again = Decision.from_dict(told)
    assert again.prompt == "a red ball"
    assert again.features["ball"].tobytes() == decision.features["ball"].tobytes()
    assert again.to_dict(text=True, features=True) == told


def test_a_prompts_digest_takes_a_key():
    plain, keyed = prompt_digest("a ball"), prompt_digest("a ball", b"secret")
    assert plain == f"sha256:{hashlib.sha256(b'a ball').hexdigest()}"
    assert keyed.startswith("hmac-sha256:")
    assert keyed != prompt_digest("a ball", b"other")
    assert prompt_digest(None, b"secret") is None


def test_a_pictures_digest_is_of_its_size_and_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as opened:
        assert pixels_digest(opened) == pixels_digest(picture)
    assert pixels_digest(Image.fromarray(pixels.reshape(8, 4, 3))) != pixels_digest(picture)


def test_a_tall_pictures_digest_is_of_all_its_rows():
    pixels = np.random.default_rng(0).integers(0, 255, (131, 3, 3), dtype=np.uint8)
    size = (3).to_bytes(4, "big") + (131).to_bytes(4, "big")
    expected = hashlib.sha256(size + pixels.tobytes()).hexdigest()
    assert pixels_digest(Image.fromarray(pixels)) == expected


def test_a_request_has_its_name_or_one_of_its_own():
    with named_request("r-17"):
        assert request_name() == "r-17"
    assert request_name() != request_name()
