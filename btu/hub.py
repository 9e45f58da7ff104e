"""Reach the Hugging Face hub, or say at once that it cannot be reached."""

from __future__ import annotations

import logging
import os

from btu.network import reachable


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
