"""A hub that does not answer is asked once."""

import http.server
import os
import threading

import datasets
import pytest
from huggingface_hub import constants

from grpo import hub
from grpo.errors import RunError
from grpo.sources import parse_source, read_rows


@pytest.fixture
def online(monkeypatch):
    """online(address): as if nobody had asked to stay offline; put back afterwards."""

    def make(address: str) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", address)

    return make


@pytest.fixture
def closed_port():
    """An address at which nothing listens."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        port = server.server_port
    return f"http://127.0.0.1:{port}"


def test_silence_is_found_out_once_and_kept(online, closed_port):
    online(closed_port)
    assert f"{closed_port} does not answer (ConnectError)" in str(hub.silence())
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # what the engine's process will see
    assert "HF_HUB_OFFLINE is set" in str(hub.silence())


def test_any_answer_is_an_answer(online):
    """An error page too: what is wrong then is for the hub's client to say."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        online(f"http://127.0.0.1:{server.server_port}")
        assert hub.silence() is None
        assert not constants.HF_HUB_OFFLINE
        server.shutdown()


def test_the_line_says_why(online, closed_port):
    online(closed_port)
    with pytest.raises(RunError) as refused:
        read_rows(parse_source("org/nowhere"), {}, seed=0)
    line = str(refused.value)
    assert line.startswith("org/nowhere:train: could not be loaded: ")
    assert f"{closed_port} does not answer" in line
    assert "GRPO_DATA" in line
    assert "\n" not in line
