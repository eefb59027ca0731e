"""The method of UVR (arXiv 2606.06875) as pure functions of tensors: torch, no I/O, no library."""
