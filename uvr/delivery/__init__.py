"""How an engine gets its bundles: locations, polling, and what was accepted so far."""
