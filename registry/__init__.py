"""The registry: concepts, versions and releases in SQL, anchors as blobs, search by FAISS."""
