"""Keys, envelopes and the signatures over them."""
