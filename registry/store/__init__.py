"""What holds a registry: the database and its schema, the blobs, the folder."""
