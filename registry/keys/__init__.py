"""Signing keys: public halves by name, and the signed lists of those that may sign now."""
