"""A run of a suite: planned, drawn, kept, judged and counted; it goes on where it stopped."""
