"""The real servers, as in the integration tests, but a stack of its own: here it is killed."""

from tests.integration.conftest import amqp_url, database_url, management_url, servers

__all__ = ["amqp_url", "database_url", "management_url", "servers"]
