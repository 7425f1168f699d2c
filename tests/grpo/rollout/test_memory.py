"""Free memory, of the machine and of a container."""

from pathlib import Path

import pytest

from grpo.rollout import memory


def test_no_more_than_the_machine_has():
    total = memory._meminfo("MemTotal")
    assert 0 < memory.free_memory() <= total


@pytest.mark.parametrize(("limit", "free"), [("max\n", None), ("1000000\n", 500_000), ("300000\n", 0)])
def test_a_cgroup_limit_counts_without_reclaimable_cache(limit, free, tmp_path, monkeypatch):
    (tmp_path / "max").write_text(limit)
    (tmp_path / "current").write_text("700000\n")
    (tmp_path / "stat").write_text("anon 500000\ninactive_file 200000\n")
    files = [(tmp_path / "max", tmp_path / "current", tmp_path / "stat"), (Path("/none"),) * 3]
    monkeypatch.setattr(memory, "_cgroup_files", lambda: files)
    found = memory.free_memory()
    assert found == free if free is not None else found > 1_000_000


def test_sizes_in_words():
    assert [memory.size(n) for n in (1023, 1024, 5 << 19, 3 << 30)] == [
        "1023 bytes",
        "1.0 KiB",
        "2.5 MiB",
        "3.0 GiB",
    ]
