from dataclasses import replace

import pytest
from PIL import Image

from concepts.definition import load_shipped
from concepts.errors import ContentError
from uvr.anchors.collection import Exemplars, collect
from uvr.anchors.exemplars import samples_of
from uvr.anchors.pictures import PictureError
from uvr.profiles import PROFILES, UNSAID
from uvr.sample import Sample


def test_nothing_is_drawn_for_a_definition_of_nudity_that_names_minors():
    definition = replace(load_shipped("nudity"), benign=("a child with a kite",))
    with pytest.raises(ContentError):
        collect(None, None, definition, Exemplars())  # no model is touched


def test_kept_pictures_are_looked_at_under_the_definitions_texts_in_turn():
    words = replace(
        load_shipped("pistol"), prompts=("a", "b"), near_misses=("c",), benign=("d",), edits=("e",)
    )
    sample = Sample(Image.new("RGB", (8, 8)), name="picture 1")
    exemplars = Exemplars(kept=([sample] * 3, [sample] * 3), variants=("flipped",))
    profile = next(found for found in PROFILES.values() if found.task == "t2i")
    texts = {}
    for task in ("t2i", "edit", "check"):
        found = samples_of(replace(profile, task=task), words, exemplars)
        assert found is not None
        texts[task] = ["".join(one.prompt for one in samples) for samples in found]
    assert texts == {"t2i": ["aba", "cdc"], "edit": ["eee", "eee"], "check": [UNSAID * 3] * 2}
    assert exemplars.made == ("flipped",)
    with pytest.raises(PictureError, match="3 kept pictures with a mask show the concept, and 0"):
        samples_of(profile, words, Exemplars(kept=([sample] * 3, [])))


def test_too_few_pictures_are_refused_before_a_model_is_touched():
    sample = Sample(Image.new("RGB", (8, 8)), name="picture 1")
    profile = next(found for found in PROFILES.values() if found.task == "t2i")
    with pytest.raises(PictureError, match="there are 1 and 1"):
        collect(None, profile, load_shipped("pistol"), Exemplars(kept=([sample], [sample])))
