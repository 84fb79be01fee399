"""The signature of an Open Delivery webhook: lower hex HMAC-SHA256 over the raw body."""

import hmac


def signature(body: bytes, client_secret: str) -> str:
    return hmac.digest(client_secret.encode(), body, "sha256").hex()
