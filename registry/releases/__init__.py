"""Releases of bundles, their signatures, and the channels that point to them."""
