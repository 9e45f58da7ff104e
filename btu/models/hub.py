"""Whether a server can be reached, found out at once: libraries try for half a minute or more."""

from __future__ import annotations

import logging
import os
import socket
from urllib.parse import urlparse

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
SECONDS = 5.0  # a cluster's node may know a name that it has no way to


def reachable(url: str) -> bool:
    """Whether a connection can be opened; taken for granted where a proxy stands between."""
    if any(os.environ.get(name) for name in PROXIES):
        return True
    parts = urlparse(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=SECONDS).close()
    except OSError:
        return False
    return True


def prepare_hub() -> None:
    """Switch the hub libraries to their local cache where the hub cannot be reached.

    Without this a run on a machine with no network spends half a minute on retries. Call it
    before `datasets` or `transformers` is imported: they read the variable once.
    """
    url = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if "HF_HUB_OFFLINE" not in os.environ and not reachable(url):
        os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("huggingface_hub", "datasets", "transformers", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
