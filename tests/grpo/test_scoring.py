"""Groups in, scored groups out, with the real runner."""

from __future__ import annotations

import dataclasses

import pytest

from grpo.errors import UserError
from grpo.recipe import Rule
from grpo.scoring import Scorer, columns_of, completion_of, unique
from grpo.types import Group, Prompt, Rollout
from rewards.runner import Score


def prompt(ident="a", answer="4", text="2+2?", messages=False, **columns):
    shown = [{"role": "user", "content": text}] if messages else text
    return Prompt(ident, shown, answer, f"User: {text} Assistant:", (1, 2), columns)


def group(texts, of=None, tokens=(5, 6)):
    of = of or prompt()
    n = len(tokens)
    rollouts = [
        Rollout(of.id, i, of.token_ids, tokens, (True,) * n, (0.0,) * n, (0,) * n, text, "stop")
        for i, text in enumerate(texts)
    ]
    return Group(of, tuple(rollouts))


@pytest.fixture(scope="module")
def scorer():
    rules = [Rule(rule="accuracy", weight=2.0), Rule(rule="format")]
    with Scorer(rules, workers=2) as scorer:
        yield scorer


GOOD = "<think>t</think><answer>4</answer>"


def test_groups_come_back_with_scores(scorer):
    assert scorer.weights == (2.0, 1.0)
    assert scorer.names == ["accuracy", "format"]
    groups = [group([GOOD, rf"\\boxed{{{i}}}"], prompt(ident=str(i))) for i in range(6)]
    for one in groups:
        scorer.submit(one)
    found = {one.prompt.id: one for one in scorer.drain()}
    assert sorted(found) == [str(i) for i in range(6)]
    for one in groups:
        scored = found[one.prompt.id]
        assert dataclasses.replace(scored, scores=()) == one
        assert [[s.score for s in row] for row in scored.scores] == [[1, 1], [0, 0]]
    assert list(scorer.done()) == []


def test_done_gives_what_is_finished_and_never_waits(scorer):
    scorer.submit(group([GOOD]))
    seen = []
    while not seen:
        seen = list(scorer.done())
    assert seen[0].scores[0][0].score == 1.0


def test_one_completion_of_each_of_many_prompts(scorer):
    prompts = [prompt(ident=str(i), answer=str(i)) for i in range(5)]
    rows = scorer.score(prompts, [r"\boxed{3}"] * 5, rules=[0])
    assert [[s.score for s in row] for row in rows] == [[0], [0], [0], [1], [0]]


def test_metrics_are_means_over_completions(scorer):
    def row(accuracy, status, thinks):
        return (
            Score(accuracy, status, 0.5, {"verdict": "right"}),
            Score(1.0, "ok", 0.25, {"thinks": thinks}),
        )

    scored = dataclasses.replace(
        group([""] * 4),
        scores=(
            row(1.0, "ok", 1.0),
            row(None, "none", 0.0),
            row(0.0, "timeout", 0.0),
            row(None, "error", 1.0),
        ),
    )
    assert scorer.metrics([scored]) == {
        "reward/accuracy": 0.5,
        "reward/format": 1.0,
        "reward/format/thinks": 0.5,
        "reward/ungraded": 0.5,
        "reward/seconds": 0.75,
    }
    assert scorer.metrics([]) == {}


def test_a_rule_sees_columns_ids_state_and_the_rendered_prompt(tmp_path):
    (tmp_path / "r.py").write_text(
        "def see(prompts, completions, answer, level, prompt_text,\n"
        "        completion_ids, trainer_state, log_extra, log_metric):\n"
        "    log_metric('m', 3)\n"
        "    log_extra('seen', [repr((prompts[0], completions[0], answer[0], level[0], prompt_text[0],\n"
        "                             completion_ids[0], trainer_state.global_step))])\n"
        "    return [1.0]\n"
    )
    state = {"global_step": 1}
    with Scorer([Rule(rule="r.py:see")] * 2, folder=tmp_path, trainer_state=state, workers=1) as scorer:
        assert scorer.names == ["see", "see_2"]
        state["global_step"] = 9
        scorer.submit(group(["x"], prompt(level=5, messages=True, completion="dropped", log_extra="dropped")))
        (scored,) = scorer.drain()
        message = [{"role": "user", "content": "2+2?"}], [{"role": "assistant", "content": "x"}]
        seen = (*message, "4", 5, "User: 2+2? Assistant:", [5, 6], 9)
        assert scored.scores[0][0].extras["seen"] == repr(seen)
        assert scorer.metrics([scored])["reward/see_2/m"] == 3.0


def test_the_format_rule_sees_a_thought_that_the_template_opened():
    of = dataclasses.replace(prompt(), text="User: 2+2? Assistant: <think>")
    with Scorer([Rule(rule="format")], workers=1) as scorer:
        assert scorer.score([of], ["t</think><answer>4</answer>"])[0][0].score == 1.0
        assert scorer.score([prompt()], ["t</think><answer>4</answer>"])[0][0].score == 0.0


def test_completions_follow_the_prompts_form():
    assert completion_of(prompt(), "x") == "x"
    assert completion_of(prompt(messages=True), "x") == [{"role": "assistant", "content": "x"}]
    assert columns_of([prompt(a=1), prompt(b=2)]) == {
        "a": [1, None],
        "b": [None, 2],
        "answer": ["4", "4"],
        "prompt_text": ["User: 2+2? Assistant:"] * 2,
    }
    assert unique(["a", "b", "a"]) == ["a", "b", "a_2"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule(rule="acuracy"), "Did you mean 'accuracy'"),
        (Rule(rule="nowhere.py:f"), "no file 'nowhere.py'"),
        (
            Rule.model_validate({"rule": "format", "prefiled": True}),
            "no option 'prefiled'. Did you mean 'prefilled'",
        ),
    ],
)
def test_a_wrong_rule_is_the_users_error(rule, message):
    with pytest.raises(UserError, match=message), Scorer([rule], workers=1):
        pass


def test_a_wrong_number_of_scores_is_the_users_error(tmp_path):
    (tmp_path / "r.py").write_text("def few(completions): return [1.0]")
    with Scorer([Rule(rule="r.py:few")], folder=tmp_path, workers=1) as scorer:
        scorer.submit(group(["a", "b"]))
        with pytest.raises(UserError, match=r"r\.py:few: returned 1 scores for 2 completions") as error:
            list(scorer.drain())
    assert error.value.exit_code == 2


def test_limits_of_the_recipe_reach_the_worker(tmp_path):
    (tmp_path / "r.py").write_text(
        "import resource, socket, time\n"
        "def see(completions, log_extra, *, nap: float = 0.0):\n"
        "    time.sleep(nap)\n"
        "    with open('/proc/self/statm') as file: mapped = int(file.read().split()[0]) * 4096\n"
        "    log_extra('left', [(resource.getrlimit(resource.RLIMIT_AS)[0] - mapped) / 2**30])\n"
        "    try: socket.create_connection(('127.0.0.1', 9))\n"
        "    except OSError as error: log_extra('error', [type(error).__name__])\n"
        "    return [1.0]\n"
    )
    changed = [{"memory": 0.5}, {"network": True}, {"timeout": 0.5, "nap": 60.0}, {}]
    rules = [Rule.model_validate({"rule": "r.py:see", **keys}) for keys in changed]
    with Scorer(rules, folder=tmp_path, workers=1) as scorer:
        ((small, online, late, plain),) = scorer.score([prompt()], ["x"])
    assert small.extras["left"] == pytest.approx(0.5, abs=0.1)
    assert plain.extras["left"] == pytest.approx(4.0, abs=0.1)
    assert online.extras["left"] == pytest.approx(4.0, abs=0.1)
    assert online.extras["error"] == "ConnectionRefusedError"  # the machine itself answered
    assert plain.extras["error"] == small.extras["error"] != "ConnectionRefusedError"
    assert (late.status, late.score) == ("timeout", 0.0)
