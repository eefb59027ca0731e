"""Decisions: what was decided on each picture, in which call, kept in a log and counted."""
