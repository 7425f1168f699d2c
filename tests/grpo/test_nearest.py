"""The hint at the end of an error line."""

from grpo.nearest import suggest


def test_the_nearest_name_else_the_list_else_nothing():
    assert suggest("group_sise", ["max_tokens", "group_size"]) == "Did you mean group_size?"
    assert suggest("zzz", ["a", "b"], "Keys") == "Keys: a, b"
    assert suggest("zzz", ["a"], "") == ""
    assert suggest("zzz", []) == ""
