from types import SimpleNamespace

from tests.uvr.engine.conftest import picture
from uvr.engine.request import Request
from uvr.engine.telling import decisions_of, tell
from uvr.report import RegulationReport
from uvr.verdict import Verdict


def test_a_decision_that_cannot_be_made_ends_neither_the_call_nor_the_others(caplog):
    verdicts = [Verdict(place, "untouched", "d" * 64, (), "nothing fired") for place in range(3)]
    report = RegulationReport(
        "policy", 1, "d" * 64, "testbed-t2i",
        images=[[], [], []], shadow=[[], [], []], verdicts=verdicts,
    )  # fmt: skip
    images = [picture(0), "no picture", picture(2)]
    request = Request({"prompt": ["a cup", "a star", "a ball"]}, frozenset(), print, "r-1")
    told = []
    tell([told.append], decisions_of(report, request, SimpleNamespace(images=images)))
    assert [(item.verdict.picture, item.prompt) for item in told] == [(0, "a cup"), (2, "a ball")]
    assert [item.picture for item in told] == [images[0], images[2]]
    assert caplog.messages == ["no decision could be made on picture 1; the call goes on"]
