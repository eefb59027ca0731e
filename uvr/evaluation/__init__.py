"""Measures: judges that say what a picture shows, and the figures made with them."""
