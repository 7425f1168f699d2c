"""What a recipe would do, told without loading a model."""

import json

import pytest

from grpo.dry_run import plan
from grpo.errors import UserError
from grpo.recipe_file import load_recipe

SMALL = ["data.options.digits=2", "data.options.count=200", "train.steps=5", "train.prompts_per_step=4"]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRPO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint(tmp_path):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: i for i, letter in enumerate("?0123456789+=")}
    inner = Tokenizer(models.WordLevel(letters, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    folder = tmp_path / "base"
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="?").save_pretrained(folder)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 13}
    config = {"model_type": "llama", "max_position_embeddings": 256, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(bytes(1_500_000))
    return str(folder)


RULES = """
def broken(prompts, completions, **columns):
    raise KeyError("no such thing")
"""


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rewards=[{rule: rules.py:broken}]", r"raises on every gold tried, on \w+: KeyError"),
        ("rewards=[{rule: rules.py:nothing}]", "no function 'nothing'"),
        ("data.train=bad.jsonl", "1 of 60 golds are not right by accuracy"),
        ("data.train=three.jsonl", r"a holdout of 0.1 leaves none of 3 prompts"),
        ("eval.sets=[columns.jsonl]", "row 1 has no column 'prompt'"),
    ],
)
def test_what_a_run_would_refuse_is_refused(tmp_path, monkeypatch, override, said):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{x}+0=", "answer": str(x), "pair": str(x)} for x in range(60)]
    files = {
        "bad": [*rows[:59], {**rows[59], "answer": "</answer>"}],
        "three": rows[:3],
        "columns": [{"q": 1}],
    }
    for name, content in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    (tmp_path / "rules.py").write_text(RULES)
    base = [] if "data.train" in override else SMALL[:2]
    changes = ["data.options={}", "pretrain=null", "model.path=org/base"] if not base else []
    with pytest.raises(UserError, match=said):
        plan(load_recipe("demo", [*changes, *base, override]))


def test_a_base_still_to_be_made():
    planned = plan(load_recipe("demo", SMALL))
    assert planned.checkpoint == "none yet: made by the recipe's pretrain section"
    assert (planned.checkpoint_bytes, planned.prompt_tokens, planned.reference) == (None, None, False)
    assert planned.prompt is not None
    assert planned.prompt.endswith("=")
    assert sum(planned.rows.values()) == 200
    assert planned.completions == 5 * 4 * 8


def test_a_checkpoint_on_this_machine(checkpoint):
    recipe = load_recipe(
        "demo", [*SMALL, "pretrain=null", f"model.path={checkpoint}", "algorithm.kl.coef=0.1"]
    )
    planned = plan(recipe)
    assert (planned.checkpoint, planned.checkpoint_bytes) == (checkpoint, 1_500_000)
    assert planned.reference
    assert planned.prompt is not None
    assert planned.prompt_tokens == len(planned.prompt)
    text = planned.to_text()
    for part in ("5 steps × 4 prompts × 8 = 160", "1.5 MB", "a frozen copy", planned.prompt, "6 tokens"):
        assert part in text
    assert json.loads(json.dumps(planned.to_json()))["recipe"]["model"]["path"] == checkpoint
    with pytest.raises(UserError, match="the model's context is 256"):
        plan(
            load_recipe("demo", [*SMALL, "pretrain=null", f"model.path={checkpoint}", "rollout.context=300"])
        )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.token_budget=98", r"the longest row may have \d+ tokens, \d of them the prompt's, more than"),
        (
            "eval.protocols=[{template: qa, shots: 30}]",
            r"a prompt of \d+ tokens, but completions leave \d+ of the context",
        ),
    ],
)
def test_prompts_too_long_are_refused_where_the_tokenizer_is_here(checkpoint, override, said):
    with pytest.raises(UserError, match=said):
        plan(load_recipe("demo", [*SMALL, "pretrain=null", f"model.path={checkpoint}", override]))


def test_an_adapter_is_shown_and_its_targets_looked_for(checkpoint):
    given = [*SMALL, "pretrain=null", f"model.path={checkpoint}", "algorithm.kl.coef=0.1"]
    text = plan(load_recipe("demo", [*given, "model.adapter={kind: dora, rank: 4}"])).to_text()
    assert "trained      dora of rank 4 on all-linear" in text
    assert "reference    the model without its adapter, no second copy" in text
    assert "trained      all weights" in plan(load_recipe("demo", given)).to_text()
    with pytest.raises(UserError, match=r"'query' matches no linear layer\. Write all-linear, or some of d"):
        plan(load_recipe("demo", [*given, "model.adapter={targets: [query]}"]))


def test_a_chat_template_waits_for_its_tokenizer(checkpoint):
    planned = plan(load_recipe("demo", [*SMALL, "data.template=chat"]))
    assert planned.prompt is None
    assert "rendered by the model's own tokenizer" in planned.to_text()
    with pytest.raises(UserError, match="no chat template"):
        plan(load_recipe("demo", [*SMALL, "pretrain=null", f"model.path={checkpoint}", "data.template=chat"]))


def test_what_would_stop_the_engine_is_told(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "0")
    with pytest.raises(UserError, match="is no size of a cache"):
        plan(load_recipe("demo", SMALL))


@pytest.mark.parametrize("name", ["r1_zero_math", "lora_math_7b"])
def test_recipes_for_a_gpu_are_planned_without_one(tmp_path, monkeypatch, name):
    """Their data, golds and rules, from files of the sets' form; rows without an answer are left out."""
    rows = [json.dumps({"problem": f"What is {i} + 1?", "answer": str(i + 1)}) + "\n" for i in range(500)]
    (tmp_path / "math500.jsonl").write_text("".join(rows))
    (tmp_path / "math_train.jsonl").write_text("".join(rows) + '{"problem": "And this?", "answer": ""}\n')
    monkeypatch.setenv("GRPO_DATA", str(tmp_path))
    planned = plan(load_recipe(name))
    assert sum(planned.rows.values()) == 501
    assert "What is 0 + 1?" in planned.prompt
    assert planned.checkpoint.startswith("Qwen/")


def test_countdown_is_planned_without_a_gpu():
    pytest.importorskip("reasoning_gym", reason="needs reasoning-gym")
    planned = plan(load_recipe("countdown_tinyzero", ["data.options.size=300"]))
    assert sum(planned.rows.values()) == 300
    assert "arithmetic expression" in planned.prompt


def test_memory_is_told_from_the_config_or_said_to_be_unknown(checkpoint):
    unknown = plan(load_recipe("demo", [*SMALL, "pretrain=null", "model.path=org/base"])).memory
    assert unknown.to_json()["unknown"].startswith("the config of org/base is not on this machine")
    small = plan(load_recipe("demo", SMALL))
    assert small.to_json()["memory"]["fits"]
    assert "fits in the 80.0 GiB of a GPU of 80 GiB" in plan(load_recipe("demo", SMALL), 80).to_text()
    tight = plan(load_recipe("demo", [*SMALL, "model.device=cpu"]), 1.1).memory
    assert tight.to_json()["room"]["bytes"] == int(1.1 * 2**30)
    assert not tight.to_json()["fits"]
    assert any(line.startswith("  would fit  ") for line in tight.to_lines())


def test_a_gpu_is_named_in_a_dry_run_alone(capsys):
    from grpo.cli import main

    with pytest.raises(SystemExit, match="2"):
        main(["train", "demo", "--gpu-gib", "80"])
    assert "--gpu-gib is for a dry run" in capsys.readouterr().err
