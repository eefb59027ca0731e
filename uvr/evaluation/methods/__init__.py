"""Methods: the stock pipeline, this project's regulator, and what it is compared with."""
