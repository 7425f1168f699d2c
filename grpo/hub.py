"""Whether the model hub answers, found out once and quickly.

Its clients try again for half a minute at every file when there is no network. One short question decides
instead: without an answer this process, and those it starts, read only what the hub's cache holds.
"""

from __future__ import annotations

import os
from threading import Thread

SECONDS = 8.0  # to wait for an answer of any kind


def silence() -> str | None:
    """Why the hub (`HF_ENDPOINT`) does not answer, in words; None where it does.

    Where it does not, `HF_HUB_OFFLINE` is set for this process and its children, and found set from then on.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, and it is not in the cache"
    heard: list[str] = []
    # In a thread, because no timeout of a client bounds the look-up of a name.
    asking = Thread(target=_ask, args=(constants.ENDPOINT, heard), daemon=True)
    asking.start()
    asking.join(SECONDS)
    why = heard[0] if heard else f"nothing in {SECONDS:.0f} s"
    if not why:
        return None
    _stay_offline()
    return f"{constants.ENDPOINT} does not answer ({why}), and it is not in the cache"


def _ask(address: str, heard: list[str]) -> None:
    from huggingface_hub import get_session

    try:
        get_session().head(address, timeout=SECONDS)
    except Exception as error:  # of the transport alone: an HTTP error is an answer, and does not raise here
        heard.append(type(error).__name__)
    else:
        heard.append("")


def _stay_offline() -> None:
    import datasets
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"  # for the engine's process
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
