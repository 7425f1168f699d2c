"""The stage end to end on transformers' engine: what is opened, in which order, what is evaluated."""

import io
import json
import shutil

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from grpo.errors import EngineError, UserError
from grpo.metrics import read_metrics
from grpo.recipe import Rule
from grpo.rows import read_items
from grpo.samples import read_samples
from grpo.scoring import Scorer
from grpo.stages import rl
from grpo.trackers import TRACKERS


@pytest.fixture
def run(recipe_of, base):
    """run(*overrides, resume=…): trains the tiny base and gives its summary, folder and output."""

    def train(*overrides, **flags):
        recipe = recipe_of(*overrides)
        recipe = recipe.model_copy(
            update={"pretrain": None, "model": recipe.model.model_copy(update={"path": base})}
        )
        stream = io.StringIO()
        summary = rl.train(recipe, console=Console(file=stream, width=200), **flags)
        return summary, stream.getvalue()

    return train


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def rule(tmp_path):
    """An override: a dense reward of the length, for a signal at every step."""
    path = tmp_path / "rule.py"
    path.write_text(
        "def short(completions, trainer_state):\n"
        "    assert trainer_state.global_step >= 0\n"
        "    return [-len(c) for c in completions]\n"
    )
    return f"rewards=[{{rule: {path}:short}}, {{rule: accuracy}}]"


def test_a_run_leaves_what_it_says(run, rule, folder):
    summary, shown = run(rule)
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert (summary["steps"], summary["base"]["version"], summary["trained"]["version"]) == (4, 0, 4)
    assert summary["tokens"] == sum(row["tokens"] for row in read_metrics(folder)[1:])
    assert summary["base"]["set"] == "held-out-report"
    assert {"pass@1", "interval"} <= set(summary["base"])
    for name in ("recipe.yaml", "environment.json", "curves.png", "eval/base-held-out.json"):
        assert (folder / name).stat().st_size
    assert len(list((folder / "samples").glob("*.parquet"))) == 4
    assert f"grpo train {folder}/recipe.yaml train.steps=8 --resume" in shown


def test_a_step_without_any_gradient_is_no_lost_update(run):
    """All groups tie, and the KL term's gradient is 0 while policy and reference are the same."""
    summary, _ = run("rewards=[{rule: accuracy}]", "algorithm.kl={name: k3, coef: 0.1}", "train.steps=2")
    assert summary["trained"]["version"] == 2


def test_every_rule_that_grades_is_measured_under_every_protocol(run):
    rules = "rewards=[{rule: accuracy}, {rule: accuracy, extract: last_number, weight: 0}]"
    summary, _ = run(rules, "eval.protocols=[{temperature: 0}]", "train.steps=1")
    rows = [(row["protocol"].rpartition("T=")[2], row["rule"]) for row in summary["protocols"]]
    assert rows == [("1", "accuracy"), ("1", "accuracy_2"), ("0", "accuracy"), ("0", "accuracy_2")]


def test_samples_hold_the_text_and_log_prob_of_each_token(run, rule, folder):
    run(rule, "train.steps=1")
    rows = read_samples(folder / "samples" / "step-000001.parquet")
    assert any(row["completion"] for row in rows)
    for row in rows:
        text = [
            piece for piece in row["pieces"] if piece not in ("<pad>", "<unk>", "<end>")
        ]  # shown all the same
        assert "".join(text) == row["completion"]
        assert len(row["pieces"]) == len(row["logprobs"]) == len(row["token_ids"])
        assert sum(row["logprobs"]) / len(row["logprobs"]) == pytest.approx(row["mean_logprob"], rel=1e-5)


def test_a_budget_below_the_longest_row_is_told_before_anything_is_made(run, rule, folder):
    with pytest.raises(
        UserError, match=r"the longest row may have \d+ tokens, \d+ of them the prompt's, "
    ) as e:
        run(rule, "train.token_budget=9")
    assert "train.token_budget" in str(e.value)
    assert not folder.exists()


def test_a_tracker_gets_every_line_and_is_closed(run, rule, monkeypatch):
    told = []

    class Kept:
        def __init__(self, target):
            told.append(target.config["output"]["trackers"])

        def write(self, step, metrics):
            told.append((step, "eval/held-out/mean_length" in metrics))

        def close(self, failed):
            told.append(failed)

    monkeypatch.setattr("grpo.trackers.installed", lambda name: True)
    monkeypatch.setitem(TRACKERS, "wandb", Kept)
    run(rule, "output.trackers=[wandb]")
    assert told == [["wandb"], (0, True), (1, False), (2, True), (3, False), (4, True), False]


def test_a_tracker_that_is_not_there_is_told_before_anything_is_made(run, rule, folder, monkeypatch):
    monkeypatch.setattr("grpo.trackers.installed", lambda name: False)
    with pytest.raises(UserError, match="trackio is not installed"):
        run(rule, "output.trackers=[trackio]")
    assert not folder.exists()


def test_a_finished_run_goes_on_with_more_steps_as_if_it_had_been_longer(run, rule, folder, tmp_path):
    run(rule)
    summary, _ = run(rule, "train.steps=6", resume=True)
    assert [row["step"] for row in read_metrics(folder)] == [0, 1, 2, 3, 4, 5, 6]
    assert (summary["steps"], summary["trained"]["version"]) == (6, 6)
    parts = load_file(folder / "checkpoints" / "step-6" / "model.safetensors")
    whole_folder = tmp_path / "whole"
    run(rule, "train.steps=6", f"output.folder={whole_folder}")
    whole = load_file(whole_folder / "checkpoints" / "step-6" / "model.safetensors")
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapters_run_goes_on_as_if_it_had_been_longer(run, rule, folder, tmp_path, kind):
    adapter = f"model.adapter={{kind: {kind}, rank: 4}}"
    more = [rule, adapter, "algorithm.kl.coef=0.01"]
    run(*more)
    assert len(list((folder / "checkpoints").glob("step-*/adapter_model.safetensors"))) == 2
    assert not list((folder / "checkpoints").glob("step-*/model.safetensors"))
    run(*more, "train.steps=6", resume=True)
    whole = tmp_path / "whole"
    run(*more, "train.steps=6", f"output.folder={whole}")
    ours, theirs = (
        load_file(one / "checkpoints" / "step-6" / "adapter_model.safetensors") for one in (folder, whole)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    rows, others = read_metrics(folder), read_metrics(whole)
    for row, other in zip(rows[1:], others[1:], strict=True):
        assert row["policy/kl"] == pytest.approx(other["policy/kl"], abs=1e-6)
        assert row["mismatch/sync_max"] < 1e-4
        assert row["grad_norm"] > 0
    assert rows[1]["policy/kl"] < 1e-6  # it starts as its base
    assert rows[-1]["policy/kl"] > 1e-4  # and the base is what it is measured against, after a resume too


def test_another_adapter_cannot_be_resumed_with(run, rule):
    run(rule, "model.adapter={rank: 4}", "train.steps=1")
    for other in ("{rank: 8}", "{rank: 4, alpha: 8}", "null", "{rank: 4, targets: q_proj}"):
        with pytest.raises(UserError, match=r"was started with other values of model\.adapter"):
            run(rule, f"model.adapter={other}", "train.steps=2", resume=True)


def test_targets_that_match_nothing_stop_a_run_before_anything_is_touched(run, rule, folder):
    run(rule, "train.steps=1")
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    with pytest.raises(UserError, match=r"'query' matches no linear layer\. Write all-linear, or some of d"):
        run(rule, "model.adapter={targets: [query]}", overwrite=True)
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_resuming_a_finished_run_shows_its_summary_again(run, rule, folder):
    first, _ = run(rule)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again, shown = run(rule, resume=True)
    assert again == first
    assert "held-out prompts" in shown
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_overwriting_keeps_the_old_run_beside(run, rule, folder):
    run(rule, "train.steps=1")
    _, shown = run(rule, "train.steps=2", overwrite=True)
    (aside,) = folder.parent.glob("run.*")
    assert f"the old run is now {aside}" in shown
    assert [len(read_metrics(one)) for one in (aside, folder)] == [2, 3]


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("data.train=rows.jsonl", "no such file"),
        ("data.gold=(@@@)", "finds no gold"),
        ("rollout.context=4096", "the model's context is 64"),
    ],
)
def test_a_mistake_leaves_an_old_run_where_it_is(run, rule, folder, mistake, said):
    run(rule, "train.steps=1")
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    with pytest.raises(UserError, match=said):
        run(rule, mistake, "pretrain.context=9999", overwrite=True)
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_what_would_stop_the_engine_is_told_before_anything_is_loaded(run, folder, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "some")
    monkeypatch.setattr(rl, "Scorer", None)
    with pytest.raises(UserError, match="'some' is no size of a cache"):
        run("rollout.engine=vllm")
    assert not folder.exists()


def test_sets_are_evaluated_and_never_selected_on(run, rule, folder, tmp_path):
    rows = [{"prompt": f"{x}+1=", "answer": str(x + 1), "pair": "x"} for x in range(3)]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(rule, f"eval.sets=[{tmp_path / 'set.jsonl'}]", "eval.prompts=3", "train.steps=1")
    last = read_metrics(folder)[-1]
    named = [name for name in last if name.startswith("eval/") and "set.jsonl" in name]
    assert named


@pytest.fixture
def opened(recipe_of, base, tokenizer):
    def open_(*overrides):
        recipe = recipe_of(*overrides)
        with Scorer([Rule(rule="accuracy")], workers=1) as scorer:
            items = read_items(recipe.data, seed=0)
            return recipe, *rl.open_prompts(recipe, items, base, tokenizer, scorer)

    return open_


def test_prompts_are_split_and_their_golds_tried(opened, tmp_path):
    _, splits, sets = opened()
    assert sets == {}
    assert len(splits.train) + len(splits.select) + len(splits.report) == 90
    rows = [{"prompt": f"{x}+1=", "answer": str(x + 1) if x != 7 else r"\boxed{"} for x in range(60)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # named columns of the set do not apply to a file
    data = [f"data.train={tmp_path / 'r.jsonl'}", "data.options={}", "pretrain=null", "model.path=org/base"]
    with pytest.raises(UserError, match=r"1 of .* golds are not right by accuracy"):
        opened(*data)
    _, dropped, _ = opened(*data, "data.bad_gold=drop")
    assert len(dropped.train) + len(dropped.select) + len(dropped.report) == 59


def test_stop_strings_are_the_templates_unless_the_recipe_gives_some(recipe_of):
    from grpo.templates import get_template

    assert rl.sampling_of(recipe_of()).stop == tuple(get_template("raw").stop)
    assert rl.sampling_of(recipe_of("rollout.stop=['</answer>']")).stop == ("</answer>",)
    assert rl.sampling_of(recipe_of("rollout.stop=[]")).stop == ()
    sampling = rl.sampling_of(recipe_of("rollout.temperature=0.5", "rollout.max_tokens=7"))
    assert (sampling.temperature, sampling.max_tokens, sampling.top_p) == (0.5, 7, 1.0)


def test_a_base_without_a_tokenizer_is_the_users_mistake(base, tmp_path):
    with pytest.raises(UserError, match=r"^model.path: no checkpoint with a tokenizer is at") as error:
        rl.load_tokenizer(str(tmp_path / "nowhere"))
    assert "\n" not in str(error.value)
    shutil.copytree(base, tmp_path / "copy", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(UserError, match="no checkpoint with a tokenizer"):
        rl.load_tokenizer(str(tmp_path / "copy"))


def test_an_engine_that_fails_is_closed_and_said(run, rule, monkeypatch):
    from grpo.rollout.hf import HfEngine

    closed = []
    real = HfEngine.close
    monkeypatch.setattr(HfEngine, "close", lambda self: closed.append(real(self)))

    def dies(self):
        raise EngineError("the engine died")
        yield

    monkeypatch.setattr(HfEngine, "finished", dies)
    with pytest.raises(EngineError, match="the engine died"):
        run(rule)
    assert len(closed) == 1
