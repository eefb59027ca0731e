"""The methods that are known here, by name."""

from __future__ import annotations

from uvr.evaluation.catalogue import Catalogue
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.ours import Ours, OursChecked, Paper
from uvr.evaluation.methods.stock import Stock

METHODS: Catalogue[Method] = Catalogue("method", [Stock, Ours, OursChecked, Paper])
"""``METHODS.register`` makes one of your own known."""
