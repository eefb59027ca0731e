"""The attacks that are known here, by name."""

from __future__ import annotations

from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.attacks.plain import Plain
from uvr.evaluation.attacks.synonyms import Synonyms
from uvr.evaluation.catalogue import Catalogue

ATTACKS: Catalogue[Attack] = Catalogue("attack", [Plain, Synonyms])
"""``ATTACKS.register`` makes one of your own known."""
