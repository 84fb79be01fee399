"""Meituan's signature: MD5 over URL, sorted raw parameters and secret.

Values are raw UTF-8, never URL-encoded; an empty one stays as `k=`; `sig` itself is left out.
"""

import hashlib
from collections.abc import Mapping


def signature(url: str, params: Mapping[str, str], secret: str) -> str:
    """`url` is the full address without its query; the base URL is part of what is signed."""
    pairs = (f"{key}={params[key]}" for key in sorted(params) if key != "sig")
    signed = f"{url}?{'&'.join(pairs)}{secret}"
    return hashlib.md5(signed.encode()).hexdigest()  # the platform's own choice
