"""Attacks: ways around a method that are tried and counted."""
