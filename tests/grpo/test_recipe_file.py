"""Recipes: what is read, what is refused and in which words."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import grpo
from grpo.errors import UserError
from grpo.losses import PRESETS
from grpo.recipe_file import RecipeError, describe_recipe, dump_recipe, load_recipe, shipped_recipes
from grpo.terms import KINDS, TABLES, options_of

GOOD = """\
model: {path: org/base}
data: {train: gsm8k, template: r1_zero}
rewards:
  - {rule: accuracy}
output: {folder: runs/x}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_recipe(text: str) -> str:
        Path("r.yaml").write_text(text)
        return "r.yaml"

    return write_recipe


def problems(recipe: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_validates_and_its_dump_is_the_same_recipe(name, write):
    recipe = load_recipe(name)
    dumped = write(dump_recipe(recipe))
    assert load_recipe(dumped) == recipe
    assert load_recipe(dumped, ["train.steps=7"]) != recipe
    purpose, device = describe_recipe(Path(grpo.__file__).parent.parent / "recipes" / f"{name}.yaml")
    assert purpose
    assert device


def test_text_that_looks_like_a_number_survives_the_dump(write):
    text = GOOD.replace("template: r1_zero", "template: chat, system: '1e-6'").replace("runs/x", "'010'")
    recipe = load_recipe(write(text))
    assert (recipe.data.system, recipe.output.folder) == ("1e-6", "010")
    assert load_recipe(write(dump_recipe(recipe))) == recipe


def test_demo_and_the_gpu_recipe_are_shipped():
    assert {"demo", "r1_zero_gsm8k"} <= set(shipped_recipes())
    assert grpo.load_recipe("demo").pretrain is not None


def test_every_mistake_is_reported_at_once_in_file_order(write):
    found = problems(
        write(
            """\
model: {path: org/base, dtype: bf16}
data:
  train: gsm8k
  template: r1zero
rollout:
  group_sise: 4
  max_tokens: "64"
  top_p: 0.9
rewards:
  - {rule: acuracy}
  - {rule: format, wieght: 2}
algorithm: {preset: grop, kl: {name: k4}, surrogate: {name: clip, lo: 1}}
train:
  steps: many
  lr: -1e-6
  gradient_checkpointing: on
  betas: [0.9]
outptu: {}
"""
        )
    )
    expected = [
        "r.yaml:1 model.dtype: 'bf16' is none of float32, bfloat16. Did you mean bfloat16?",
        "r.yaml:4 data.template: no template 'r1zero'. Did you mean r1_zero?",
        "r.yaml:6 rollout.group_sise: unknown key. Did you mean group_size?",
        "r.yaml:7 rollout.max_tokens: should be a whole number, is '64'",
        "r.yaml:8 rollout.top_p: not available in training. Truncated sampling draws from another",
        "r.yaml:10 rewards.0.rule: no rule is named 'acuracy'. Did you mean 'accuracy'?",
        "r.yaml:11 rewards.1.wieght: unknown key or option. Did you mean weight?",
        "r.yaml:12 algorithm.preset: no preset 'grop'. Did you mean grpo?",
        "r.yaml:12 algorithm.surrogate.lo: unknown option. Did you mean low?",
        "r.yaml:12 algorithm.kl: no kl term 'k4'. Terms: k3",
        "r.yaml:14 train.steps: should be a whole number, is 'many'",
        "r.yaml:15 train.lr: should be above 0, is -1e-06",
        "r.yaml:16 train.gradient_checkpointing: 'on' is none of true, false, auto",
        "r.yaml:17 train.betas.1: missing",
        "r.yaml:18 outptu: unknown section. Did you mean output?",
        "r.yaml output: missing. Give at least folder",
    ]
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "rollout.group_size=1",
            "should be at least 2, is 1. Advantages compare the completions of one prompt",
        ),
        ("train.minibatches=5", "5 does not divide prompts_per_step 32"),
        ("data.holdout=0", "should be above 0, is 0. The summary compares base and trained policy"),
        ("tain.lr=1", "command line: tain: unknown section. Did you mean train?"),
        ("lr=1", "command line: lr: unknown section. Did you mean pretrain.lr or train.lr?"),
        ("rollout.warmup_steps=1", "rollout.warmup_steps: unknown key. Did you mean train.warmup_steps?"),
        ("weight=1", "command line: weight: unknown section. Sections: model"),
        ("train.sedd=1", "command line: train.sedd: unknown key. Keys: steps"),
        ("pretrain={}", "given together with a pretrain section"),
        ("model.path=null", "missing. Give a folder or hub id, or a pretrain section"),
        ("model.path=./nowhere", "./nowhere is no folder"),
        ("model.path=./r.yaml", "./r.yaml is a file"),
        ("model.path=.", ". has no config.json"),
        ("rollout.context=512", "512 leaves no room for a prompt in a context of 512"),
        ("algorithm.kl.coef=-0.1", "below 0 would reward drift"),
        ("algorithm.kl.coef=high", "should be a number, is 'high'"),
        ("algorithm.kl.coef=true", "should be a number, is True"),
        ("algorithm.advantage.ddof=1.5", "should be a whole number, is 1.5"),
        ("algorithm.kl=[k3]", "should be a name or a mapping"),
        ("data.system=Be brief", "the template r1_zero has no system prompt"),
        ("data.gold='####'", "the regular expression should have one group"),
        ("data.gold='(['", "no regular expression"),
        ("data.gold=nowhere.py:gold", "no such file 'nowhere.py'"),
        ("data.train=gsm9k", "no data set 'gsm9k'. Did you mean gsm8k?"),
        ("data.train=gsm8k:tets", "gsm8k has no split 'tets'. Did you mean test?"),
        ("data.train=rows.jsonl", "no such file 'rows.jsonl'"),
        ("eval.sets=[gsm8k:test, nope]", "eval.sets.1: no data set 'nope'"),
        ("rewards=[]", "should have at least 1 item(s)"),
        ("rewards.0.rule=nowhere.py:f", "no such file 'nowhere.py'"),
        ("output.folder=''", "should not be empty"),
        ("output.seed=-1", "should be at least 0, is -1"),
        ("output.seed=4294967296", "should be below 4294967296, is 4294967296"),
        ("train.lr=.nan", "should be a finite number, is nan"),
        ("rewards.0.weight=.inf", "should be a finite number"),
        ("rollout=3", "should be a mapping"),
        ("train.schedule=cosin", "Did you mean cosine?"),
    ],
)
def test_what_cannot_work_is_refused_on_the_command_line_too(write, override, said):
    found = problems(write(GOOD), override)
    assert any(said in line for line in found), found
    assert all(line.startswith(("command line: ", "r.yaml")) for line in found)


def test_a_wrong_value_hides_no_mistake_beside_it(write):
    rows = Path("rows.jsonl")
    rows.write_text("{}")
    said = problems(
        write(
            """\
model: {path: ./nowhere, dtype: int8}
data: {train: rows.jsonl, template: chta, gold: '####', options: {a: 1}, holdout: 2}
rollout: {max_tokens: 64, context: 32, temperature: 0}
rewards: [{rule: accuracy}]
train: {lr: -1, minibatches: 5}
output: {folder: runs/x}
"""
        )
    )
    assert [line.partition(": ")[0] for line in said] == [
        "r.yaml:1 model.dtype",
        "r.yaml:1 model.path",
        "r.yaml:2 data.template",
        "r.yaml:2 data.gold",
        "r.yaml:2 data.options",
        "r.yaml:2 data.holdout",
        "r.yaml:3 rollout.temperature",
        "r.yaml:3 rollout.max_tokens",
        "r.yaml:5 train.lr",
        "r.yaml:5 train.minibatches",
    ]


OWN_RULE = """
import math

def brevity(completions, *, target=60, **columns):
    return [1.0 for _ in completions]
"""


@pytest.mark.parametrize(
    ("own", "source", "said"),
    [
        (
            "rules.py:brevity, taget: 1",
            OWN_RULE,
            "rewards.0.taget: unknown key or option. Did you mean target?",
        ),
        (
            "rules.py:brevty",
            OWN_RULE,
            "rewards.0.rule: rules.py has no function 'brevty'. Did you mean brevity?",
        ),
        ("rules.py:brevity, target: 1", OWN_RULE, None),
        ("rules.py:math", OWN_RULE, None),  # whether an import can be called shows when it is loaded
        ("rules.py:made", "made = print", None),
        ("rules.py:f, x: 1", "@wrapped\ndef f(): ...", None),
        ("rules.py:f", "def f(:", None),  # told with its line when it is loaded
    ],
)
def test_a_rule_of_ones_own_is_checked_by_its_source(write, own, source, said):
    Path("rules.py").write_text(source)
    recipe = write(GOOD.replace("rule: accuracy", f"rule: {own}"))
    if said is None:
        load_recipe(recipe)
    else:
        assert problems(recipe) == [f"r.yaml:4 {said}"]


def test_a_combination_is_not_judged_by_a_value_that_is_wrong(write):
    said = problems(write(GOOD), "rollout.max_tokens=many", "rollout.context=16", "train.minibatches=0.5")
    assert [line.partition(": ")[2].partition(": ")[0] for line in said] == [
        "rollout.max_tokens",
        "train.minibatches",
    ]


def test_pretraining_sets_the_longest_context(write):
    recipe = write(
        "pretrain: {context: 64, hidden_size: 60}\n" + GOOD.replace("model: {path: org/base}\n", "")
    )
    assert problems(recipe, "rollout.context=65", "rollout.max_tokens=8") == [
        "r.yaml:1 pretrain.heads: 4 heads of hidden_size 60 are of a width vLLM lacks. "
        "Make hidden_size / heads one of 32, 64, 80, 96, 112, 128",
        "command line: rollout.context: 65 is more than pretrain.context 64 allows. "
        "Use fewer, or raise pretrain.context",
    ]
    assert "rollout.max_tokens: 64 is more" in problems(recipe, "rollout.max_tokens=64")[1]
    ok = load_recipe(recipe, ["rollout.max_tokens=63", "pretrain.hidden_size=128"])
    assert ok.pretrain is not None
    assert ok.pretrain.context == 64


def test_terms_come_from_the_preset_and_keep_its_options(write):
    recipe = load_recipe(write(GOOD), ["algorithm.preset=dapo", "algorithm.surrogate.low=0.1"])
    assert recipe.algorithm.surrogate.name == "clip"
    assert recipe.algorithm.surrogate.options == {"low": 0.1, "high": 0.28}
    assert recipe.algorithm.aggregate.name == "token_mean"


def test_a_term_of_another_name_takes_its_own_defaults(write):
    recipe = load_recipe(write(GOOD), ["algorithm.correction=none"])
    assert recipe.algorithm.correction.options == {}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_preset_shows_every_option_of_every_term(write, preset):
    algorithm = load_recipe(write(GOOD), [f"algorithm.preset={preset}"]).algorithm
    for kind in KINDS:
        term = getattr(algorithm, kind)
        assert set(term.options) == set(options_of(TABLES[kind][term.name]))
        given = {name: value for name, value in PRESETS[preset][kind].items() if name != "name"}
        assert given.items() <= term.options.items()


def test_options_of_rules_and_generated_sets_are_filled_in(write):
    text = GOOD.replace("gsm8k", "addition").replace("r1_zero", "raw").replace("accuracy}", "format}")
    recipe = load_recipe(write(text), ["data.options.digits=2"])
    assert recipe.data.options == {"digits": 2, "count": 8192, "seed": 0}
    assert "prefilled" in recipe.rewards[0].options
    assert "Did you mean digits?" in problems("r.yaml", "data.options.digit=2")[0]
    assert "should be a whole number" in problems("r.yaml", "data.options.digits=two")[0]


def test_files_beside_the_recipe_are_found_from_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "my.py").write_text(
        "def rule(prompts, completions): return [1.0 for _ in completions]"
    )
    (tmp_path / "there" / "rows.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
    recipe = tmp_path / "there" / "r.yaml"
    recipe.write_text(GOOD.replace("gsm8k", "rows.jsonl").replace("accuracy", "my.py:rule"))
    monkeypatch.chdir(tmp_path / "here")
    loaded = load_recipe(recipe)
    assert loaded.data.train == str(tmp_path / "there" / "rows.jsonl")
    assert loaded.rewards[0].rule == f"{tmp_path / 'there' / 'my.py'}:rule"
    (tmp_path / "here" / "rows.jsonl").write_text("")
    assert load_recipe(recipe).data.train == "rows.jsonl"


def test_a_tilde_is_the_home_folder_everywhere(tmp_path, monkeypatch, write):
    home = tmp_path / "home"
    (home / "base").mkdir(parents=True)
    (home / "base" / "config.json").write_text('{"max_position_embeddings": 4096}')
    (home / "my.py").write_text("def rule(prompts, completions): return [1.0 for _ in completions]")
    (home / "rows.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
    monkeypatch.setenv("HOME", str(home))
    loaded = load_recipe(
        write(GOOD),
        [
            "model.path=~/base",
            "data.train=~/rows.jsonl",
            "data.gold=~/my.py:rule",
            "rewards=[{rule: '~/my.py:rule'}]",
            "eval.sets=['~/rows.jsonl']",
            "output.folder=~/runs",
        ],
    )
    found = [loaded.model.path, loaded.data.train, loaded.data.gold, loaded.rewards[0].rule]
    found += [*loaded.eval.sets, loaded.output.folder]
    names = ("base", "rows.jsonl", "my.py:rule", "my.py:rule", "rows.jsonl", "runs")
    assert found == [f"{home}/{name}" for name in names]


def test_a_missing_recipe_names_the_nearest_shipped_one(tmp_path):
    assert problems("dmo") == [
        "dmo: no such recipe file, and no shipped recipe of that name. Did you mean demo?"
    ]
    assert "is a folder" in problems(str(tmp_path))[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "model.path: missing"),
        (b"- a\n", "should be a mapping of sections"),
        (b"a: b: c", "malformed YAML"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"data:\nrewards:\n", "data.train: missing"),
    ],
)
def test_files_that_are_no_recipe(tmp_path, content, said):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    assert any(said in line for line in problems(str(path)))


def test_the_error_crosses_processes_whole():
    error = RecipeError([UserError("a", "x"), UserError("b", "y", "c")])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == "x: a\ny: b. c" == str(error)


def test_reading_a_recipe_loads_nothing_heavy():
    code = (
        "import sys, grpo, rewards, eval.sets\n"
        "try: grpo.load_recipe('demo', ['train.lr=x'])\n"
        "except grpo.UserError as error: assert 'train.lr' in str(error)\n"
        "grpo.load_recipe('r1_zero_gsm8k')\n"
        "heavy = {'torch', 'transformers', 'vllm', 'sympy', 'datasets', 'pyarrow', 'numpy'}\n"
        "found = heavy & set(sys.modules)\n"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
