"""Where rows come from, and the one line that says what is wrong with them."""

import json
from pathlib import Path

import pytest

from grpo.errors import RunError, UserError
from grpo.sources import parse_source, read_file, read_rows

ROWS = [{"prompt": "1+1=", "answer": "2"}, {"prompt": "é", "answer": "x\ny"}]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRPO_DATA", raising=False)


def read(text: str, options=None, seed: int = 0):
    return read_rows(parse_source(text), options or {}, seed)


def refused(text: str, options=None) -> str:
    with pytest.raises(UserError) as caught:
        read(text, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_jsonl_parquet_and_csv_give_the_same_rows():
    import pyarrow
    from pyarrow import parquet

    Path("r.jsonl").write_text("\n\n".join(json.dumps(row) for row in ROWS) + "\n", encoding="utf-8")
    Path("r.csv").write_text('prompt,answer\n1+1=,2\né,"x\ny"\n', encoding="utf-8")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), "r.parquet")
    assert read("r.jsonl") == read("r.csv") == read("r.parquet") == ROWS


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.jsonl", b'{"a": 1}\n\n{"a": }\n', "r.jsonl:3: malformed JSON: Expecting value (column 7)"),
        ("r.jsonl", b'{"a": 1}\n[1]\n', "r.jsonl:2: not a JSON object"),
        ("r.jsonl", b'{"a": "\xff"}\n', "r.jsonl: not UTF-8 text"),
        ("r.csv", b"a,b\n1,2\n3\n", "r.csv:3: not 2 values as in the header"),
        ("r.csv", b"a,b\n1,2,3\n", "r.csv:2: not 2 values as in the header"),
        ("r.parquet", b"no parquet", "r.parquet: not a Parquet file"),
    ],
)
def test_malformed_files_name_the_line(name, content, said):
    Path(name).write_bytes(content)
    assert refused(name).startswith(said)


def test_a_folder_comes_before_the_working_directory(tmp_path):
    (tmp_path / "sub").mkdir()
    Path("r.jsonl").write_text('{"a": 1}')
    assert parse_source("r.jsonl", Path("sub")).path == Path("r.jsonl")
    Path("sub/r.jsonl").write_text('{"a": 2}')
    assert read_file(parse_source("r.jsonl", Path("sub")).path) == [{"a": 2}]


def test_a_function_gives_rows_for_its_options():
    Path("my.py").write_text(
        "def rows(count=2):\n    for i in range(count):\n        yield {'prompt': str(i), 'answer': i}\n"
        "def none():\n    return 3\n"
        "def fails():\n    raise KeyError('lost')\n"
    )
    assert len(read("my.py:rows")) == 2
    assert read("my.py:rows", {"count": 1}) == [{"prompt": "0", "answer": 0}]
    assert "data.options do not fit" in refused("my.py:rows", {"cuont": 1})
    assert "Did you mean rows?" in refused("my.py:row")
    assert "does not give rows" in refused("my.py:none")
    assert "raised KeyError: 'lost'" in refused("my.py:fails")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\nimport nowhere\n", "broken.py:2: does not import: ModuleNotFoundError"),
        ("x = 1\n\nx =\n", "broken.py:3: does not import: SyntaxError"),
    ],
)
def test_a_file_that_does_not_import_names_the_line(code, said):
    Path("broken.py").write_text(code)
    assert said in refused("broken.py:rows")


def test_generated_sets_take_options():
    assert len(read("addition", {"digits": 1, "count": 45})) == 45
    assert "Did you mean digits?" in refused("addition", {"digit": 1})
    assert "there are 1 to 45 pairs" in refused("addition", {"digits": 1, "count": 99})


def test_a_set_is_read_from_the_data_folder_and_must_be_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("GRPO_DATA", str(tmp_path))
    Path("gsm8k_test.jsonl").write_text('{"question": "q", "answer": "#### 1"}\n' * 1318)
    assert "has 1318 rows, the published set 1319" in refused("gsm8k:test")
    Path("gsm8k_test.jsonl").write_text('{"question": "q", "answer": "#### 1"}\n' * 1319)
    assert len(read("gsm8k:test")) == 1319


def test_the_hub_out_of_reach_is_one_line():
    with pytest.raises(RunError, match=r"org/nowhere:train: could not be loaded: .*GRPO_DATA") as caught:
        read("org/nowhere")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reasoning_gym", "no task is named"),
        ("addition:test", "addition has no split 'test'. Splits: train"),
        ("gsm9k", "Did you mean gsm8k?"),
        ("rows.json", "Files end in .jsonl, .parquet or .csv"),
    ],
)
def test_sources_that_name_nothing(text, said):
    assert said in refused(text)


def test_reasoning_gym_tasks():
    pytest.importorskip("reasoning_gym")
    rows = read("reasoning_gym:chain_sum", {"size": 3, "min_terms": 2, "max_terms": 2}, seed=5)
    assert len(rows) == 3
    assert {"prompt", "answer", "metadata"} <= set(rows[0])
    made = {"size": 3, "min_terms": 2, "max_terms": 2, "seed": 5}
    assert (rows[0]["task"], rows[0]["task_options"]) == ("chain_sum", made)
    assert rows == read("reasoning_gym:chain_sum", {"size": 3, "min_terms": 2, "max_terms": 2, "seed": 5})
    assert rows != read("reasoning_gym:chain_sum", {"size": 3, "min_terms": 2, "max_terms": 2}, seed=6)
    assert "Did you mean chain_sum?" in refused("reasoning_gym:chain_sun")
    assert "data.options do not fit" in refused("reasoning_gym:chain_sum", {"sise": 3})
