"""Anchors: captured, extracted, and fitted into scorers."""
