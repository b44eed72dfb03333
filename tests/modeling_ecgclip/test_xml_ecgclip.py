"""The wall for XML: what it lets through, and that each hostile idea is refused for what it is, in time."""

import gzip
import re
import tracemalloc
import zlib

import numpy as np
import pytest

from modeling_ecgclip import limits_ecgclip
from modeling_ecgclip.xml_ecgclip import (
    MAX_XML_BYTES,
    MAX_XML_DEPTH,
    MAX_XML_QUOTES,
    MAX_XML_TAGS,
    SNIFFED_BYTES,
    decode_base64,
    number_at,
    parse_samples,
    read_xml,
    required_number,
    required_text,
    root_element,
    samples_text,
    text_at,
)
from tests.modeling_ecgclip.fuzzing import time_limit


MEGABYTE = 1_000_000
LAUGHS = '<!DOCTYPE a [<!ENTITY l0 "ha">' + "".join(
    f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10)
) + "]>"  # fmt: skip
BY_NAME = '<!DOCTYPE a SYSTEM "beside.dtd">'
XINCLUDE = 'xmlns:xi="http://www.w3.org/2001/XInclude"'


def written(tmp_path, content):
    path = tmp_path / "x.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def deflated(content, wbits=31):
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize(
    "content",
    [
        '<a><b c="1">x</b></a>',
        '<?xml version="1.0"?>\n<a><b c="1">x</b></a>',
        '\n\n<?xml version="1.0" encoding="ISO8859-1" ?><!-- one --><!-- > two <z> --><a><b c="1">x</b></a>',
        '<?xml version="1.0"?><?xml-stylesheet href="http://nowhere.invalid/x.xsl"?><a><b c="1">x</b></a>',
        '<!DOCTYPE a SYSTEM "a.dtd">\n<a><b c="1">x</b></a>',
        "<!DOCTYPE a PUBLIC '-//X//Y' 'http://nowhere.invalid/a.dtd' >\n<a><b c='1'>x</b></a>",
        '<p:a xmlns:p="urn:x" xmlns:c="urn:y"><p:b p:c="1" xmlns:q="urn:c">x</p:b></p:a>',
        '<a><b c="1"><![CDATA[x]]></b></a>',
        '<a><b c="&#49;">&#120;<!-- amid --></b></a>',
        '\ufeff<?xml version="1.0" encoding="utf-8"?><a><b c="1">x</b></a>',
        '<?xml version="1.0" encoding="utf-16"?><a><b c="1">x</b></a>',  # and stored in eight bits
        gzip.compress(b'<a><b c="1">x</b></a>', mtime=0),  # the time would change the name of the test
        *(
            (mark + '<?xml version="1.0" encoding="UTF-16"?><a><b c="1">x</b></a>').encode(encoding)
            for mark in ("", "\ufeff")
            for encoding in ("utf-16-le", "utf-16-be")
        ),
    ],
)
def test_what_recorders_write_is_read(tmp_path, content):
    path = written(tmp_path, content)
    root = read_xml(path, "a")
    assert (root.tag, text_at(root, "b"), text_at(root, "b@c"), text_at(root, "b@q")) == ("a", "x", "1", "")
    assert root_element(path.read_bytes()) == "a"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "UTF-16", "iso-8859-1", "windows-1252", "ISO-8859-15", "gb2312", "GBK", "Shift_JIS", "EUC-KR"],
)
def test_encodings_are_decoded_as_declared(tmp_path, encoding):
    word = {"gb2312": "\u5fc3\u7535", "GBK": "\u5fc3\u7535", "Shift_JIS": "\u5fc3\u96fb", "EUC-KR": "\uc2ec\uc804"}
    text = word.get(encoding, "M\u00fcller")
    content = f'<?xml version="1.0" encoding="{encoding}"?><a>{text}</a>'.encode(encoding)
    assert text_at(read_xml(written(tmp_path, content), "a"), "") == text


HOSTILE = {
    "billion laughs": (f"{LAUGHS}<a>&l9;</a>", "found a document type, which is refused"),
    "billion laughs in UTF-16": (f"{LAUGHS}<a>&l9;</a>".encode("utf-16"), "found a document type, which is refused"),
    "billion laughs in gzip": (gzip.compress(f"{LAUGHS}<a>&l9;</a>".encode()), "found a document type"),
    "quadratic blowup": (
        f'<!DOCTYPE a [<!ENTITY l "{"x" * MEGABYTE}">]><a>{"&l;" * 1000}</a>',
        "found a document type, which is refused",
    ),
    "external entity": (
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        "found a document type, which is refused",
    ),
    "parameter entity": (
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://nowhere.invalid/x.dtd">%x;]><a/>',
        "found a document type, which is refused",
    ),
    "entity of a document type beside": (f"{BY_NAME}<a>&x;</a>", "undefined entity"),
    "entity of a document type beside, in an attribute": (f'{BY_NAME}<a b="&x;5"/>', "undefined entity"),
    "a second document type": (f"{BY_NAME}{BY_NAME}<a>&x;</a>", "found a document type, which is refused"),
    "document type with declarations": ("<!DOCTYPE a [<!ELEMENT a ANY>]><a/>", "found a document type"),
    "document type behind much space": (f"{' ' * 9000}<a/>", None),
    "document type behind a long comment": (
        f"<!--{'x' * SNIFFED_BYTES}-->{BY_NAME}<a/>",
        "found a document type, which is refused",
    ),
    "XInclude": (f'<a {XINCLUDE}><xi:include href="file:///etc/passwd" parse="text"/></a>', "found XInclude"),
    "XInclude below": ('<a><i xmlns="http://www.w3.org/2003/XInclude" href="x"/></a>', "found XInclude"),
    "processing instruction": ('<?include file="/etc/passwd"?><a/>', "found <?include, refused"),
    "processing instruction below": ('<a><?php system("ls")?></a>', "found <?php, refused"),
    "a million levels": ("<a>" * MEGABYTE + "</a>" * MEGABYTE, f"at most {MAX_XML_TAGS:,} tags"),
    "a hundred thousand levels": ("<a>" * 100_000 + "</a>" * 100_000, f"at most {MAX_XML_DEPTH} levels"),
    "a level too many": (
        "<a>" * (MAX_XML_DEPTH + 1) + "</a>" * (MAX_XML_DEPTH + 1),
        f"at most {MAX_XML_DEPTH} levels",
    ),
    "a million elements": ("<a>" + "<b/>" * MEGABYTE + "</a>", f"at most {MAX_XML_TAGS:,} tags: found 1,000,002"),
    "a million attributes": (
        "<a " + " ".join(f'a{i}=""' for i in range(MEGABYTE)) + "/>",
        f"at most {MAX_XML_QUOTES:,} quotation marks",
    ),
    "one attribute twice": ('<a b="1" b="2"/>', "duplicate attribute"),
    "UTF-7": (
        b'<?xml version="1.0" encoding="utf-7"?>+ADwAYQA+-<a/>',
        "expected an encoding of XML that is known: found 'utf-7'",
    ),
    "unknown encoding": (b'<?xml version="1.0" encoding="idna"?><a/>', "known: found 'idna'"),
    "an encoding with a path": (b'<?xml version="1.0" encoding="..-..-x"?><a/>', "known: found '..-..-x'"),
    "UTF-16 declared as UTF-8": (
        '<?xml version="1.0" encoding="utf-8"?><a/>'.encode("utf-16"),
        "expected XML in one encoding: found utf-16-le, declared as 'utf-8'",
    ),
    "UTF-8 declared as Latin-1": (b'\xef\xbb\xbf<?xml version="1.0" encoding="latin1"?><a/>', "in one encoding"),
    "UTF-16 that hides in eight bits": (
        '<?xml version="1.0" encoding="utf-16"?><a>\u00e4</a>'.encode(),
        "expected text in ascii: found another encoding, or damage",
    ),
    "UTF-32": ("<a/>".encode("utf-32"), "not readable as XML"),
    "half a surrogate": ("<a>\ud800</a>".encode("utf-16-le", "surrogatepass"), "expected text in utf-16-le"),
    "overlong UTF-8": (b"<a>\xc0\xbc</a>", "expected text in utf-8"),
    "NUL": (b"<a>\0</a>", "not readable as XML"),
    "another root": ("<b/>", "expected <a> as root element: found <b>"),
    "no root": ("<!-- nothing -->", "not readable as XML"),
    "nothing": ("", "not readable as XML"),
    "two roots": ("<a/><a/>", "not readable as XML"),
    "truncated": ("<a><b>", "not readable as XML, or truncated"),
    "gzip bomb": (deflated(b"<a>" + b" " * (20 * MAX_XML_BYTES) + b"</a>"), "bytes in gzip: found more"),
    "truncated gzip": (deflated(b"<a/>")[:-4], "expected one whole file in gzip"),
    "gzip and more": (deflated(b"<a/>") + b"x", "expected one whole file in gzip"),
    "damaged gzip": (b"\x1f\x8b\x08\x00" + bytes(30), "not readable as gzip"),
    "gzip in gzip": (deflated(deflated(b"<a/>")), "expected text in utf-8"),
}


@pytest.mark.parametrize("idea", HOSTILE)
def test_hostile_ideas_are_refused_for_what_they_are(tmp_path, idea):
    content, reason = HOSTILE[idea]
    (tmp_path / "beside.dtd").write_text('<!ENTITY x "from the file beside">')
    path = written(tmp_path, content)
    with time_limit(idea):
        if reason is None:
            assert read_xml(path, "a").tag == "a"
            return
        with pytest.raises(ValueError, match=re.escape(reason)) as error:
            read_xml(path, "a")
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value)) < 600
    root_element(content if isinstance(content, bytes) else content.encode())


def test_no_more_memory_than_the_limit_for_bombs(tmp_path):
    path = written(tmp_path, HOSTILE["gzip bomb"][0])
    tracemalloc.start()
    with pytest.raises(ValueError, match="found more"):
        read_xml(path, "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MAX_XML_BYTES


def test_large_and_missing_files_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.xml"):
        read_xml(tmp_path / "absent.xml", "a")
    with pytest.raises(FileNotFoundError, match="no regular one"):
        read_xml(tmp_path, "a")
    path = tmp_path / "large.xml"
    with path.open("wb") as file:
        file.truncate(MAX_XML_BYTES + 1)
    with pytest.raises(ValueError, match=f"large.xml: expected one ECG in at most {MAX_XML_BYTES:,} bytes"):
        read_xml(path, "a")


@pytest.mark.parametrize(
    "head", [b"", b"PK\x03\x04", b"no xml <a>", b"<", b"<!--", b"<!-- <a> -->", b"<?xml <", b"<!DOCTYPE",
             b"\x1f\x8b\x08", b"\x89HDF\r\n", bytes(4096), b"<" * 4096, b"<!" * 4096, "<a>".encode("utf-32")]
)  # fmt: skip
def test_no_root_element_is_seen_where_none_is(head):
    with time_limit("a look at the root element"):
        assert root_element(head) == ""


def test_root_element_needs_the_beginning_only():
    head = b'<?xml version="1.0"?>' + b"<!-- a > comment -->" * 50 + b"<x:AnnotatedECG a"
    assert root_element(head) == "AnnotatedECG"
    assert root_element(deflated(head)[: len(deflated(head)) - 8]) == "AnnotatedECG"


def test_paths_and_numbers(tmp_path):
    root = read_xml(written(tmp_path, '<a n="1.5e1"><b m="0.1"> 2 <c>x</c></b><d>1_0</d><e/></a>'), "a")
    assert (text_at(root, "b"), text_at(root, "b/c"), text_at(root, "z"), text_at(None, "b@m")) == ("2", "x", "", "")
    assert (number_at(root, "@n"), float(number_at(root, "b@m")), number_at(root, "d")) == (15, 0.1, None)
    assert required_number(root, "b", "r", whole=True) == 2
    for path, whole, reason in (
        ("d", False, "r: expected d as a number: found '1_0'"),
        ("e", False, "r: expected e: found none"),
        ("b@m", True, "r: expected b@m as a whole number: found '0.1'"),
    ):
        with pytest.raises(ValueError, match=reason):
            required_number(root, path, "r", whole)
    with pytest.raises(ValueError, match="r: expected z/y@x: found none"):
        required_text(root, "z/y@x", "r")
    with pytest.raises(ValueError, match="r: expected nothing but samples in b: found <c>"):
        samples_text(root.find("b"), "b", "r")
    for node in (None, root.find("e")):
        with pytest.raises(ValueError, match="r: expected samples in e: found none"):
            samples_text(node, "e", "r")


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "0x10", "\u0661", "1" * 40, "1e100", "--1", "1.2.3", ""])
def test_what_is_no_number_is_none(tmp_path, text):
    assert number_at(read_xml(written(tmp_path, f"<a>{text}</a>"), "a"), "") is None


@pytest.mark.parametrize(
    ("text", "comma", "values"),
    [
        (" 1 -2\n\t3.5 ", False, [1, -2, 3.5]),
        ("1,-2,\n\t3.5,", True, [1, -2, 3.5]),
        ("7", True, [7]),
        ("  ", False, []),
    ],
)
def test_samples_are_parsed(text, comma, values):
    np.testing.assert_array_equal(parse_samples(text, comma, "digits", "r"), values)


def test_samples_in_several_blocks_are_all_there():
    values = np.random.default_rng(0).integers(-9999, 9999, 500_000)
    np.testing.assert_array_equal(parse_samples(" ".join(map(str, values)), False, "digits", "r"), values)
    np.testing.assert_array_equal(parse_samples(",\n".join(map(str, values)), True, "digits", "r"), values)


@pytest.mark.parametrize(
    ("text", "comma"),
    [("1 2,3", False), ("1,,2", True), ("1 2,3", True), (",1", True), ("1,2,,", True), ("1 x 3", False),
     ("1_0", False), ("nan", False), ("1 - 2", False), ("1-2", False), ("\u0661", False)],
)  # fmt: skip
def test_samples_that_are_not_numbers_are_refused(text, comma):
    with pytest.raises(ValueError, match="^r: expected digits as decimal numbers"):
        parse_samples(text, comma, "digits", "r")


def test_more_samples_than_an_ecg_has_are_refused_before_all_are_parsed(monkeypatch):
    monkeypatch.setattr(limits_ecgclip, "MAX_VALUES", 10_000)
    with pytest.raises(ValueError, match="at most 10,000 values: found 500,00"):  # the first block's
        parse_samples("1 " * 2_000_000, False, "digits", "r")


def test_base64_is_bounded_and_strict():
    assert decode_base64(" AAEC\n\tAw== ", 4, "x", "r") == b"\0\1\2\3"
    with pytest.raises(ValueError, match="r: expected x in base64: at most 4 bytes: found 300"):
        decode_base64("AAEC" * 100, 4, "x", "r")
    for text in ("AAE", "A*EC", "AAEC\u00e4", "AA==AA==", "AA==A", "="):
        with pytest.raises(ValueError, match="r: expected x in base64: "):
            decode_base64(text, 4, "x", "r")
