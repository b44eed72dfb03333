"""Tables in Markdown: alignment, padding, and cells that would break a row."""

from common.markdown import markdown_table


def test_numbers_go_to_the_right_and_the_first_column_to_the_left():
    rows = [["class", "F1"], ["AF", "0.5"], ["ST", 1]]
    assert markdown_table(rows).splitlines() == [
        "| class |  F1 |",
        "|-------|----:|",
        "| AF    | 0.5 |",
        "| ST    |   1 |",
    ]


def test_only_named_columns_go_to_the_right():
    rows = [["a", "b", "c"], ["x", "yes", "10"]]
    assert markdown_table(rows, right=[2]).splitlines() == ["| a | b   |  c |", "|---|-----|---:|", "| x | yes | 10 |"]


def test_text_is_not_padded():
    rows = [["column", "meaning"], ["age", "years, or null"]]
    assert markdown_table(rows, right=()).splitlines() == [
        "| column | meaning |",
        "|---|---|",
        "| age | years, or null |",
    ]


def test_a_cell_cannot_break_its_row():
    assert markdown_table([["label"], ["a|b\nc"]], right=()).splitlines()[-1] == "| a\\|b c |"
