"""The bundle file: members, manifest, and the strict reader."""
