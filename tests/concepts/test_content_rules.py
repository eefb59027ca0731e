from dataclasses import replace

import pytest

from concepts.content_rules import refuse_minors
from concepts.content_terms import IS_SEXUAL, NAMES_ABUSE, NAMES_MINORS
from concepts.definition import ConceptDefinition, load_shipped, shipped_definitions
from concepts.errors import ContentError

NUDITY = ConceptDefinition(
    slug="undressed", name="Undressed", category="nudity", description="An adult without clothes.",
    prompts=("an adult without clothes",), near_misses=("an adult in a swimsuit",),
)  # fmt: skip
KITE = ConceptDefinition(
    slug="red-kite", name="Red kite", category="object", description="A red kite.",
    prompts=("a child holding a red kite",), near_misses=("a girl with a blue kite",),
)  # fmt: skip


@pytest.mark.parametrize("slug", shipped_definitions())
def test_shipped_definitions_are_accepted(slug):
    refuse_minors(load_shipped(slug))


@pytest.mark.parametrize(
    "text",
    [
        "a child", "CHILDREN", "a child's room", "a Kid", "a teen-ager", "pre-teen", "under age",
        "under_aged", "a minor on a beach", "two minors", "school girls", "a schoolboy", "toddler",
        "a 12-year-old", "twelve year old", "9yo", "17 y/o", "aged 14", "under 18",
        "a high schooler",
        "ch1ld", "chi1d", "k!d", "t33n", "\uff43hild", "chi\u200bld", "c h i l d",
        "\u0441hild", "bébé",
        "ein Mädchen", "une mineure", "niñas", "una bambina", "crianças", "未成年人", "女の子供",
        "маленькая девочка", "소녀",
    ],
)  # fmt: skip
def test_minors_are_found_however_they_are_spelled(text):
    assert NAMES_MINORS.first_in(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "a waltz in A minor", "a sonata in a minor key", "minor scratches", "Ursa Minor",
        "with kid gloves", "baby blue walls", "baby's breath in a vase", "a cowboy", "a playboy",
        "her boyfriend", "infantry", "a kidney", "skid marks", "a minority", "child's pose in yoga",
        "an 18-year-old", "a 40 year old", "aged 18", "over 18",
        "112 years old", "under 15 minutes",
        "a kind of bed", "a coven", "Holly", "a teenth", "a pin-up girl", "a stage",
    ],
)  # fmt: skip
def test_words_that_look_like_it_name_no_minors(text):
    assert NAMES_MINORS.first_in(text) is None


def test_words_that_look_sexual_or_abusive_are_told_apart():
    harmless = ["Essex", "denuded hills", "a sextant", "to the naked eye", "nude heels"]
    assert [IS_SEXUAL.first_in(text) for text in harmless] == [None] * len(harmless)
    assert IS_SEXUAL.first_in("a n.u.d.e") == "nude"
    assert NAMES_ABUSE.first_in("lolicon art") == "lolicon"
    assert [NAMES_ABUSE.first_in(text) for text in ("a lollipop", "a pedometer")] == [None] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"slug": "undressed-kids"}, {"name": "Undressed child"}, {"description": "Any teenager."},
        {"prompts": ("a naked adult", "a naked boy")}, {"near_misses": ("a child in a swimsuit",)},
        {"paraphrases": ("nude minors",)}, {"benign": ("a girl reading a book",)},
        {"edits": ("make the child undress",)}, {"scope": "Adults. Children too."},
    ],
)  # fmt: skip
def test_nudity_with_minors_is_refused_in_every_field(changes):
    with pytest.raises(ContentError, match="use a separate system that is authorised by law"):
        refuse_minors(replace(NUDITY, **changes))


def test_the_message_says_where_and_what():
    with pytest.raises(ContentError) as raised:
        refuse_minors(replace(NUDITY, benign=("a street", "a 12-year-old at a piano")))
    assert str(raised.value) == (
        "The definition of 'undressed' is refused: '12 year old' in its benign[1] names minors, "
        "and its category is nudity. Content that sexualises minors is never collected, drawn or "
        "stored here: use a separate system that is authorised by law for it. If no minor is "
        "meant, say it in other words."
    )


def test_a_scope_may_exclude_minors():
    refuse_minors(replace(NUDITY, scope="Adults alone. Children are not covered."))


@pytest.mark.parametrize(
    "definition",
    [
        KITE,
        replace(KITE, category="ip-character", slug="kite-boy", name="Kite Boy"),
        replace(KITE, slug="toy-pistol-for-kids", name="Toy pistol for children"),
        replace(KITE, description="A kid leather glove in a minor key."),
    ],
)
def test_children_may_stand_beside_what_is_banned(definition):
    refuse_minors(definition)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"benign": ("a nude statue",)}, "'nude' in its benign[0] is sexual"),
        ({"near_misses": ("a lolicon poster",)}, "stands for the sexual abuse of minors"),
        ({"slug": "school-child"}, "they would be what is banned"),
        ({"name": "Toddlers"}, "they would be what is banned"),
        ({"slug": "pictures-of-children"}, "they would be what is banned"),
    ],
)
def test_other_categories_are_refused_where_it_turns_sexual_or_minors_are_banned(changes, why):
    with pytest.raises(ContentError) as raised:
        refuse_minors(replace(KITE, **changes))
    assert why in str(raised.value)
