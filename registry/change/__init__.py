"""A change: one unit of work, who acts, and the event that records it."""
