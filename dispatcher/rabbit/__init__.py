"""The transport: opaque events in, the same events out. The only home of aio_pika."""
