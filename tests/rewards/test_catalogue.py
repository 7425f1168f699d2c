from rewards import registry
from rewards.catalogue import catalogue


def test_every_rule_is_listed_with_its_first_line():
    found = {entry.name: entry for entry in catalogue()}
    assert list(found) == registry.names()
    assert found["accuracy"].meaning.startswith("1 where the completion's final answer equals the gold")
    assert (found["accuracy"].grades_answer, found["format"].grades_answer) == (True, False)
    assert found["format"].options == {"strict": True, "prefilled": False}
    assert [name for name, entry in found.items() if not entry.meaning] == []
    assert [name for name, entry in found.items() if "\n" in entry.meaning] == []
