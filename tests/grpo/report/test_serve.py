"""The live page's server."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from grpo.errors import UserError
from grpo.report.serve import Server


@pytest.fixture
def server(make_run):
    with Server(make_run(2, ended=False), 0) as started:
        thread = threading.Thread(target=started.serve_forever, daemon=True)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def get(server, path="", **headers):
    request = urllib.request.Request(server.url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def test_it_is_at_the_loopback_address_only(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_the_page_may_ask_for_more_and_holds_no_samples(server):
    status, headers, html = get(server)
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert "connect-src 'self'" in html
    assert '"live":true' in html
    assert '"samples":[1,2]' in html


def test_data_grows_with_the_run(server, add_step):
    status, headers, text = get(server, "data.json")
    assert json.loads(text)["done"] == 2
    tag = headers["ETag"]
    assert get(server, "data.json", **{"If-None-Match": tag})[0] == 304
    add_step(server.folder, 3)
    status, headers, text = get(server, "data.json", **{"If-None-Match": tag})
    assert (status, json.loads(text)["done"], json.loads(text)["samples"]) == (200, 3, [1, 2, 3])
    assert headers["ETag"] != tag


def test_samples_of_a_step(server):
    status, headers, text = get(server, "samples/2.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(text)["step"] == 2
    assert len(json.loads(text)["groups"]) == 3


@pytest.mark.parametrize(
    "path",
    ["samples/9.json", "samples/../../run/recipe.yaml", "samples/x.json", "recipe.yaml", "samples/2.json/"],
)
def test_nothing_else_is_served(server, path):
    assert get(server, path)[0] == 404


def test_another_name_for_this_machine_is_refused(server):
    assert get(server, Host="evil.example")[0] == 403
    assert get(server, "data.json", Host="evil.example")[0] == 403
    assert get(server, Host=f"localhost:{server.server_port}")[0] == 200


def test_a_file_that_cannot_be_read_is_one_line(server):
    (server.folder / "samples" / "step-000002.parquet").write_bytes(b"torn")
    status, _, text = get(server, "samples/2.json")
    assert (status, text.count("\n")) == (500, 0)
    assert "cannot be read" in text


def test_what_cannot_be_served_is_told(server, tmp_path):
    with pytest.raises(UserError, match=f"port {server.server_port}: cannot be used"):
        Server(server.folder, server.server_port)
    with pytest.raises(UserError, match=r"has no metrics\.jsonl"):
        Server(tmp_path, 0)
