"""Sets a fresh Debian or Ubuntu up: virtual environment, packages, PostgreSQL and RabbitMQ.

Runs before there is a virtual environment, so it uses only the standard library. It never starts
or touches a system service.
"""
