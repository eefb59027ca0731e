"""Published data sets, read from a path that the user gives; nothing is fetched."""
