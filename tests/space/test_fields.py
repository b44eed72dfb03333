from dataclasses import fields

from space.asking import PLACES
from space.fields import form_field
from space.uploads import Form


def test_what_the_page_asks_for_is_the_form_in_its_order():
    assert list(PLACES) == [one.name for one in fields(Form)]
    assert {form_field(name).label for name in PLACES} == {
        "Sampling rate, Hz",
        "Unit",
        "Leads in the order of the file",
        "Exam id (HDF5)",
        "Fill short gaps of samples that were not recorded",
        "Accept missing leads: zeros stand in their place",
    }
    assert form_field("unit", no_unit="choose").choices[0] == ("choose", "")
