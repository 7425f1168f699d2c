"""A run as a page: `grpo report` writes it as one file, `grpo watch` shows it while the run goes on.

    run folder ─ read.py ─► Snapshot ─ panels.py ─► curves ──┐
        └─ samples/ ─────────── samples.py ─► completions ───┼─ page.py ─► one HTML file
                                                             └─ serve.py ─► the same page, live
                            watch.py ─► the terminal

page.html, page.css, charts.js and page.js draw what page.py hands them as JSON: nothing is fetched from
elsewhere, and what a model wrote only ever becomes text.
"""
