"""Keeps the libraries' bars and notices out of a run's screen, and their telemetry off."""

from __future__ import annotations

import os


def quieten() -> None:
    """No progress bars and warnings of transformers, no telemetry of the hub or TRL."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import logging as standard

    from transformers.utils import logging

    standard.getLogger("huggingface_hub").setLevel(standard.ERROR)  # a line for every retry without network
    standard.getLogger("bitsandbytes").setLevel(standard.ERROR)  # PEFT loads it; it tells of kernels not here

    logging.disable_progress_bar()
    logging.set_verbosity_error()
