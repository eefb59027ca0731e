"""The FAISS index: a cache of the anchors, and the searches in it."""
