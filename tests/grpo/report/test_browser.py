"""The page in a real Chromium: what a person who opens it sees."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from html import unescape
from pathlib import Path

import pytest

from grpo.protocols import Measured
from grpo.report import serve
from grpo.report.page import write_report
from grpo.report.serve import Server

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1200,2400",
)  # fmt: skip
WAIT = 4000  # milliseconds of the page's own clock
BLUE, ORANGE = (0x00, 0x72, 0xB2), (240, 120, 20)  # the first curve, and the shade of an improbable token


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs chromium, Debian's package of that name")
    return found


@pytest.fixture
def browse(chromium, tmp_path):
    """browse(url, *flags): runs Chromium on a page and gives what it prints."""

    def run(url: str, *flags: str) -> str:
        command = [
            chromium,
            *FLAGS,
            f"--user-data-dir={tmp_path / 'chromium'}",
            f"--virtual-time-budget={WAIT}",
        ]
        done = subprocess.run([*command, *flags, url], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


def part(dom: str, element: str) -> str:
    """What stands in the element of that id, up to the next element with an id."""
    start = dom.index(f'id="{element}"')
    end = re.compile(r'\sid="').search(dom, start + len(element) + 5)
    return dom[start : end.start() if end else None]


def words(markup: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", markup.partition(">")[2]))


def colours(picture: Path):
    """How many pixels of a screenshot are within a few units of a colour."""
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3] * 255

    def near(colour, within=12):
        return int((abs(pixels - colour).max(axis=-1) <= within).sum())

    return near


def test_curves_samples_recipe_and_environment_are_there(run, browse, hostile):
    dom = browse(write_report(run).as_uri(), "--dump-dom")
    assert words(part(dom, "name")).startswith("run")
    assert "finished" in words(part(dom, "status"))
    assert "0.200 → 0.900" in words(part(dom, "facts"))
    assert "0.900 [0.100, 0.300]" in words(part(dom, "comparison"))
    panels = part(dom, "panels")
    assert panels.count("<figure") == panels.count("<svg") >= 8
    assert panels.count('class="curve') >= panels.count("<figure")
    accuracy = panels[: panels.index("</figure>")]
    assert "held-out 0.8" in words(accuracy)
    assert accuracy.count('class="band') == 1
    assert accuracy.count("<circle") == 3  # one an evaluation
    assert "rule: accuracy" in words(part(dom, "recipe-text"))
    assert "torch2.13" in words(part(dom, "environment-list"))
    assert hostile.split("\u202e")[0] in words(part(dom, "group"))


def test_protocols_stand_below_the_figures_and_the_gain_below_them(run, measure, browse, hostile):
    own = Measured("raw, T=1", "accuracy", (0.2, 0.1, 0.3), (0.7, 0.6, 0.8))
    other = Measured("qa, 8 shots, T=0", hostile, (0.45, 0.35, 0.55), (0.6, 0.5, 0.7))
    measure(run, [own, other])
    dom = browse(write_report(run).as_uri(), "--dump-dom")
    assert "<title>run</title>" in dom
    shown = words(part(dom, "comparison"))
    assert "raw, T=1 (accuracy)0.200 [0.100, 0.300]0.700 [0.600, 0.800]" in shown
    table, _, below = shown.partition("+0.250 over the base at its best (qa, 8 shots, T=0; </script>")
    assert "qa, 8 shots, T=0 (</script>" in table
    assert "the intervals do not overlap" in below


def test_tokens_are_shaded_by_their_probability(run, browse):
    group = part(browse(write_report(run).as_uri(), "--dump-dom"), "group")
    shades = re.findall(r'class="t[^"]*"[^>]*--u: ?([\d.]+)', group)
    assert [float(shade) for shade in shades[:5]] == pytest.approx([0, 0.632, 0.865, 0.950, 0.982], abs=1e-3)
    assert "probability 0.368, log-prob -1.000" in unescape(group)


def test_the_address_browses_to_another_step_and_prompt(run, browse):
    page = write_report(run).as_uri()
    newest, second = (browse(page + end, "--dump-dom") for end in ("", "#step=2&prompt=1"))
    assert "step4" in words(part(newest, "group"))
    assert words(part(newest, "group")).startswith("prompt0")
    assert "step2" in words(part(second, "group"))
    assert words(part(second, "group")).startswith("prompt1")
    assert part(second, "prompts").index('aria-current="true"') > part(second, "prompts").index("prompt0")


SHOTS = "".join(f"Question: {n} + 1 =\nAnswer: {n + 1}\n\n" for n in range(8))
NAMED = {
    "examples in front": (
        [f"{SHOTS}Question: {sum_} =\nAnswer:" for sum_ in ("12 + 7", "30 -  4", "10\n* 2")],
        ["12 + 7 =", "30 - 4 =", "10 * 2 ="],
    ),
    "a number shared": (
        [f"Question: What is 12 {rest}?\nAnswer:" for rest in ("+ 7", "- 3")],
        ["12 + 7?", "12 - 3?"],
    ),
    # What both begin with and what both end with overlap in the shorter one, of which nothing is left
    "one within another": (["so so\nso", "so so\nso so\nso"], ["so", "so so"]),
    "long markup": (
        [f"Is <b>{letter * 300} so?" for letter in "xy"],
        [f"<b>{letter * 197}" for letter in "xy"],
    ),
    "one": (["Question: 12 + 7 =\nAnswer: \n"], ["Answer:"]),
}


@pytest.mark.parametrize(("prompts", "titles"), NAMED.values(), ids=NAMED)
def test_prompts_are_named_by_what_they_do_not_share(run, ask, browse, prompts, titles):
    ask(run, 4, prompts)
    dom = browse(write_report(run).as_uri(), "--dump-dom")
    found = re.findall(r'<span class="name">(.*?)</span>', part(dom, "prompts"), re.DOTALL)
    assert list(map(unescape, found)) == titles
    assert words(part(dom, "group")).startswith(prompts[0])  # the whole prompt beside the list


def test_nothing_that_a_model_wrote_runs(run, browse):
    dom = browse(write_report(run).as_uri(), "--dump-dom")
    assert "<title>run</title>" in dom
    assert "<img" not in dom


def test_what_is_seen_has_the_curves_and_shades(run, browse, tmp_path):
    picture = tmp_path / "page.png"
    browse(write_report(run).as_uri(), f"--screenshot={picture}")
    near = colours(picture)
    assert near(BLUE) > 1000
    # on white, at the 0.8 that a probability of nearly 0 has
    assert near([255 - 0.78 * (255 - part) for part in ORANGE]) > 200
    older = tmp_path / "older.png"
    shutil.rmtree(run / "samples")
    browse(write_report(run).as_uri(), f"--screenshot={older}")
    assert colours(older)([255 - 0.78 * (255 - part) for part in ORANGE]) < 100


def test_a_live_page_takes_up_new_steps(make_run, add_step, browse, monkeypatch):
    folder = make_run(2, ended=False)
    data = serve.live_data

    def grow(folder):
        """A step more each time the page looks."""
        found = data(folder)
        if found["done"] < 4:
            add_step(folder, found["done"] + 1)
        return found

    monkeypatch.setattr(serve, "live_data", grow)
    with Server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        dom = browse(server.url, "--dump-dom", "--virtual-time-budget=15000")
        kept = browse(f"{server.url}#step=1&prompt=2", "--dump-dom", "--virtual-time-budget=15000")
        server.shutdown()
        thread.join()
    assert "4 of 4" in words(part(dom, "facts"))
    assert "step4" in words(part(dom, "group"))  # it follows the newest
    assert "step1" in words(part(kept, "group"))  # but not away from what was chosen
    assert words(part(kept, "group")).startswith("prompt2")
