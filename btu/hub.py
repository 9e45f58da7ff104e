"""Reach the Hugging Face hub, or say at once that it cannot be reached."""

from __future__ import annotations

import logging
import os
import socket
from urllib.parse import urlparse

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def prepare_hub() -> None:
    """Switch the hub libraries to their local cache where the hub's host is unknown.

    Without this a run on a machine with no network spends half a minute on retries. Call it
    before `datasets` or `transformers` is imported: they read the variable once.
    """
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or ""
    if "HF_HUB_OFFLINE" not in os.environ and not any(os.environ.get(name) for name in PROXIES):
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("huggingface_hub", "datasets", "transformers", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
