"""Example pictures of a version: what must be caught, look-alikes and benign ones, with scores."""
