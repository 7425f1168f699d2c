"""What `grpo recipe explain` knows."""

import pytest

from grpo.errors import UserError
from grpo.explain import explain
from grpo.losses import PRESETS
from grpo.recipe import Recipe
from grpo.templates import TEMPLATES
from grpo.terms import TABLES


def test_every_key_has_a_type_and_a_meaning():
    entries = {entry.key: entry for entry in explain()}
    for section, field in Recipe.model_fields.items():
        assert entries[section].meaning
        model = field.annotation
        for name in getattr(model, "model_fields", {}):
            entry = entries[f"{section}.{name}"]
            assert entry.type
            assert entry.meaning
    assert "class" not in " ".join(entry.type for entry in entries.values())


@pytest.mark.parametrize(
    ("key", "type_name", "default"),
    [
        ("rollout.group_size", "whole number", "8"),
        ("model.dtype", "float32 | bfloat16", "bfloat16"),
        ("train.betas", "list of number", "[0.9, 0.999]"),
        ("train.gradient_checkpointing", "true | false | auto", "false"),
        ("data.train", "text", ""),
        ("data.gold", "text or none", "none"),
        ("data.columns", "mapping", "{}"),
        ("algorithm.kl", "name or mapping", "the preset's"),
        ("pretrain", "section", "none"),
        ("model.adapter", "section or none", "none"),
        ("model.adapter.rank", "whole number", "16"),
        ("model.adapter.alpha", "whole number", "32"),
        ("model.adapter.kind", "lora | dora", "lora"),
        ("model.adapter.sync", "merged | adapter", "merged"),
        ("model.adapter.targets", "list of text", "['all-linear']"),
    ],
)
def test_types_and_defaults(key, type_name, default):
    entry = explain(key)[0]
    assert (entry.key, entry.type, entry.default) == (key, type_name, default)


def test_names_that_can_stand_at_a_key_follow_it():
    keys = {entry.key for entry in explain()}
    assert {f"algorithm.{kind}.{name}" for kind, table in TABLES.items() for name in table} <= keys
    assert {f"algorithm.preset.{name}" for name in PRESETS} <= keys
    assert {f"data.template.{name}" for name in TEMPLATES} <= keys
    assert {"rewards.rule.accuracy", "rewards.rule.format", "data.train.addition"} <= keys
    (clip,) = explain("algorithm.surrogate.clip")
    assert clip.default == "low=0.2, high=0.2"
    assert "min(" in clip.meaning


def test_a_section_comes_with_its_keys_and_nothing_else():
    assert {entry.key.partition(".")[0] for entry in explain("rollout")} == {"rollout"}
    assert len(explain("rollout")) > 5


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("rollout.group_sise", "Did you mean rollout.group_size?"),
        ("group_size", "Did you mean rollout.group_size?"),
        ("zzz", "`grpo recipe explain` lists all"),
    ],
)
def test_a_wrong_key_gives_the_nearest(key, hint):
    with pytest.raises(UserError) as caught:
        explain(key)
    assert caught.value.instead == hint
