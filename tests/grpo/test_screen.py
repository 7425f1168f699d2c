import math

import pytest
from rich.console import Console

from grpo.screen import chart, clock, coloured, safe, short, sparkline


def styles(text) -> dict[str, str]:
    return {text.plain[span.start : span.end]: str(span.style) for span in text.spans}


def test_model_text_cannot_act_on_the_terminal():
    hostile = "a\x1b[2J\x1b]0;owned\x07\rb\tc\x9b31m\u202ed\udc80"
    assert safe(hostile) == r"a\x1b[2J\x1b]0;owned\x07\rb    c\x9b31m\u202ed\udc80"
    assert safe("é→日本\n🎉") == "é→日本\n🎉"


@pytest.mark.parametrize("place", ["", "<think>{}</think>", "<answer>{}</answer>", "<|{}|>"])
def test_no_control_character_reaches_the_terminal_from_any_section(place):
    console = Console(force_terminal=True, width=80, color_system=None)
    with console.capture() as captured:
        console.print(coloured((place or "{}").format("\x1b[31mred\x07[bold]x[/bold]")))
    assert not set(captured.get()) & {"\x1b", "\x07"}
    assert "[bold]x[/bold]" in captured.get()


def test_sections_of_a_completion():
    text = coloured("<think>carry</think> <answer>42</answer><|im_end|>")
    found = styles(text)
    assert text.plain == "<think>carry</think> <answer>42</answer><|im_end|>"
    assert (found["carry"], found["42"], found["<|im_end|>"]) == ("italic cyan", "bold green", "yellow")
    assert found["<think>"] == found["</answer>"] == "magenta"


def test_a_thought_opened_by_the_prompt():
    assert styles(coloured("carry</think><answer>42</answer>"))["carry"] == "italic cyan"
    assert "italic cyan" not in styles(coloured("no tags at all")).values()


def test_short_numbers_fit_six_columns():
    values = (0, 1, 0.0123456, 1e-5, -4e-4, 31.44, 123.4, 999.96, 2345, 99999, 999_499, 999_999, 1.2e7)
    assert [short(v) for v in values] == [
        "0", "1", "0.0123", "1e-05", "-4e-04", "31.4", "123", "1000", "2.35k", "100k", "999k", "1M", "12M",
    ]  # fmt: skip
    assert short(math.nan) == "–"
    assert all(len(short(v)) <= 6 for v in values)


def test_clock():
    assert [clock(s) for s in (0.4, 59.6, 61, 3661)] == ["0:00", "1:00", "1:01", "1:01:01"]


def test_sparkline_spans_lowest_to_highest():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([9, 1, 2], 2) == "▁█"  # the last ones
    assert sparkline([5.0, 5.0], 4) == "▄▄"
    assert sparkline([0, math.nan, 1], 4) == "▁ █"
    assert sparkline([math.nan], 4) == ""


def dots(text) -> list[str]:
    return [line[7:] for line in text.plain.splitlines()[:-2]]


def test_chart_rises_with_its_data():
    lines = dots(chart([([(0, 0.0), (10, 1.0)], "green")], width=27, height=7, top=1.0))
    assert len(lines) == 5
    assert all(len(line) == 20 for line in lines)
    firsts = [next(i for i, c in enumerate(line) if c != " ") for line in lines]
    assert firsts == sorted(firsts, reverse=True)
    assert (lines[-1][0], lines[0][-1]) != (" ", " ")
    falling = dots(chart([([(0, 1.0), (10, 0.0)], "green")], width=27, height=7, top=1.0))
    assert falling[0][0] != " "
    assert falling[0][-1] == " "


def test_chart_labels_axes_and_fits():
    text = chart([([(0, 14.0), (60, 33.5)], "green")], width=40, height=8)
    lines = text.plain.splitlines()
    assert len(lines) == 8
    assert all(len(line) <= 40 for line in lines)
    assert lines[0].startswith("  33.5┤")
    assert lines[-3].startswith("     0┤")
    assert lines[-1].split() == ["0", "60"]


def test_chart_of_one_point_of_nan_and_of_nothing():
    assert any(line.strip() for line in dots(chart([([(0, 0.2)], "green")], 30, 6, top=1.0)))
    assert chart([([(0, math.nan)], "green"), ([], "red")], 30, 6).plain == "no values yet"
    assert dots(chart([([(0, 0.0), (1, 0.0)], "green")], 30, 6))[-1].strip()


def test_chart_clamps_what_is_over_the_top():
    lines = dots(chart([([(0, 5.0), (1, 5.0)], "green")], 30, 6, top=1.0))
    assert lines[0].strip()
    assert not "".join(lines[1:]).strip()


def test_a_long_run_keeps_its_shape_and_its_last_value():
    points = [(step, step / 5000) for step in range(5000)] + [(5000, 0.0)]
    lines = dots(chart([(points, "green")], width=27, height=7, top=1.0))
    assert lines[0].strip()
    assert lines[-1][0] != " "
    assert lines[-1][-1] != " "


def test_a_later_line_covers_an_earlier_one():
    points = [(0, 0.5), (9, 0.5)]
    text = chart([(points, "red"), (points, "green")], 30, 6, top=1.0)
    drawn = {str(span.style) for span in text.spans if text.plain[span.start] > "\u2800"}
    assert drawn == {"green"}
