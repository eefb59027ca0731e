"""The audit trail: its chain, its checkpoints, what it tells of a concept."""
