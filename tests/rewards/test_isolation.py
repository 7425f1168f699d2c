"""Who pays for what goes wrong, and what a worker may do: network, memory, its place when memory runs out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from rewards.errors import RuleError
from rewards.runner import RuleSpec, Runner

GRADER = """
    import os, time

    def grade(completions, answer, **columns):
        for text, gold in zip(completions, answer):
            for said in (text if isinstance(text, str) else text[-1]["content"], gold):
                if said == "hang": time.sleep(600)
                if said == "exit": os._exit(3)
                if said == "deep": (nest := lambda: nest())()
                if said == "raise": raise ValueError("no good")
        return [float(text == gold) for text, gold in zip(completions, answer)]
    grade.grades_answer = True

    def other(completions, answer, **columns):
        return grade(completions, answer)

    def whole(completions, answer, **columns):
        return grade(completions, answer)
    whole.grades_answer = whole.whole_group = True
"""
BAD = {"hang": "timeout", "exit": "crash", "deep": "crash"}


def graded(spec, completions, golds, **limits):
    """[G] scores."""
    with Runner([RuleSpec(spec, **limits)], workers=2) as runner:
        runner.infos()
        runner.submit("k", ["q"] * len(completions), completions, {"answer": golds})
        ((_, rows, _),) = runner.wait()
        return [row[0] for row in rows]


def limit_of(bad):
    return 0.5 if bad == "hang" else 60.0


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("function", ["grade", "other"])
def test_a_completion_that_breaks_the_rule_scores_nought(rule_file, bad, function):
    found = graded(f"{rule_file(GRADER)}:{function}", ["4", bad, "5"], ["4"] * 3, timeout=limit_of(bad))
    assert [(score.score, score.status) for score in found] == [(1.0, "ok"), (0.0, BAD[bad]), (0.0, "ok")]
    assert found[1].ungraded
    assert "any answer" not in found[1].extras["error"]


def test_too_deep_is_named_with_its_line(rule_file):
    (found,) = graded(f"{rule_file(GRADER)}:other", ["deep"], ["4"])
    assert found.extras["error"].startswith("RecursionError: maximum recursion depth exceeded")
    assert "my_rules.py line " in found.extras["error"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("function", ["grade", "whole"])
def test_a_gold_that_breaks_the_rule_costs_nobody(rule_file, bad, function):
    found = graded(f"{rule_file(GRADER)}:{function}", ["4", "5"], [bad] * 2, timeout=limit_of(bad))
    assert [(score.score, score.status) for score in found] == [(None, BAD[bad])] * 2
    for score in found:
        assert score.ungraded
        assert score.extras["error"].endswith(
            "; so it goes with any answer: the gold or the rule is at fault"
        )


def test_a_gold_of_one_row_is_at_fault_for_that_row_alone(rule_file):
    found = graded(f"{rule_file(GRADER)}:grade", ["4", "4", "exit"], ["4", "exit", "4"])
    assert [(score.score, score.status) for score in found] == [(1.0, "ok"), (None, "crash"), (0.0, "crash")]


def test_a_completion_in_messages_is_replaced_by_one_in_messages(rule_file):
    source = GRADER + "\n    def strict(completions, answer):\n        [t[-1]['role'] for t in completions]\n"
    path = rule_file(source + "        return grade(completions, answer)\n    strict.grades_answer = True\n")
    (found,) = graded(f"{path}:strict", [[{"role": "assistant", "content": "exit"}]], ["4"])
    assert (found.score, found.status) == (0.0, "crash")


def test_a_rule_that_raises_gives_no_score(rule_file):
    found = graded(f"{rule_file(GRADER)}:grade", ["4", "raise"], ["4"] * 2)
    assert [(score.score, score.status) for score in found] == [(1.0, "ok"), (None, "error")]


OURS = """
    import rewards.accuracy, rewards.format

    def grade(gold, answer):
        if "raise" in (gold, answer): raise ValueError("no good")
        return verdict(gold, answer)
    verdict, rewards.accuracy.grade = rewards.accuracy.grade, grade

    def strict(text):
        if BREAKS: raise ValueError("no good")
        return verdict_of(text)
    verdict_of, rewards.format.is_strict = rewards.format.is_strict, strict

    def plant(completions): return [0.0] * len(completions)
"""
RIGHT, RAISES = r"\boxed{4}", r"\boxed{raise}"
AT_FAULT = "; so it goes with any answer: the gold or the rule is at fault"


def planted(rule_file, spec, completions, golds, breaks="False", **options):
    """Scores by one of our own rules, in which a fault is planted: a file of rules loads beside it."""
    specs = [RuleSpec(f"{rule_file(OURS.replace('BREAKS', breaks))}:plant"), RuleSpec(spec, options)]
    with Runner(specs, workers=1) as runner:
        runner.submit("k", ["q"] * len(completions), completions, {"answer": golds}, rules=[1])
        ((_, rows, _),) = runner.wait()
        return [row[0] for row in rows]


def test_a_completion_that_makes_a_rule_of_ours_raise_scores_nought(rule_file):
    found = planted(rule_file, "accuracy", [RIGHT, RAISES, "5"], ["4"] * 3)
    assert [(score.score, score.status) for score in found] == [(1.0, "ok"), (0.0, "crash"), (0.0, "ok")]
    assert found[1].extras["error"].startswith("ValueError: no good, my_rules.py line ")
    assert found[1].ungraded


def test_a_gold_that_makes_a_rule_of_ours_raise_costs_nobody(rule_file):
    found = planted(rule_file, "accuracy", [RIGHT, RIGHT], ["raise", "4"])
    assert [(score.score, score.status) for score in found] == [(None, "error"), (1.0, "ok")]
    assert found[0].extras["error"].endswith(AT_FAULT)


@pytest.mark.parametrize(
    ("breaks", "score", "status"), [('"raise" in text', 0.0, "crash"), ("True", None, "error")]
)
def test_a_rule_of_ours_without_a_gold_is_tried_on_a_harmless_answer_too(rule_file, breaks, score, status):
    (found,) = planted(rule_file, "format", ["raise"], ["4"], breaks)
    assert (found.score, found.status) == (score, status)


@pytest.mark.parametrize(("own", "score", "status"), [("accuracy", 0.0, "crash"), ("user", None, "error")])
def test_a_combination_is_ours_where_all_its_rules_are(rule_file, own, score, status):
    path = rule_file(GRADER, "theirs.py")
    entries = [{"rule": "accuracy"}, {"rule": "format" if own == "accuracy" else f"{path}:other"}]
    (found,) = planted(rule_file, "combine", [RAISES], ["4"], rules=entries)
    assert (found.score, found.status) == (score, status)


def test_what_the_harmless_answer_scores_and_logs_is_not_counted(rule_file):
    path = rule_file(
        """
        import os
        def f(completions, answer, log_metric):
            if "exit" in completions: os._exit(3)
            log_metric("calls", 1)
            return [0.5] * len(completions)
        f.grades_answer = True
        """
    )
    with Runner([RuleSpec(f"{path}:f")], workers=1) as runner:
        runner.submit("k", ["q"], ["exit"], {"answer": ["4"]})
        assert [(rows[0][0].score, metrics) for _, rows, metrics in runner.wait()] == [(0.0, {})]


NETWORK = """
    import os, socket
    try:
        socket.create_connection(("127.0.0.1", int(os.environ["TEST_PORT"]))).close()
        LOADED = "through"
    except OSError:
        LOADED = "refused"

    def seen(completions, log_extra):
        try:
            socket.create_connection(("127.0.0.1", int(os.environ["TEST_PORT"]))).close()
            now = "through"
        except OSError:
            now = "refused"
        log_extra("pid", [os.getpid()] * len(completions))
        log_extra("seen", [[LOADED, now]] * len(completions))
        return [1.0] * len(completions)

    def again(completions, log_extra):
        return seen(completions, log_extra)
"""


def test_only_a_rule_that_asks_for_the_network_has_it_in_a_worker_of_its_own(rule_file, monkeypatch, workers):
    path = rule_file(NETWORK)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("TEST_PORT", str(server.getsockname()[1]))
        specs = [RuleSpec(f"{path}:seen", network=True), RuleSpec(f"{path}:seen"), RuleSpec("format")]
        with Runner([*specs, RuleSpec(f"{path}:again", network=True)], workers=1) as runner:
            assert [info.name for info in runner.infos()] == ["seen", "seen", "format", "again"]
            runner.submit("k", ["q"] * 2, ["a", "b"], {})
            ((_, rows, _),) = runner.wait()
            assert len(workers()) == 2
            runner.submit("k", ["q"], ["a"], {}, rules=[1])
            ((_, ((alone,),), _),) = runner.wait()
    for judge, plain, form, second in rows:
        assert judge.extras["seen"] == second.extras["seen"] == "['through', 'through']"
        assert plain.extras["seen"] == alone.extras["seen"] == "['refused', 'refused']"
        assert judge.extras["pid"] == second.extras["pid"] != plain.extras["pid"]
        assert form.score == 0.0


def test_each_rule_has_a_memory_of_its_own(rule_file):
    path = rule_file("def f(completions): return [float(len(bytearray(300 << 20)) > 0) for _ in completions]")
    specs = [RuleSpec(f"{path}:f", memory=gib, timeout=60) for gib in (1.0, 0.25, 1.0)]
    with Runner(specs, workers=1) as runner:
        runner.submit("k", ["q"], ["a"], {})
        ((_, ((first, second, third),), _),) = runner.wait()
    assert [(score.score, score.status) for score in (first, second, third)] == [
        (1.0, "ok"),
        (0.0, "crash"),
        (1.0, "ok"),
    ]
    assert second.extras["error"] == "worker died: out of memory"


def test_the_kernel_kills_a_worker_first_where_memory_runs_out(workers):
    with Runner([RuleSpec("format")], workers=1) as runner:
        runner.infos()
        (pid,) = workers()
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == 1000
    assert int(Path(f"/proc/{os.getpid()}/oom_score_adj").read_text()) < 1000


def dying(rule_file, tmp_path, lives):
    """A rule whose file kills its worker at every load but those in `lives`, counted from 0."""
    return rule_file(
        f"""
        import os
        with open({str(tmp_path / "loads")!r}, "a+") as file:
            file.write("x")
            file.seek(0)
            loads = len(file.read())
        if loads - 1 not in {lives}: os._exit(9)
        def f(completions, **columns):
            if "exit" in completions: os._exit(3)
            return [1.0] * len(completions)
        """
    )


def test_a_worker_that_dies_loading_is_replaced_where_the_first_one_loaded(rule_file, tmp_path):
    with Runner([RuleSpec(f"{dying(rule_file, tmp_path, {0, 3})}:f")], workers=1) as runner:
        runner.submit("k", ["q"] * 2, ["a", "exit"], {})
        assert [row[0].status for _, rows, _ in runner.wait() for row in rows] == ["ok", "crash"]
        runner.submit("k", ["q"], ["a"], {})
        with pytest.raises(RuleError, match=r"my_rules\.py:f: died loading: exit code 9"):
            list(runner.wait())
    assert (tmp_path / "loads").read_text() == "x" * 7  # good, two bad, good, three bad


def test_huge_numbers_that_a_rule_logs_are_described(rule_file):
    path = rule_file(
        """
        def f(completions, log_extra):
            log_extra("power", [7 ** 9000])
            log_extra("long", [1 << 70])
            return [1.0]
        """
    )
    (found,) = graded(f"{path}:f", ["a"], ["4"])
    assert found.extras == {"power": f"a number of {(7**9000).bit_length()} bits", "long": float(1 << 70)}
