"""Rule `code`: what it extracts, how it scores, its options, and its life in a worker."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

import rewards
from rewards import sandbox
from rewards.code import code, last_program
from rewards.errors import RuleError
from rewards.runner import RuleSpec, Runner

ADD = "def add(a, b):\n    return a + b"
SUM = "print(sum(map(int, input().split())))"
RIGHT = ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"]


def fenced(program: str) -> str:
    return f"<think>hm</think>\n```python\n{program}\n```\n"


def logged_by(program: str, tests: object, **more: object) -> tuple[float | None, dict[str, object]]:
    """The score of one program and what was logged of it; columns are given as single values."""
    found: dict[str, object] = {}
    columns = {name: [more.pop(name)] for name in ("entry_point", "test_setup") if name in more}
    scores = code(
        prompts=["q"],
        completions=[fenced(program)],
        tests=[tests],
        log_extra=lambda name, values: found.update({name: values[0]}),
        **columns,
        **more,
    )
    return scores[0], found


EXTRACTED = {
    "one": ("```python\na\n```", "a\n"),
    "the last": ("```python\na\n```\nno:\n```python\nb\nc\n```\nso.", "b\nc\n"),
    "short name": ("```py\na\n```", "a\n"),
    "capitals": ("```Python\na\n```", "a\n"),
    "indented": ("1. so:\n   ```python\n   a\n   ```", "   a\n"),
    "another language after it": ("```python\na\n```\n```bash\nls\n```", "a\n"),
    "only after the thought": ("```python\na\n```</think>```no", None),
    "a thought's program is none": ("<think>```python\na\n```\n</think>\n```python\nb\n```", "b\n"),
    "cut off": ("```python\na\n```\n```python\nb", None),
    "a closing fence opens nothing": ("```\nx\n```\npython\n```\ny\n```", None),
    "no language": ("```\na\n```", None),
    "no code": ("a", None),
    "empty": ("", None),
}


@pytest.mark.parametrize("case", EXTRACTED)
def test_the_program_is_the_last_closed_fence_after_the_thought(case):
    text, program = EXTRACTED[case]
    assert last_program(text) == program


@pytest.mark.usefixtures("sandbox_here")
def test_registered_and_called_as_trl_calls_it():
    found = {}
    rule = rewards.get("code")
    assert rule is code
    texts = [fenced(ADD), fenced("def add(a, b):\n    return b + a"), "I do not know", fenced("1 +")]
    scores = rule(
        prompts=["q"] * 5,
        completions=[[{"role": "assistant", "content": text}] for text in [*texts, texts[0]]],
        completion_ids=[[1]] * 5,
        tests=[RIGHT] * 4 + [None],
        log_extra=lambda name, values: found.update({name: values}),
    )
    assert scores == [1.0, 0.0, 0.0, 0.0, None]
    assert found["verdict"] == ["passed", "failed", "no_code", "failed", None]
    assert found["passed"] == [2, 1, 0, 0, None]
    assert found["total"] == [2, 2, 2, 2, None]
    assert found["first_failure"][:3] == [
        None,
        "test 2: assert add('a', 'b') == 'ab'; the last call gave 'ba'",
        None,
    ]
    assert "SyntaxError" in found["first_failure"][3]


@pytest.mark.usefixtures("sandbox_here")
def test_share_gives_part_and_tries_all():
    tests = ["assert add(1, 2) == 4", *RIGHT]
    assert logged_by(ADD, tests)[0] == 0.0
    assert logged_by(ADD, tests)[1]["passed"] == 0  # stops at the first
    score, found = logged_by(ADD, tests, share=True)
    assert score == pytest.approx(2 / 3)
    assert (found["passed"], found["total"]) == (2, 3)
    assert found["first_failure"].startswith("test 1: ")
    pairs = [{"input": "1 2", "output": "4"}, {"input": "1 2", "output": "3"}]
    assert logged_by(SUM, pairs)[1]["passed"] == 0
    assert logged_by(SUM, pairs, share=True)[0] == 0.5


@pytest.mark.usefixtures("sandbox_here")
def test_seconds_is_for_all_tests_together():
    slow = "import time; time.sleep(0.7); print(1)"
    pairs = [{"input": "", "output": "1"}] * 2
    assert logged_by(slow, pairs, seconds=30.0)[0] == 1.0
    score, found = logged_by(slow, pairs, seconds=1.2)
    assert score == 0.0
    assert found["passed"] <= 1
    assert "out of time" in found["first_failure"]
    loop = "def add(a, b):\n    while True: pass"
    assert logged_by(loop, RIGHT, seconds=0.5)[1]["first_failure"] == "test 1: out of time"


@pytest.mark.usefixtures("sandbox_here")
def test_memory_is_the_address_space():
    hungry = "block = bytearray(200 << 20); print(1)"
    pairs = [{"input": "", "output": "1"}]
    score, found = logged_by(hungry, pairs, program_mib=128)
    assert (score, found["first_failure"]) == (0.0, "test 1: MemoryError")
    assert logged_by(hungry, pairs)[0] == 1.0


@pytest.mark.usefixtures("sandbox_here")
def test_a_row_whose_tests_cannot_be_read_is_no_fault_of_the_model():
    with pytest.raises(ValueError, match="does not compile"):
        logged_by(ADD, ["assert add(1, 2) = 3"])
    with Runner([RuleSpec("code")], workers=1) as runner:
        runner.submit("k", ["q"] * 2, [fenced(ADD)] * 2, {"tests": [RIGHT, [3]]})
        ((_, rows, _),) = runner.wait()
    assert [row[0].status for row in rows] == ["ok", "error"]
    assert rows[1][0].score is None
    assert "column tests holds int" in rows[1][0].extras["error"]


# Each would add rightly, could it only do what it tries, or would be believed, or would take others along.
ATTACKS = {
    "reads the system's files": "rows = open('/etc/passwd').read()\ndef add(a, b): return a + b",
    "reads other processes": "rows = open('/proc/1/environ').read()\ndef add(a, b): return a + b",
    "looks for the tests": (
        "import glob\nfound = [open(p).read() for p in glob.glob('/**/*', recursive=True) if 'test' in p]\n"
        "answer = [text for text in found if 'assert' + ' add' in text][0]\ndef add(a, b): return a + b"
    ),
    "connects": (
        "import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)\ndef add(a, b): return a + b"
    ),
    "writes outside": "open({outside!r}, 'w').write('x')\ndef add(a, b): return a + b",
    "fills its folder": (
        "for i in range(999): open(str(i), 'wb').write(bytes(1 << 20))\ndef add(a, b): return a + b"
    ),
    "forks": "import os\nwhile True: os.fork()",
    "eats memory": "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "eats memory, never minding": (
        "x = []\nwhile True:\n    try: x.append(bytearray(1 << 20))\n    except BaseException: pass"
    ),
    "loops": "while True: pass",
    "sleeps": "import time\ntime.sleep(4321)",
    "loops when called": "def add(a, b):\n    while True: pass",
    "floods the output": "import sys\nwhile True: sys.stdout.write('x' * 1000)",
    "floods the errors": (
        "import sys\nwhile True:\n    try: sys.stderr.write('x' * 1000)\n    except OSError: pass"
    ),
    "kills its parent": (
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(-1, signal.SIGKILL)\n"
        "def add(a, b): return a"
    ),
    "kills itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
    "ends well at once": "import os\nos._exit(0)",
    "leaves well": "import sys\nsys.exit(0)",
    "leaves well when called": "import sys\ndef add(a, b): sys.exit(0)",
    "equals everything": (
        "class Yes:\n    def __eq__(self, other): return True\n    def __bool__(self): return True\n"
        "def add(a, b): return Yes()"
    ),
    "changes what tests use": (
        "import builtins, unittest\nclass Quiet(Exception): pass\nbuiltins.AssertionError = Quiet\n"
        "builtins.all = builtins.any = builtins.bool = lambda *a: True\n"
        "unittest.TestCase.assertEqual = lambda *a: None\ndef add(a, b): return 0"
    ),
    "prints a verdict": (
        "import os\ndef add(a, b):\n    for file in range(64):\n"
        "        try: os.write(file, b'null\\nnull\\n[\"gave\", 3]\\n')\n        except OSError: pass\n"
        "    return 0"
    ),
    "swallows every exception": (
        "def add(a, b):\n    while True:\n        try: raise KeyError\n        except BaseException: continue"
    ),
}


@pytest.mark.usefixtures("sandbox_here")
def test_attacks_score_nought_and_cost_themselves_alone(workers, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        words = {"{port}": str(server.getsockname()[1]), "{outside!r}": repr(str(tmp_path / "outside"))}
        programs = []
        for attack in ATTACKS.values():
            for word, value in words.items():
                attack = attack.replace(word, value)
            programs += [attack, ADD]
        with Runner([RuleSpec("code", {"seconds": 1.5}, timeout=240.0)], workers=1) as runner:
            runner.infos()
            before = workers()
            texts, tests = [fenced(each) for each in programs], [RIGHT] * len(programs)
            runner.submit("k", ["q"] * len(programs), texts, {"tests": tests})
            ((_, rows, _),) = runner.wait()
            assert workers() == before  # none was replaced
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not (tmp_path / "outside").exists()
    found = {name: (rows[2 * at][0], rows[2 * at + 1][0]) for at, name in enumerate(ATTACKS)}
    assert {name: pair for name, pair in found.items() if [each.score for each in pair] != [0, 1]} == {}
    assert {each.status for pair in found.values() for each in pair} == {"ok"}


@pytest.mark.usefixtures("sandbox_here")
def test_a_worker_that_is_killed_takes_its_sandbox_along(eventually):
    stuck = "import time\ntime.sleep(4321)"
    with Runner([RuleSpec("code", {"seconds": 600.0}, timeout=2.0)], workers=1) as runner:
        runner.submit("k", ["q"] * 2, [fenced(stuck), fenced(ADD)], {"tests": [RIGHT] * 2})
        ((_, rows, _),) = runner.wait()
    assert [(row[0].score, row[0].status) for row in rows] == [(0.0, "timeout"), (1.0, "ok")]
    assert eventually(lambda: not sandboxes())


def sandboxes() -> list[str]:
    """Processes of any sandbox that this program's limits of 600 s stand in the command line of."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended while we looked
            if b"601" in words and b"/ours" in words:
                found.append(folder.name)
    return found


@pytest.fixture
def denied(tmp_path, monkeypatch):
    """A bubblewrap that the kernel denies its namespaces, alone on the path."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.refusal.cache_clear()
    yield fake
    sandbox.refusal.cache_clear()


def test_without_isolation_only_this_rule_refuses(denied):
    with pytest.raises(RuleError) as caught:
        logged_by(ADD, RIGHT)
    assert "code: this machine denies isolation: bubblewrap failed: bwrap: No permissions" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    with Runner([RuleSpec("code")], workers=1) as runner:
        runner.submit("k", ["q"], [fenced(ADD)], {"tests": [RIGHT]})
        with pytest.raises(RuleError, match="denies isolation"):
            list(runner.wait())
    with Runner([RuleSpec("format")], workers=1) as runner:
        runner.submit("k", ["q"], ["<think></think><answer>a</answer>"], {})
        assert [rows[0][0].score for _, rows, _ in runner.wait()] == [1.0]


def test_without_bubblewrap_it_says_what_to_install(denied):
    denied.unlink()
    with pytest.raises(RuleError, match=r"bubblewrap is not installed\. Install it"):
        logged_by(ADD, RIGHT)


@pytest.mark.usefixtures("sandbox_here")
def test_a_kernel_that_denies_namespaces_is_told_from_one_that_grants_them():
    import subprocess

    ask = [sys.executable, "-c", "from rewards.sandbox import refusal; print(refusal())"]
    root = str(Path(rewards.__file__).parent.parent)
    walls = ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--disable-userns"]
    for before, word in (([], "None\n"), (walls, "denies isolation")):
        done = subprocess.run(
            [*before, *ask], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
        )
        assert word in done.stdout, done.stderr
