"""A run's folder: whose it is, where it goes on, what it writes."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from eval.run import summarise
from grpo.errors import RunError, UserError
from grpo.folder import check_same_recipe, find_checkpoint, go_on_command, move_aside
from grpo.gather import Gathered
from grpo.metrics import read_metrics
from grpo.recipe import Rule
from grpo.recipe_file import dump_recipe, load_recipe
from grpo.run import Run
from grpo.scoring import Scorer
from grpo.view import PlainView

CONSOLE = Console(file=open(os.devnull, "w"))  # noqa: SIM115


class Stream:
    """As much of a PromptStream as a checkpoint asks for."""

    def state(self):
        return {"epoch": 0}


class Notes(PlainView):
    """Keeps the notes it is told."""

    def __init__(self):
        super().__init__(CONSOLE)
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def started(recipe_of):
    """A run that has just started."""
    return Run(recipe_of(), PlainView(CONSOLE), None)


@pytest.fixture
def scorer():
    with Scorer([Rule(rule="format")], workers=1) as scorer:
        yield scorer


@pytest.fixture
def drawn(group_of):
    """A scored group of two, whose scores are what it is given."""

    def make(*scores):
        group = group_of("1+2=", ["1"] * len(scores), [0.0] * len(scores), [(s,) for s in scores])
        return Gathered([group])

    return make


def refused(recipe, resume=False, overwrite=False) -> str:
    with pytest.raises(UserError) as error:
        find_checkpoint(recipe, resume=resume, overwrite=overwrite)
    return str(error.value)


def test_an_absent_or_empty_folder_is_free(recipe_of):
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        assert find_checkpoint(recipe_of(), resume=resume, overwrite=overwrite) is None
    Path(recipe_of().output.folder).mkdir()
    assert find_checkpoint(recipe_of(), resume=False, overwrite=False) is None
    assert not list(Path(recipe_of().output.folder).iterdir())


def test_a_run_that_failed_before_its_first_step_holds_nothing(started):
    assert find_checkpoint(started.recipe, resume=False, overwrite=False) is None


def test_a_folder_with_a_run_says_how_to_resume_or_overwrite(started):
    started.log.write(0, {"loss": 1.0})
    line = refused(started.recipe)
    assert line == (
        f"output.folder: {started.folder} already holds a run. "
        "Add --resume to go on with it, or --overwrite to move it aside."
    )
    assert find_checkpoint(started.recipe, resume=False, overwrite=True) is None
    assert find_checkpoint(started.recipe, resume=True, overwrite=False) is None  # no checkpoint yet: from 0


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_of_something_else_is_never_touched(recipe_of, flags):
    folder = Path(recipe_of().output.folder)
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")
    assert "holds files that are not a run's. Name another folder." in refused(recipe_of(), **flags)
    shutil.rmtree(folder)
    folder.write_text("x")
    assert "is a file. Name a folder." in refused(recipe_of(), **flags)
    inside = recipe_of(f"output.folder={folder}/below/it")
    assert f"{folder} is a file. Name a folder." in refused(inside, **flags)


def test_a_folder_that_cannot_be_made_is_refused_at_once(recipe_of, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert "cannot be written to. Name another folder." in refused(recipe_of())


def test_overwriting_moves_the_whole_run_aside(started, recipe_of):
    started.log.write(1, {"loss": 0.5})
    aside = move_aside(started.folder)
    assert aside.parent == started.folder.parent
    assert aside.name.startswith("run.2")
    assert json.loads((aside / "metrics.jsonl").read_text()) == {"step": 1, "loss": 0.5}
    assert not started.folder.exists()
    assert move_aside(started.folder) is None
    assert find_checkpoint(recipe_of(), resume=False, overwrite=False) is None


@pytest.fixture
def interrupted(started, policy_of):
    """A run of which checkpoints 2 and 4 are there."""
    policy, _ = policy_of(started.recipe)
    for step in range(1, 6):
        started.log.write(step, {"loss": float(step)})
    started.tokens = 77
    for started.done in (2, 3, 4):
        policy.version = started.done
        started.save_if_due(policy, Stream())
    return started


def test_checkpoints_are_saved_when_due_and_pruned(interrupted):
    root = interrupted.folder / "checkpoints"
    assert sorted(path.name for path in root.iterdir()) == ["step-2", "step-4"]


def test_resuming_takes_the_newest_good_checkpoint(interrupted, recipe_of, caplog):
    recipe, root = recipe_of("train.steps=9"), interrupted.folder / "checkpoints"
    assert find_checkpoint(recipe, resume=True, overwrite=False) == root / "step-4"
    assert caplog.text == ""
    weights = root / "step-4" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    assert find_checkpoint(recipe, resume=True, overwrite=False) == root / "step-2"
    assert f"{root / 'step-4'} is damaged" in caplog.text  # the steps after it are silently lost otherwise


def test_a_resumed_run_goes_on_with_its_counts_and_forgets_later_lines(interrupted, recipe_of):
    recipe = recipe_of("train.steps=9")
    run = Run(recipe, PlainView(CONSOLE), interrupted.folder / "checkpoints" / "step-4")
    assert list(run.steps_left()) == [4, 5, 6, 7, 8]
    assert (run.done, run.tokens, run.state["prompts"]) == (4, 77, {"epoch": 0})
    assert run.seconds >= run.state["seconds"] > 0
    opened = run._step_start
    run.evaluate_if_due(None, None)
    assert run._step_start > opened  # what it took to start again is no part of the first step
    run.log.write(5, {"loss": 0.0})
    assert [(row["step"], row["loss"]) for row in read_metrics(run.folder)] == [
        (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 0.0)
    ]  # fmt: skip
    assert "steps: 9" in (run.folder / "recipe.yaml").read_text()


def test_a_changed_recipe_is_refused_by_its_keys(interrupted, recipe_of):
    line = refused(recipe_of("train.lr=0.5", "rollout.group_size=4", "train.steps=9"), resume=True)
    assert re.search(r"other values of rollout.group_size \(\d+, now 4\), train.lr \(\S+, now 0.5\)\.", line)
    assert "recipe.yaml" in line
    assert "other values of algorithm.surrogate.high (0.2, now 0.3)" in refused(
        recipe_of("algorithm.surrogate.high=0.3"), resume=True
    )
    # lists are compared whole
    assert "other values of rewards" in refused(
        recipe_of("rewards=[{rule: format, weight: 2.0}]"), resume=True
    )
    # a section that comes or goes
    changed = recipe_of().model_copy(update={"pretrain": None})
    with pytest.raises(UserError, match="other values of pretrain"):
        check_same_recipe(recipe_of(), changed)


def test_a_resumed_run_may_have_another_cache_but_no_other_engine(recipe_of):
    check_same_recipe(recipe_of(), recipe_of("rollout.engine_args.kv_cache_memory_bytes=1000"))
    with pytest.raises(UserError, match=r"other values of rollout\.engine_args"):
        check_same_recipe(recipe_of(), recipe_of("rollout.engine_args.block_size=64"))


@pytest.mark.parametrize(
    "free",
    [
        "train.steps=9",
        "train.save_every=1",
        "train.keep=1",
        "train.token_budget=70",
        "train.gradient_checkpointing=true",
        "eval.every=7",
    ],
)
def test_what_does_not_alter_the_steps_taken_may_change(interrupted, recipe_of, free):
    changes = {"train.steps=9", free}
    assert find_checkpoint(recipe_of(*changes), resume=True, overwrite=False)


def test_a_run_cannot_end_at_a_step_it_has_passed(interrupted, recipe_of, group_of):
    assert "train.steps: 3, but the run has taken 4" in refused(recipe_of("train.steps=3"), resume=True)
    # nor where it stands, as long as its last evaluation is not there
    assert "Resume with more than 4." in refused(recipe_of("train.steps=4"), resume=True)
    evaluate, _ = evaluations(interrupted, group_of)
    interrupted.evaluate_if_due(evaluate, None)
    assert find_checkpoint(recipe_of("train.steps=4"), resume=True, overwrite=False).name == "step-4"


def test_the_recorded_recipe_is_one_that_resumes(interrupted):
    again = load_recipe(interrupted.folder / "recipe.yaml", ["train.steps=9"])
    assert find_checkpoint(again, resume=True, overwrite=False).name == "step-4"


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_next_command_is_one_that_is_accepted(interrupted, recipe_of, schedule):
    """A schedule over all steps cannot be stretched: there a new run starts from the trained policy."""
    recipe = recipe_of(f"train.schedule={schedule}")
    (interrupted.folder / "recipe.yaml").write_text(dump_recipe(recipe))
    said = go_on_command(recipe, 4).split()
    overrides = [word for word in said[3:] if "=" in word]
    again = load_recipe(said[2], overrides)
    found = find_checkpoint(again, resume="--resume" in said, overwrite=False)
    at = interrupted.folder / "checkpoints" / "step-4"
    assert at in (found, Path(again.model.path or ""))
    assert again.pretrain is None or again.train.steps == 8


def test_after_an_adapters_run_the_next_command_merges_first(recipe_of):
    recipe = recipe_of("train.schedule=linear", "model.adapter={}")
    folder = recipe.output.folder
    merge, train = go_on_command(recipe, 4).split(" && ")
    assert merge == f"grpo merge {folder}/checkpoints/step-4 {folder}-merged"
    assert f"model.path={folder}-merged pretrain=null" in train
    assert go_on_command(recipe_of("model.adapter={}"), 4).endswith("train.steps=8 --resume")


def test_mostly_ungraded_completions_stop_the_run(started, scorer, drawn, group_of):
    from dataclasses import replace

    from rewards.score import Score

    started.check_graded(scorer, drawn(1.0, None))  # a rule that does not apply has not failed
    with pytest.raises(RunError, match="no rule gave any completion a score"):
        started.check_graded(scorer, drawn(None, None))
    failed = [(Score(None, "error", 0.0, {"error": "KeyError"}),), (Score(1.0, "ok", 0.0, {}),)]
    broken = Gathered([replace(drawn(1.0, 1.0).groups[0], scores=tuple(failed))])
    with pytest.raises(RunError, match=r"50% of the completions could not be graded, over .* 20%.*parquet"):
        started.check_graded(scorer, broken)
    # under the step's own number: the samples of the step before stay as they are
    assert [path.name for path in (started.folder / "samples").iterdir()] == ["step-000001.parquet"]


@pytest.fixture
def one_raised(drawn):
    """A step of two completions; the rule raised on the second."""
    from dataclasses import replace

    from rewards.score import Score

    scores = (
        (Score(1.0, "ok", 0.0),),
        (Score(None, "error", 0.0, {"error": "KeyError: 'cm', r.py line 3"}),),
    )
    return Gathered([replace(drawn(1.0, 1.0).groups[0], scores=scores)])


RAISED = r"rule 'format' raised on 1/1\+2=/1: KeyError: 'cm', r\.py line 3"


@pytest.mark.parametrize(("policy", "score"), [("exclude", None), ("zero", 0.0)])
def test_a_rule_that_raises_is_told_once_and_costs_what_the_recipe_says(
    recipe_of, scorer, one_raised, policy, score
):
    view = Notes()
    run = Run(recipe_of(f"train.on_rule_error={policy}", "train.max_ungraded=0.5"), view, None)
    for _ in range(2):
        (group,) = run.check_graded(scorer, one_raised)
    assert [row[0].score for row in group.scores] == [1.0, score]
    assert scorer.metrics([group])["reward/ungraded"] == 0.5  # counted either way
    assert scorer.metrics([group])["reward/format"] == (1.0 if score is None else 0.5)
    (note,) = view.notes
    assert re.fullmatch(RAISED + r"; its score is (left out|0) \(train.on_rule_error\)", note)
    assert ("left out" in note) is (policy == "exclude")


def test_a_rule_that_raises_can_stop_the_run(recipe_of, scorer, one_raised, drawn):
    run = Run(recipe_of("train.on_rule_error=stop", "train.max_ungraded=1"), Notes(), None)
    run.check_graded(scorer, drawn(1.0, None))
    with pytest.raises(RunError, match=f"^step 1: {RAISED}") as error:
        run.check_graded(scorer, one_raised)
    assert "\n" not in str(error.value)
    assert (run.folder / "samples" / "step-000001.parquet").exists()


def evaluations(started, group_of):
    """An `evaluate` that notes what it is asked for."""
    asked = []

    def evaluate(engine, part):
        asked.append((started.done, part))
        group = group_of("1+2=", ["1"], scores=[(1.0,)])
        return [
            summarise([group], ["accuracy"], [True], name=part, version=started.done, prompts=1, samples=1)
        ]

    return evaluate, asked


def test_evaluations_come_when_due_and_the_report_only_at_the_ends(started, group_of, scorer, drawn):
    evaluate, asked = evaluations(started, group_of)
    started.note_metrics({"mismatch/sync_mean": 0.5})
    started.evaluate_if_due(evaluate, None)
    for step in started.steps_left():
        gathered = drawn(1.0, 0.0)
        started.record(step, scorer, gathered, gathered.groups, {"loss": 0.0})
        started.evaluate_if_due(evaluate, None)
    both = ["select", "sets"]
    assert asked == [
        *((0, part) for part in (*both, "report", "protocols")),
        *((2, part) for part in both),
        *((4, part) for part in (*both, "report", "protocols")),
    ]
    rows = read_metrics(started.folder)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[0]["mismatch/sync_mean"] == 0.5
    assert ["eval/select/pass@1" in row for row in rows] == [True, False, True, False, True]
    assert started.tokens == sum(row["tokens"] for row in rows[1:]) == 8
    summary = started.finish(CONSOLE)
    assert summary["base"]["version"] == 0
    assert summary["trained"]["version"] == 4
    assert (started.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_resumed_where_an_evaluation_was_due_does_not_repeat_it(interrupted, recipe_of, group_of):
    run = Run(recipe_of("train.steps=9"), PlainView(CONSOLE), interrupted.folder / "checkpoints" / "step-4")
    evaluate, asked = evaluations(run, group_of)
    run.evaluate_if_due(evaluate, None)
    assert asked == []
