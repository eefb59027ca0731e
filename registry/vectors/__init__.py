"""Anchors as numbers: rows read from blobs, exact scores."""
