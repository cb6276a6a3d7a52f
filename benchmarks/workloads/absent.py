"""What a peer says of a workload that it has no ordinary form for."""


class AbsentError(Exception):
    """Why this system has no such thing; its cell of the table stays empty."""
