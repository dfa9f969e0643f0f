"""The servers that integration tests share."""

from tests.support.postgres import own_postgres, postgres

__all__ = ["own_postgres", "postgres"]
