"""W3C trace context: every fact from outside begins a trace that its order's messages carry on."""

import secrets


def new_traceparent() -> str:
    """A new trace, sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_id(traceparent: str | None) -> str | None:
    """The part that log lines name."""
    return traceparent.split("-")[1] if traceparent and traceparent.count("-") == 3 else None
