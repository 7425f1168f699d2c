"""Each way of taking the network away, as root and as an ordinary user, in processes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap

import pytest

from rewards import network

NOBODY = 65534
PROBE = """
    import asyncio, ctypes, encodings.idna, json, os, socket, subprocess, sys
    from rewards import network

    way, user, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if user != os.geteuid():
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        ctypes.CDLL(None).prctl(4, 1)  # dumpable again, as a process is that began as this user
    try:
        {"nothing": lambda: None, "deny": network.deny, **network.WAYS}[way]()
    except OSError as error:
        print(json.dumps({"refused": str(error)}))
        raise SystemExit

    def tried(call):
        try:
            return call()
        except OSError as error:
            return type(error).__name__

    def connected():
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            return line.recv(5).decode()

    def sent(family, address):
        with socket.socket(family, socket.SOCK_DGRAM) as line:
            return line.sendto(b"x", (address, port))

    child = ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]  # another user may not reach this Python
    ring = ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120))
    print(json.dumps({
        "tcp": tried(connected),
        "udp": tried(lambda: sent(socket.AF_INET, "127.0.0.1")),
        "udp6": tried(lambda: sent(socket.AF_INET6, "::1")),
        "child": subprocess.run(child, stderr=subprocess.DEVNULL).returncode,
        "ring": ring >= 0,
        "ids": [os.getuid(), os.getgid()],
        "pair": socket.socketpair()[0].family,
        "loop": asyncio.run(asyncio.sleep(0, "ran")),
    }))
"""


@pytest.fixture
def server():
    """A server on this machine that greets whoever connects; gives its port and who came."""
    import threading

    came = []

    def greet():
        while True:
            try:
                line, address = listener.accept()
            except OSError:
                return
            came.append(address)
            with line:
                line.sendall(b"hello")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet)
        thread.start()
        try:
            yield listener.getsockname()[1], came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


USERS = [pytest.param(os.geteuid(), id="self")]
if os.geteuid() == 0:
    USERS.append(pytest.param(NOBODY, id="nobody"))


def probe(way, user, port):
    command = [sys.executable, "-c", textwrap.dedent(PROBE), way, str(user), str(port)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("user", USERS)
def test_with_nothing_done_the_probe_gets_through(server, user):
    port, came = server
    found = probe("nothing", user, port)
    assert (found["tcp"], found["udp"], found["child"]) == ("hello", 1, 0)
    assert len(came) == 2


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("way", ["namespace", "filter", "deny"])
def test_nothing_gets_out(server, user, way):
    port, came = server
    found = probe(way, user, port)
    if "refused" in found:
        pytest.skip(f"hardware: this kernel allows no {way}: {found['refused']}")
    assert came == []
    for name in ("tcp", "udp", "udp6"):
        assert found[name] in ("OSError", "PermissionError"), name
    assert found["child"] != 0
    assert found["ids"] == [user, user if user else 0]  # and files belong to whom they did
    assert (found["pair"], found["loop"]) == (socket.AF_UNIX, "ran")
    if way == "filter":
        assert found["tcp"] == "PermissionError"
        assert not found["ring"]


def test_the_next_way_is_tried_where_one_is_refused(monkeypatch):
    tried = []

    def refused():
        tried.append("refused")
        raise PermissionError

    monkeypatch.setattr(network, "WAYS", {"a": refused, "b": lambda: tried.append("b"), "c": refused})
    assert network.deny() == "b"
    assert tried == ["refused", "b"]
    monkeypatch.setattr(network, "WAYS", {"a": refused})
    assert network.deny() == ""


def test_the_file_alone_says_which_way_holds():
    command = [sys.executable, "-I", network.__file__]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() in ("namespace", "filter", "")
