"""Suites: what an evaluation asks, and the sources of its cases."""
