import numpy as np
import pytest

from space.sheets import BOTTOM_MM, COLUMN_MM, Line, balanced, placed, plain_text, tops_below, width_mm, wrapped


def line(text="x", **settings):
    return Line(((0.0, text, {}),), **settings)


def test_lines_go_on_in_the_next_column_and_none_is_lost():
    lines = [line(str(i), before_mm=1.0) for i in range(50)]
    there = placed(lines, (60.0, 100.0))
    assert [one for *_, one in there.lines] + there.others == lines
    assert there.others
    assert min(y for _, y, _ in there.lines) >= BOTTOM_MM
    left, right = sorted({x for x, *_ in there.lines})
    assert right - left > COLUMN_MM
    for x, top in ((left, 60.0), (right, 100.0)):
        places = [y for at, y, _ in there.lines if at == x]
        assert places[0] == pytest.approx(top - lines[0].height_mm)  # nothing is left free above the first one
        assert np.diff(places) == pytest.approx(-1 - lines[0].height_mm)


def test_a_heading_is_never_the_last_of_its_column():
    height = line().height_mm
    lines = [line(), line(is_heading=True), line()]
    there = placed(lines, (BOTTOM_MM + 2.5 * height,) * 2)
    assert [x == there.lines[0][0] for x, *_ in there.lines] == [True, False, False]


def test_columns_end_at_about_one_place():
    there = balanced([line()] * 21, (150.0, 150.0))
    columns = sorted({x for x, *_ in there.lines})
    assert sorted(sum(x == at for x, *_ in there.lines) for at in columns) == [10, 11]
    assert balanced([], (150.0, 150.0)).lines == []


def test_columns_begin_below_a_wide_tracing_and_beside_a_narrow_one():
    alone, wide, narrow = tops_below(None), tops_below((270.0, 100.0)), tops_below((135.0, 50.0))
    assert wide == tuple(top - 100 for top in alone)
    assert narrow[0] == alone[0] - 50 and narrow[1] > alone[1]
    below = tops_below((270.0, 100.0), [line()] * 3)
    assert below[0] < wide[0] - 3 * line().height_mm


def test_text_is_wrapped_by_its_width_and_no_letter_is_lost():
    text = "WWWW iiii wide and narrow words " * 9 + "W" * 150
    lines = wrapped(text, 60, 8)
    assert all(width_mm(one, 8) <= 60.5 for one in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert len(lines) < 2 + 1.2 * width_mm(text, 8) / 60
    assert wrapped("", 60, 8) == []


def test_dollar_signs_are_no_formula():
    assert plain_text("$x$") == r"\$x\$"
