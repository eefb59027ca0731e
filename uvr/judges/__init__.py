"""Judges: models that see a finished picture and say what it shows."""
