"""The audit trail: its chain, its checkpoints, the history of a concept."""
