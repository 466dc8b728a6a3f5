"""What the embedded services raise."""


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot run here; the message says what to do."""
