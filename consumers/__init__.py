"""Stateless consumers, one file per line of business; `queues.py` says who does what."""
