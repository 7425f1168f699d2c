"""Lengths against the model's own context."""

import json

import pytest

from grpo.errors import UserError
from grpo.recipe_checks import check_context
from grpo.recipe_file import load_recipe


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
    with pytest.raises(UserError, match="cannot be read"):
        check_context(load_recipe("r1_zero_gsm8k"), tmp_path / "config.json")
