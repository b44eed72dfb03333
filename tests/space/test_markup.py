import re

from markupsafe import Markup

from common.project import PROJECT
from space.markup import NOTHING, as_html, each, html, name_in_parts


def test_parts_are_text_unless_they_are_html_themselves():
    assert html('<p title="{a}">{b}{c}</p>', a='"><i>', b="<b>&", c=html("<br>")) == (
        '<p title="&#34;&gt;&lt;i&gt;">&lt;b&gt;&amp;<br></p>'
    )
    assert html("<p>{n:.1f} {none}</p>", n=1.25, none=None) == "<p>1.2 None</p>"
    assert each("<li>{x}</li>", [{"x": "<"}, {"x": 2}]) == "<li>&lt;</li><li>2</li>"


def test_what_reaches_the_page_is_text_unless_the_code_wrote_it():
    assert as_html("<form>") == "&lt;form&gt;"
    assert as_html(ValueError("<img src=x>")) == "&lt;img src=x&gt;"
    assert as_html(html("<form>")) == "<form>"
    assert as_html(NOTHING + "<b>") == "&lt;b&gt;"
    assert type(as_html(Markup("<b>"))) is str


def test_names_of_files_break_between_their_parts_and_are_text():
    def parts(name):
        return str(name_in_parts(name)).split("<wbr>")

    assert parts("ward_of_heart/rbbb_af.npz") == ["ward_", "of_", "heart/", "rbbb_", "af.npz"]
    assert parts("simulated_tachycardia.npz") == ["simulated_", "tachycardia", ".npz"]
    assert parts("ecg.npz") == ["ecg.npz"]
    assert parts("<b>_&.csv") == ["&lt;b&gt;_", "&amp;.csv"]


def test_there_is_one_place_where_text_becomes_html():
    sources = {
        path: path.read_text(encoding="utf-8") for path in (PROJECT / "app.py", *(PROJECT / "space").glob("*.py"))
    }
    makes_html = {path.name for path, text in sources.items() if re.search(r"\bMarkup\(", text)}
    assert makes_html == {"markup.py"}
    # A template is a literal: what an f-string puts in is not escaped.
    made = {path.name for path, text in sources.items() if re.search(r"\b(html|each)\(\s*(f[\"']|[a-z_]+[,)])", text)}
    assert made == {"markup.py"}
    # Every block is made, and every message said, by what escapes; an update that has no content is none.
    shown = re.findall(r"gr\.(?:HTML|Markdown|Error|Warning|Info)\(.*", "".join(sources.values()))
    assert len(shown) >= 3
    for call in shown:
        assert re.match(r"gr\.\w+\((as_html\(|visible=)", call), call
