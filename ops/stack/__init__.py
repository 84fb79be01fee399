"""A private PostgreSQL and RabbitMQ for one checkout, loopback only, under its `.stack/`.

Only the standard library is used here: set-up asks this package what is missing before there
is a virtual environment.
"""
