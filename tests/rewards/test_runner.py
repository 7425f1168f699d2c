"""The runner with real worker processes: ordinary work, and everything a rule can do to them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from rewards.errors import RuleError
from rewards.runner import RuleSpec, Runner

HANG = r"\boxed{\sum_{k=1}^{10^{100}} k!}"
HANG_LCM = r"\boxed{\lcm(10^{20000} + 1, 10^{20000} + 3)}"
NASTY = """
    import os, time

    def nasty(completions, **columns):
        for text in completions:
            if text == "exit": os._exit(3)
            if text == "loop":
                while True: pass
            if text == "native": 9 ** 9 ** 9 ** 9
            if text == "memory": block = bytearray(1 << 40)
            if text == "hog":
                hog = []
                while True: hog.append(bytearray(1 << 20))
            if text == "raise": raise ValueError("no good")
            if text == "leave": raise SystemExit("bye")
            if text == "signal": os.kill(os.getpid(), 11)
        return [1.0] * len(completions)

    def whole(completions, **columns):
        return nasty(completions)
    whole.whole_group = True

    def length(completions, **columns):
        return [len(text) for text in completions]
"""


def scores_of(runner, completions, **columns):
    runner.submit("k", ["q"] * len(completions), completions, columns)
    ((key, scores, _),) = runner.wait()
    assert key == "k"
    return scores


@pytest.fixture
def nasty(rule_file):
    path = rule_file(NASTY)

    @contextlib.contextmanager
    def start(*names, workers=2, **limits):
        specs = [RuleSpec(f"{path}:{name}", **{"timeout": 1.0} | limits) for name in names]
        with Runner(specs, workers) as runner:
            runner.infos()
            yield runner

    return start


def test_ordinary_groups_of_two_rules():
    with Runner([RuleSpec("accuracy"), RuleSpec("format")], workers=2) as runner:
        assert [info.name for info in runner.infos()] == ["accuracy", "format"]
        assert [info.grades_answer for info in runner.infos()] == [True, False]
        for key in range(20):
            texts = ["<think>t</think><answer>4</answer>", rf"\boxed{{{key}}}", r"\boxed{x}"]
            runner.submit(key, ["q"] * 3, texts, {"answer": ["4"] * 3})
        found = {key: scores for key, scores, _ in runner.wait()}
        assert sorted(found) == list(range(20))
        for key, rows in found.items():
            assert [[score.score for score in row] for row in rows] == [[1, 1], [float(key == 4), 0], [0, 0]]
            assert {score.status for row in rows for score in row} == {"ok"}
        first = found[4][1][0]
        assert first.extras == {"verdict": "right", "rung": "string", "extracted": "4"}
        assert found[4][0][1].extras == {"thinks": 1.0}
        assert first.seconds > 0
        assert list(runner.ready()) == []


def test_some_rules_only(nasty):
    with nasty("length", "nasty") as runner:
        runner.submit("k", ["q"], ["abc"], {}, rules=[0])
        ((_, scores, _),) = runner.wait()
        assert [score.score for score in scores[0]] == [3.0]
        runner.submit("none", [], [], {})
        assert list(runner.wait()) == [("none", [], {})]


def test_expressions_that_hang_cost_their_completion_alone(workers, eventually):
    good = [rf"\boxed{{{i}}}" for i in range(6)]
    with Runner([RuleSpec("accuracy", timeout=1.0)], workers=2) as runner:
        rows = scores_of(runner, [*good[:3], HANG, *good[3:], HANG_LCM], answer=["3"] * 8)
        assert [row[0].status for row in rows] == ["ok"] * 3 + ["timeout"] + ["ok"] * 3 + ["timeout"]
        assert [row[0].score for row in rows] == [0, 0, 0, 0, 1, 0, 0, 0]
        assert rows[3][0].extras == {"error": "took longer than 1 s"}
        assert rows[3][0].ungraded
        assert not rows[0][0].ungraded
        assert eventually(lambda: len(workers()) == 2)
        assert scores_of(runner, good, answer=["3"] * 6)[3][0].score == 1.0


@pytest.mark.parametrize(
    ("text", "status", "error"),
    [
        ("exit", "crash", "worker died: exit code 3"),
        ("signal", "crash", "worker died: killed by signal 11"),
        ("loop", "timeout", "took longer than 1 s"),
        ("native", "timeout", "took longer than 1 s"),
        ("memory", "crash", "worker died: out of memory"),
        ("hog", "crash", "worker died: out of memory"),
        ("raise", "error", "ValueError: no good, my_rules.py line "),
        ("leave", "error", "SystemExit: bye, my_rules.py line "),
    ],
)
def test_one_bad_completion_costs_itself_alone(nasty, workers, eventually, text, status, error):
    limit = 1.0 if status == "timeout" else 60.0  # what is to die of something else must not run out of time
    with nasty("nasty", "length", memory=0.1, timeout=limit) as runner:
        rows = scores_of(runner, ["a", text, "c"])
        assert [row[0].status for row in rows] == ["ok", status, "ok"]
        assert [row[0].score for row in rows] == [1.0, None if status == "error" else 0.0, 1.0]
        assert rows[1][0].extras["error"].startswith(error)
        # The rule after it has scored all of them, and the pool is whole again.
        assert [row[1].score for row in rows] == [1.0, len(text), 1.0]
        assert eventually(lambda: len(workers()) == 2)
        assert [row[0].score for row in scores_of(runner, ["a", "b"])] == [1.0, 1.0]


def test_more_bad_completions_than_workers(nasty):
    with nasty("nasty", timeout=0.5) as runner:
        for key in range(3):
            runner.submit(key, ["q"] * 4, ["loop", "exit", "raise", "a"], {})
        for _, rows, _ in runner.wait():
            assert [row[0].status for row in rows] == ["timeout", "crash", "error", "ok"]


@pytest.mark.parametrize(("then", "status"), [("child.wait()", "timeout"), ("os._exit(3)", "crash")])
def test_what_a_rule_started_dies_with_its_worker(rule_file, tmp_path, eventually, then, status):
    path = rule_file(
        f"""
        import os, subprocess
        def f(completions, answer):
            child = subprocess.Popen(["sleep", "600"])
            with open(answer[0] + ".partial", "w") as file: file.write(str(child.pid))
            os.replace(answer[0] + ".partial", answer[0])
            {then}
        """
    )
    pid = tmp_path / "pid"
    with Runner([RuleSpec(f"{path}:f", timeout=1.0)], workers=1) as runner:
        while not pid.exists():  # on a busy machine the limit may pass before the rule has got so far
            found = scores_of(runner, ["a"], answer=[str(pid)])[0][0]
        assert found.status == status
        assert eventually(lambda: not is_alive(int(pid.read_text())))


def test_a_rule_of_the_whole_group_is_not_retried(nasty):
    with nasty("whole") as runner:
        assert [row[0].status for row in scores_of(runner, ["a", "exit"])] == ["crash", "crash"]
        assert [row[0].status for row in scores_of(runner, ["a", "raise"])] == ["error", "error"]
        assert [row[0].score for row in scores_of(runner, ["a", "raise"])] == [None, None]


def test_work_finished_while_the_parent_was_busy_is_no_timeout(rule_file, eventually):
    path = rule_file("import time\ndef slow(completions, **c): time.sleep(0.4); return [1.0]")
    with Runner([RuleSpec(f"{path}:slow", timeout=0.3)], workers=1) as runner:
        runner.submit("k", ["q"], ["a"], {})
        assert eventually(lambda: bool(runner._pool._seats) and runner._pool._seats[0].state == "busy")
        sum(range(60_000_000))  # keeps the interpreter to itself, so that the runner's thread comes late
        ((_, rows, _),) = runner.wait()
        assert rows[0][0].status == "ok"


@pytest.mark.parametrize("body", ["return [1.0]", "return ['x', 'y']"])
def test_a_wrong_answer_stops_with_the_name_of_the_rule(rule_file, body):
    path = rule_file(f"def few(completions, **columns): {body}")
    with Runner([RuleSpec(f"{path}:few")], workers=1) as runner:
        runner.submit("k", ["q"] * 2, ["a", "b"], {})
        for _ in range(2):  # and goes on saying so
            with pytest.raises(RuleError, match=r"my_rules\.py:few: returned"):
                list(runner.wait())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def g(completions): pass", "has no function 'f'. Known: g"),
        ("import os; os._exit(9)", "my_rules.py:f: died loading: exit code 9"),
        ("x = bytearray(1 << 60)", "does not import: MemoryError|died loading: out of memory"),
    ],
)
def test_a_rule_that_cannot_be_loaded(rule_file, workers, source, message):
    with Runner([RuleSpec(f"{rule_file(source)}:f")], workers=1) as runner:
        with pytest.raises(RuleError, match=message):
            runner.infos()
        with pytest.raises(RuleError, match=message):
            list(runner.wait() if runner._outstanding else runner.ready())


def test_columns_that_clash_or_cannot_be_sent(nasty):
    with nasty("length", workers=1) as runner:
        with pytest.raises(RuleError, match="column 'prompts' has the name of a keyword"):
            runner.submit("k", ["q"], ["a"], {"prompts": ["x"]})
        runner.submit("k", ["q"], ["a"], {"f": [lambda: 0]})
        with pytest.raises(RuleError, match="a data column cannot be sent"):
            list(runner.wait())


def test_trl_style_and_async_rules_and_metrics(rule_file):
    path = rule_file(
        """
        import asyncio
        def plain(completions, solution, trainer_state, log_metric, log_extra=None, **kwargs):
            log_metric("length", sum(len(c[0]["content"]) for c in completions))
            log_extra("ids", [len(ids) for ids in kwargs["completion_ids"]])
            print("a rule may print")
            right = [float(c[0]["content"] == s) for c, s in zip(completions, solution)]
            return [trainer_state.global_step + one for one in right]
        async def later(prompts, completions, *, bonus=0.0, **kwargs):
            await asyncio.sleep(0.01)
            return [bonus, None]
        """
    )
    specs = [RuleSpec(f"{path}:plain"), RuleSpec(f"{path}:later", {"bonus": 0.25})]
    with Runner(specs, workers=1) as runner:
        messages = [[{"role": "assistant", "content": text}] for text in ("a", "bb")]
        runner.submit("k", ["q"] * 2, messages, {"solution": ["a", "a"]}, [[1], [2, 3]], {"global_step": 5})
        ((_, rows, metrics),) = runner.wait()
    assert [[score.score for score in row] for row in rows] == [[6.0, 0.25], [5.0, None]]
    assert rows[1][1].status == "none"
    assert rows[1][0].extras == {"ids": 2, "length": 3.0}
    assert metrics == {"plain/length": 3.0}


def test_trls_own_rewards_run(rule_file):
    path = rule_file("from trl.rewards import accuracy_reward as f")
    with Runner([RuleSpec(f"{path}:f", timeout=30)], workers=1) as runner:
        messages = [[{"role": "assistant", "content": rf"\boxed{{{i}}}"}] for i in (3, 4)]
        assert [row[0].score for row in scores_of(runner, messages, solution=["$3$"] * 2)] == [1.0, 0.0]


@pytest.mark.parametrize("pythonpath", [None, "."])
def test_a_folder_of_the_user_named_rewards_shadows_nothing(tmp_path, monkeypatch, pythonpath):
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    (tmp_path / "rewards" / "mine.py").write_text("def f(completions, **columns): return [0.5]")
    monkeypatch.chdir(tmp_path)
    if pythonpath:
        monkeypatch.setenv("PYTHONPATH", pythonpath)
    with Runner([RuleSpec("format"), RuleSpec("rewards/mine.py:f")], workers=1) as runner:
        assert [score.score for score in scores_of(runner, ["<think></think><answer>b</answer>"])[0]] == [
            1.0,
            0.5,
        ]


def test_close_leaves_no_worker(nasty, workers):
    with nasty("nasty", timeout=60) as runner:
        assert len(workers()) == 2
        runner.submit("k", ["q"], ["loop"], {})
    assert workers() == set()
    runner.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(runner.wait())


def test_no_worker_outlives_a_parent_that_is_killed(rule_file, workers, eventually):
    path = rule_file(NASTY)
    script = textwrap.dedent(f"""
        import time
        from rewards.runner import RuleSpec, Runner
        runner = Runner([RuleSpec({path + ":nasty"!r}, timeout=600)], workers=2)
        runner.infos()
        runner.submit("k", ["q"], ["native"], {{}})
        time.sleep(0.5)
        print("started", flush=True)
        time.sleep(600)
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout.readline() == "started\n"
        pids = workers(parent.pid)
        assert len(pids) == 2
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert eventually(lambda: not any(is_alive(pid) for pid in pids))
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_the_line_of_an_exception_is_one_of_the_rule_s_file(rule_file):
    path = rule_file(
        """
        import json

        def parsed(completions, **columns):
            return [json.loads(text) for text in completions]
        """
    )
    with Runner([RuleSpec(f"{path}:parsed")], workers=1) as runner:
        runner.submit("k", ["q"], ["no JSON"], {})
        ((_, ((score,),), _),) = runner.wait()
    assert score.extras["error"].endswith("my_rules.py line 5")
