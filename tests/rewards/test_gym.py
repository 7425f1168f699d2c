"""reasoning-gym's scorers as a rule: all tasks' golds, garbage, what raises, hangs, or would run code."""

from __future__ import annotations

import json

import pytest

import rewards
from rewards import gym as module
from rewards.errors import RuleError
from rewards.gym import Scored, ask, gym, judge_of, scorer_of
from rewards.plain_eval import FUNCTIONS, Refused, excess, plain_eval
from rewards.runner import RuleSpec, Runner

reasoning_gym = pytest.importorskip("reasoning_gym", reason="needs reasoning-gym")
from reasoning_gym.factory import DATASETS  # noqa: E402

TASKS = sorted(set(DATASETS) - {"composite"})
NO_GOLD = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
EVALUATING = {
    "binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication",
    "puzzle24", "simple_integration", "spiral_matrix", "string_insertion",
}  # fmt: skip
PARTS = [TASKS[i::8] for i in range(8)]


def rows_of(task, size=4, **options):
    return list(reasoning_gym.create_dataset(task, size=size, seed=7, **options))


def scored(entries, answers, **options):
    """Scores [G] and what was logged, as lists by name."""
    logged = {}
    scores = gym(
        [entry["question"] for entry in entries],
        [f"<think>t</think><answer>{answer}</answer>" for answer in answers],
        [entry["answer"] for entry in entries],
        [entry["metadata"] for entry in entries],
        log_extra=logged.__setitem__,
        **options,
    )
    return scores, logged


@pytest.mark.parametrize("tasks", PARTS, ids=lambda tasks: tasks[0])
def test_every_gold_scores_1_and_garbage_nought(tasks):
    for task in tasks:
        entries = [entry for entry in rows_of(task, 8) if "Integral" not in str(entry["answer"])][:4]
        assert {entry["answer"] is None for entry in entries} == {task in NO_GOLD}
        for partial in (False, True):
            for garbage in ("", "?", "no idea"):
                scores, logged = scored(entries, [garbage] * 4, partial=partial)
                most = 0.3 if partial and garbage == "no idea" else 0  # letters may agree by chance
                assert all(0 <= score <= most for score in scores), (task, garbage, logged)
            if task not in NO_GOLD:
                scores, logged = scored(entries, [entry["answer"] for entry in entries], partial=partial)
                assert scores == [1.0] * 4, (task, logged)
                assert logged["verdict"] == ["right"] * 4


ATTACKS = (
    "__import__('os').system('touch {path}')",
    "[__import__('os').system('touch {path}')]",
    "open('{path}', 'w')",
    "sqrt(\"__import__('os').system('touch {path}')\")",
    "lambdify(x, \"__import__('os').system('touch {path}')\")(1)",
    "[c for c in [].__class__.__base__.__subclasses__()] or exec(\"open('{path}', 'w')\")",
    "x.__class__.__init__.__globals__['__builtins__']['open']('{path}', 'w')",
    "S(\"open('{path}', 'w')\")",
)


def attack(task, folder):
    """The attacks that had an effect, and those that the guard refused."""
    path, through, refused = folder / "planted", set(), set()
    scorer, entry = scorer_of({}, task, None), rows_of(task, 1)[0]
    for text in ATTACKS:
        said = ask(scorer, text.format(path=path), entry)
        if path.exists():
            through.add(text)
            path.unlink()
        if (said.fault or "").startswith("not evaluated"):
            refused.add(text)
    return through, refused


@pytest.mark.parametrize("tasks", PARTS, ids=lambda tasks: tasks[0])
def test_no_answer_runs_code(tasks, tmp_path):
    for task in tasks:
        through, refused = attack(task, tmp_path)
        assert through == set()
        assert bool(refused) == (task in EVALUATING), task


@pytest.mark.parametrize("task", sorted(EVALUATING))
def test_without_the_guard_code_would_run(task, tmp_path, monkeypatch):
    monkeypatch.setattr("rewards.plain_eval.WATCHED", ("nobody",))
    through, refused = attack(task, tmp_path)
    assert through
    assert not refused


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("[[1, -2], ('a', 3.5)]", True),
        ("2 ** 3 % 5 | 1", True),
        ("{1: 2}", True),
        ("x", False),
        ("f(1)", False),
        ("[1][0]", False),
        ("'a'.upper()", False),
        ("f'{1}'", False),
        ("(y := 1)", False),
        ("[i for i in 'ab']", False),
        ("lambda: 1", False),
    ],
)
def test_literals_alone_are_evaluated(text, passes):
    assert (excess(text) is None) == passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Integer (9 )**x +sin (Symbol ('xy' ))", True),
        ("C", True),
        ("xy", False),
        ("lambdify (x ,'1')", False),
        ("Symbol ('x').name", False),
        ("Symbol ('x', real =True )", False),
        ("sin (1 )(2 )", False),
        ("eval ('1')", False),
    ],
)
def test_arithmetic_with_functions(text, passes):
    assert (excess(text, FUNCTIONS) is None) == passes


@pytest.mark.parametrize("text", ["1; 2", "import os", "(", "?", "a\0b"])
def test_what_is_no_expression_is_no_refusal_but_never_evaluated(text):
    watched = {"__name__": "sympy.parsing.some", "__builtins__": __builtins__}
    exec("def run(text): return exec(text)", watched)
    with plain_eval() as refused, pytest.raises((SyntaxError, ValueError)):
        watched["run"](text)
    assert refused == []


def test_the_guard_watches_some_callers_inside_its_block_alone():
    module = {"__name__": "reasoning_gym.some", "__builtins__": __builtins__}
    exec("def evaluate(text): return eval(text)", module)
    assert module["evaluate"]("len('ab')") == 2
    with plain_eval() as refused:
        assert eval("len('ab')") == 2
        assert module["evaluate"]("[1 + 1]") == [2]
        with pytest.raises(Refused, match="no arithmetic"):
            module["evaluate"]("len('ab')")
    assert refused == ["a part that is no arithmetic (Call)"]
    assert module["evaluate"]("len('ab')") == 2


def test_a_countdown_that_hangs_costs_itself_alone():
    (entry,) = rows_of("countdown", 1)
    answers = [entry["answer"], "9**9**9**9", "__import__('os')._exit(3)", "1", entry["answer"]]
    columns = {"answer": [entry["answer"]] * 5, "metadata": [entry["metadata"]] * 5}
    texts = [f"<answer>{answer}</answer>" for answer in answers]
    with Runner([RuleSpec("gym", timeout=4.0)], workers=1) as runner:
        assert runner.infos()[0].grades_answer
        runner.submit("k", [entry["question"]] * 5, texts, columns)
        ((_, rows, _),) = runner.wait()
        assert [row[0].score for row in rows] == [1, 0, 0, 0, 1]
        assert [row[0].status for row in rows] == ["ok", "timeout", "ok", "ok", "ok"]
        runner.submit("k", [entry["question"]], texts[:1], {name: one[:1] for name, one in columns.items()})
        assert [row[0].score for _, (row,), _ in runner.wait()] == [1]
    assert rows[2][0].extras["fault"] == "not evaluated: a call"
    assert rows[3][0].extras["scorer_score"] == 0.05
    assert rows[3][0].extras["verdict"] == "wrong"


def test_an_integral_left_as_it_was_asked_is_no_answer():
    entry = rows_of("simple_integration", 1)[0]
    asked = f"Integral({entry['metadata']['integrand']}, {entry['metadata']['variable']})"
    scorer = scorer_of(entry["metadata"], None, None)
    assert scorer(asked, entry) == 1.0
    scores, logged = scored([entry], [asked])
    assert scores == [0.0]
    assert logged["fault"] == ["not evaluated: the name 'Integral'"]


def test_partial_scores_lie_above_the_floor():
    entries = rows_of("countdown", 1)
    assert scored(entries, ["1"])[0] == [0.0]
    assert scored(entries, ["1"], partial=True)[0] == [pytest.approx(0.04 / 0.99)]
    assert scored(entries, ["?"], partial=True) == (
        [0.0],
        {"verdict": ["wrong"], "scorer_score": [0.01], "extracted": ["?"], "fault": [None]},
    )
    assert scored(entries, [entries[0]["answer"]], partial=True)[0] == [1.0]


def judged(scorer, answer, partial=False, gold="7"):
    score, said = judge_of(scorer, {"question": "q", "answer": gold, "metadata": {}}).score(answer, partial)
    return score, said.number, said.fault


def test_a_scorer_that_takes_anything_is_given_the_gold_alone():
    assert judged(lambda answer, entry: 1, "8") == (0.0, 1.0, None)
    assert judged(lambda answer, entry: 1, "8", partial=True) == (0.0, 1.0, None)
    assert judged(lambda answer, entry: 1, "fAlse", gold=" False") == (1.0, 1.0, None)
    entries = [entry for entry in rows_of("game_of_life_halting", 20) if entry["answer"] == "False"]
    assert scored(entries[:1] * 2, ["True", "False"])[0] == [0.0, 1.0]


def test_a_scorer_that_raises():
    def strict(answer, entry):
        return float(int(answer) == 7)

    assert judged(strict, "7") == (1.0, 1.0, None)
    score, number, fault = judged(strict, "x")
    assert (score, number) == (0.0, None)
    assert fault.startswith("ValueError: invalid literal")
    score, number, fault = judged(strict, "7", gold="seven")
    assert (score, number) == (None, None)
    assert fault.startswith("the scorer gives its own gold None: ValueError")
    assert judged(strict, "x", gold=None)[0] == 0.0
    assert judged(strict, "7", gold="8") == (None, None, "the scorer gives its own gold 0.0")
    assert ask(lambda answer, entry: float("nan"), "7", {}) == Scored(None, "the scorer gives nan")
    for error in (MemoryError, RecursionError):
        with pytest.raises(error):
            ask(lambda answer, entry, error=error: (_ for _ in ()).throw(error()), "7", {})


def test_messages_and_missing_answers():
    (entry,) = rows_of("chain_sum", 1)
    logged = {}
    scores = rewards.get("gym")(
        prompts=[[{"role": "user", "content": entry["question"]}]] * 2,
        completions=[
            [{"role": "assistant", "content": text}] for text in (rf"\boxed{{{entry['answer']}}}", "7")
        ],
        answer=[entry["answer"]] * 2,
        metadata=[entry["metadata"]] * 2,
        log_extra=logged.__setitem__,
    )
    assert scores == [1.0, 0.0]
    assert logged["verdict"] == ["right", "unextracted"]
    assert logged["extracted"] == [entry["answer"], None]
    assert gym([], [], [], []) == []


def test_metadata_of_another_form_that_its_scorer_does_not_read_is_ungraded():
    (entry,) = rows_of("rearc", 1)
    entry["metadata"] = json.loads(json.dumps(entry["metadata"], default=str))  # tuples become lists
    scores, logged = scored([entry], [entry["answer"]])
    assert scores == [None]
    assert logged["verdict"] == ["ungraded"]
    assert logged["fault"] == ["the scorer gives its own gold 0.05"]


def test_a_row_says_its_task_and_what_it_was_made_with():
    entry = {"question": "", "answer": "8*2 + 4*2", "metadata": {}}
    low = [{"max_value": 6}]
    assert scored([entry], [entry["answer"]], task=["puzzle24"], task_options=low)[0] == [
        None
    ]  # 8 is over it
    assert scored([entry], [entry["answer"]], task=["puzzle24"])[0] == [1.0]
    options = [{"max_value": 9, "seed": 3}]
    assert scored([entry], [entry["answer"]], task=["puzzle24"], task_options=options)[0] == [1.0]
    with pytest.raises(RuleError, match="a row does not say its task"):
        scored([entry], ["1"])
    with pytest.raises(RuleError, match=r"no task 'puzle24'\. Did you mean 'puzzle24'"):
        scored([entry], ["1"], task=["puzle24"])
    with pytest.raises(RuleError, match="gym: puzzle24: the task's options do not fit"):
        scored([entry], ["1"], task=["puzzle24"], task_options=[{"most": 20}])
    with pytest.raises(RuleError, match="the metadata of a row is None"):
        scored([entry | {"metadata": None}], ["1"])


def test_without_reasoning_gym_the_rule_says_what_to_run(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(RuleError, match=r"reasoning-gym is not installed. Run: pip install"):
        module.warm()
