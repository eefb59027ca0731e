from dataclasses import replace

import pytest

from concepts.definition import load_shipped
from concepts.errors import ContentError
from uvr.anchors.collection import Exemplars, collect


def test_nothing_is_drawn_for_a_definition_of_nudity_that_names_minors():
    definition = replace(load_shipped("nudity"), benign=("a child with a kite",))
    with pytest.raises(ContentError):
        collect(None, None, definition, Exemplars())  # no model is touched
