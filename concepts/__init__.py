"""The shared vocabulary: definitions, anchors, scorers, bundles, digests and errors."""
