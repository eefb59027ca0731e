from dataclasses import replace

from uvr.decisions.hits import Hits, count_hits

MONDAY, TUESDAY = "2026-11-23", "2026-11-24"


def test_hits_are_summed_by_day_and_concept(decide):
    decisions = [
        decide(("ball", "enforce"), ("cup", "shadow"), day=MONDAY),
        decide(("ball", "log"), day=MONDAY),
        decide(day=MONDAY),
        decide(("ball", "enforce"), day=TUESDAY),
    ]
    assert count_hits(decisions) == [
        Hits(MONDAY, "ball", pictures=2, enforce=1, log=1, shadow=0, of=3),
        Hits(MONDAY, "cup", pictures=1, enforce=0, log=0, shadow=1, of=3),
        Hits(TUESDAY, "ball", pictures=1, enforce=1, log=0, shadow=0, of=1),
    ]
    assert count_hits(decisions, by_concept=False) == [
        Hits(MONDAY, None, pictures=2, enforce=1, log=1, shadow=0, of=3),
        Hits(TUESDAY, None, pictures=1, enforce=1, log=0, shadow=0, of=1),
    ]
    assert count_hits(decisions, by_day=False) == [
        Hits(None, "ball", pictures=3, enforce=2, log=1, shadow=0, of=4),
        Hits(None, "cup", pictures=1, enforce=0, log=0, shadow=1, of=4),
    ]


def test_a_picture_counts_once_in_the_strictest_mode(decide):
    decision = decide(("ball", "log"), ("ball", "enforce"))
    twice = replace(decision.verdict, evidence=decision.verdict.evidence * 2)
    (hits,) = count_hits([replace(decision, verdict=twice)])
    assert (hits.pictures, hits.enforce, hits.log) == (1, 1, 0)
