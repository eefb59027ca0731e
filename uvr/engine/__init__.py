"""The engine: one regulator on one pipeline."""
