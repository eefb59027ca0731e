"""The methods that are known here, by name."""

from __future__ import annotations

from uvr.evaluation.catalogue import Catalogue
from uvr.evaluation.methods.adavd import AdaVd
from uvr.evaluation.methods.blocklist import Blocklist
from uvr.evaluation.methods.concept_attention import ConceptAttention
from uvr.evaluation.methods.double_projection import DoubleProjection
from uvr.evaluation.methods.judged import OursJudged
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.nag import Nag
from uvr.evaluation.methods.negative_prompt import NegativePrompt
from uvr.evaluation.methods.ours import Ours, OursChecked, Paper
from uvr.evaluation.methods.output_filter import OutputFilter
from uvr.evaluation.methods.reference import Reference
from uvr.evaluation.methods.retry import Retry
from uvr.evaluation.methods.safree import Safree
from uvr.evaluation.methods.steering import Steering
from uvr.evaluation.methods.stock import Stock
from uvr.evaluation.methods.uce import Uce

METHODS: Catalogue[Method] = Catalogue(
    "method",
    [
        Stock, Ours, OursChecked, OursJudged, Paper, Reference, Blocklist, OutputFilter, Retry,
        NegativePrompt, Nag, Safree, Uce, DoubleProjection, AdaVd, Steering, ConceptAttention,
    ],
)  # fmt: skip
"""``METHODS.register`` makes one of your own known."""
