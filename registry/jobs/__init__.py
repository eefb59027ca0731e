"""Jobs: what takes long, asked for by actors and done by workers."""

from registry.jobs.job import JobInfo
from registry.jobs.service import Jobs, SameJobError, close_open_jobs

__all__ = ["JobInfo", "Jobs", "SameJobError", "close_open_jobs"]
