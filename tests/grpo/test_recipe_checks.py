"""Combinations that cannot work, told with the line that holds them."""

import json

import pytest

from grpo.errors import UserError
from grpo.recipe_checks import check_context
from grpo.recipe_file import load_recipe

RECIPE = """
model: {path: org/base}
data: {train: addition}
rewards: [{rule: accuracy}]
output: {folder: run}
"""


def refused(tmp_path, text: str, *overrides: str) -> list[str]:
    """What is said of a recipe with these lines at its end; its path left out."""
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE + text)
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_engine_arguments_that_cannot_be_given(tmp_path):
    pytest.importorskip("vllm")
    text = "rollout:\n  engine_args:\n    max_num_seq: 8\n    dtype: half\n    block_size: 16\n"
    assert refused(tmp_path, text) == [
        "r.yaml:8 rollout.engine_args.max_num_seq: vLLM has no argument max_num_seq. "
        "Did you mean max_num_seqs?",
        "r.yaml:9 rollout.engine_args.dtype: dtype cannot be set here. Set model.dtype",
    ]
    assert "command line: rollout.engine_args.xyz" in refused(tmp_path, "", "rollout.engine_args.xyz=1")[0]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ([], None),
        (["rollout.context=2049"], "rollout.context"),
        (["rollout.context=null", "rollout.max_tokens=2047"], None),
        (["rollout.context=null", "rollout.max_tokens=2048"], "rollout.max_tokens"),
        (["rollout.context=null", "rollout.max_tokens=9000"], "rollout.max_tokens"),
    ],
)
def test_context_of_the_model(tmp_path, overrides, key, nested):
    context = {"max_position_embeddings": 2048}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"text_config": context} if nested else context))
    recipe = load_recipe("r1_zero_gsm8k", overrides)
    if key is None:
        check_context(recipe, config)
    else:
        with pytest.raises(UserError, match="the model's context is 2048") as caught:
            check_context(recipe, config)
        assert caught.value.where == key


def test_a_config_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"config.json is no readable JSON mapping"):
        check_context(load_recipe("r1_zero_gsm8k"), tmp_path / "config.json")


def test_a_local_checkpoint_is_looked_at_with_the_recipe(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    given = [f"model.path={tmp_path}", "rollout.context=4096"]
    with pytest.raises(
        UserError, match=r"command line: rollout.context: 4096 tokens, but the model's context"
    ):
        load_recipe("r1_zero_gsm8k", given)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(
        UserError, match=r"command line: model.path: .*config.json is no readable JSON mapping"
    ):
        load_recipe("r1_zero_gsm8k", given)


def test_an_adapter_that_the_engine_cannot_apply(tmp_path):
    text = "model.adapter={kind: dora, sync: adapter, rank: 513}"
    assert refused(tmp_path, "rollout: {engine: hf}\n", text) == [
        "command line: model.adapter.sync: vLLM cannot apply dora beside its base. Write merged",
        "command line: model.adapter.sync: engine hf takes whole weights only. Write merged",
        "command line: model.adapter.sync: vLLM applies adapters of rank 512 at most, not 513. Write merged",
    ]


def test_an_adapter_is_not_sharded(tmp_path):
    assert refused(tmp_path, "", "model.adapter={}", "train.shard=fsdp2") == [
        "command line: train.shard: adapters are trained whole, on every process. Write none"
    ]


@pytest.mark.parametrize(
    ("template", "extract", "work"),
    [("qa", "final", "text or last_number"), ("raw", "text", "final or last_number")],
)
def test_a_rule_that_looks_where_no_answer_stands(tmp_path, template, extract, work):
    text = f"rewards:\n  - rule: accuracy\n    extract: {extract}\n"
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.replace("rewards: [{rule: accuracy}]\n", text))
    with pytest.raises(UserError) as caught:
        load_recipe(path, [f"data.template={template}"])
    assert str(caught.value) == (
        f"{path}:6 rewards.0.extract: accuracy looks elsewhere for the answer than template {template} "
        f"asks for it. Write extract: {work}"
    )


@pytest.mark.parametrize(
    ("protocols", "said"),
    [
        ("[{temperature: 1.0}]", "eval.protocols.0: asks as the recipe itself does"),
        (
            "[{template: chat, system: A}, {template: chat, system: B}]",
            "eval.protocols.1: asks as protocol 0",
        ),
    ],
)
def test_protocols_that_would_be_kept_under_one_name(tmp_path, protocols, said):
    (line,) = refused(tmp_path, "", f"eval.protocols={protocols}")
    assert said in line


def test_a_budget_below_a_completion(tmp_path):
    assert refused(tmp_path, "rollout: {max_tokens: 64}\n", "train.token_budget=64") == [
        "command line: train.token_budget: 64 cannot hold a completion of 64 tokens and its prompt. "
        "Raise it, or lower rollout.max_tokens"
    ]


def test_adapters_that_work(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    assert load_recipe(path).model.adapter is None
    plain = load_recipe(path, ["model.adapter={}"]).model.adapter
    assert (plain.kind, plain.rank, plain.alpha, plain.sync) == ("lora", 16, 32, "merged")
    assert plain.targets == ["all-linear"]
    for overrides in (
        ["model.adapter={kind: dora, rank: 1024, targets: q_proj}", "rollout.engine=hf"],
        ["model.adapter={rank: 512, targets: [q_proj, v_proj], sync: adapter}"],
    ):
        load_recipe(path, overrides)


def test_mistakes_in_an_adapter(tmp_path):
    text = "model.adapter={kind: lorra, rank: 0, alpha: 1.5, targets: [], dropout: 0.1, snc: merged}"
    assert refused(tmp_path, "", text) == [
        "command line: model.adapter.kind: 'lorra' is none of lora, dora. Did you mean lora?",
        "command line: model.adapter.rank: should be at least 1, is 0",
        "command line: model.adapter.alpha: should be a whole number, is 1.5",
        "command line: model.adapter.targets: should have at least 1 item(s)",
        "command line: model.adapter.dropout: unknown key. Keys: kind, rank, alpha, targets, sync",
        "command line: model.adapter.snc: unknown key. Did you mean sync?",
    ]


def test_a_path_to_an_adapter_says_how_to_merge_it(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError) as caught:
        load_recipe("r1_zero_gsm8k", [f"model.path={tmp_path}"])
    assert str(caught.value) == (
        f"command line: model.path: {tmp_path} is a PEFT adapter, no whole checkpoint. "
        f"Merge it into its base first: grpo merge {tmp_path} OUT"
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["rollout.device=cuda"], "rollout.device: 'cuda' names no GPU"),
        (["rollout.device=cpu"], "rollout.device: 'cpu' names no GPU"),
        (["rollout.device=cuda:0"], "rollout.device: cuda:0 is the trainer's"),
        (["rollout.device=cuda:1", "rollout.sleep=true"], "rollout.sleep: an engine on a GPU of its own"),
        (
            ["rollout.engine=hf", "rollout.sleep=true"],
            "rollout.sleep: engine hf computes in the trainer's process",
        ),
        (["rollout.engine=hf", "rollout.device=cuda:1"], "rollout.device: engine hf computes"),
        (["rollout.engine_args={enable_sleep_mode: true}"], "Set rollout.sleep"),
    ],
)
def test_placement_that_cannot_be(overrides, said):
    with pytest.raises(UserError) as caught:
        load_recipe("r1_zero_gsm8k", overrides)
    assert said in str(caught.value)


def test_placement_that_can_be():
    assert load_recipe("r1_zero_gsm8k", ["rollout.device=cuda:1"]).rollout.device == "cuda:1"
    assert (
        load_recipe("r1_zero_gsm8k", ["rollout.device=cuda:0", "model.device=cpu"]).rollout.device == "cuda:0"
    )
    assert load_recipe("r1_zero_gsm8k", ["rollout.sleep=true"]).rollout.sleep
