"""Families of models: all that each does its own way, one file a family."""
