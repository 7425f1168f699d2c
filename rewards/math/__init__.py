r"""Whether two written answers have the same value: what rule `accuracy` is made of.

    spelling.py   one spelling of commands, spaces and words
    tokens.py     text -> tokens
    cursor.py     a place in the tokens
    parse.py      tokens -> expression tree (tree.py)
    evaluate.py   tree -> exact fraction, or a number to many digits; equality by value
    units.py      a value with its unit
    forms.py      text -> lists, tuples, intervals, relations, matrices, quantities
    names.py      names in front of values, chains of equals signs
    relations.py  equations and inequalities
    compare.py    equality of forms
    words.py      text and multiple choice
    clock.py      times and dates
    ladder.py     all of it in order, cheapest first; rung and verdict
    symbolic.py   the last rung: math-verify

docs/grading.md is the policy that these files carry out.
"""
