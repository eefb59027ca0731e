"""Concepts and their versions: added, edited, reviewed, compared."""
