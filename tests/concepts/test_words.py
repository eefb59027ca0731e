"""Words for people."""

from concepts import words


def test_every_mode_and_every_way_of_approving_has_its_words():
    assert tuple(words.MODE_WORDS) == words.MODES
    assert words.approved_words("review", ("ann", "bob")) == "approved by ann, bob"
    alone = words.approved_words("break_glass", ("ann",))
    assert alone == "approved alone, in an emergency, by ann"
    assert words.approved_words("policy", ("ann",)) == "released without review by ann"
    assert words.approved_words("", ()) == "nothing tells who approved it"


def test_what_waits_says_who_approved_so_far_and_how_many_must():
    assert words.so_far_words(("ann",), 2) == "approved by ann (1 of 2)"
    assert words.so_far_words((), 2) == "approved by nobody so far (0 of 2)"
