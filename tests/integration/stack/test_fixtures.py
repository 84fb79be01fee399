"""What every other integration test stands on: an empty database and an empty vhost."""

import aio_pika
import asyncpg

from tests.integration.servers import manage


async def test_a_module_gets_an_empty_database_of_its_own(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetchval(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        )
        assert tables == 0
    finally:
        await connection.close()


async def test_a_module_gets_an_empty_vhost_of_its_own(amqp_url: str, management_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("something", durable=True)
    vhost = amqp_url.rpartition("/")[2]
    queues = manage(management_url, "GET", f"queues/{vhost}?columns=name")
    assert queues == [{"name": "something"}]
