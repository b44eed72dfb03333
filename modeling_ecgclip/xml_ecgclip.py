"""The one door through which XML of strangers comes in: the standard library's expat, with handlers that refuse.

No document type is read, no entity is replaced, no other file is included or opened. Sizes are checked before memory
is taken. `defusedxml` would do half of it (it knows no limits of size or depth) and would have to travel along.
"""

import binascii
import codecs
import re
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from .limits_ecgclip import check_file, check_values, shorten, spend_steps, spend_unpacked


MAX_XML_BYTES = 32_000_000  # as stored, and again unpacked where gzip wraps it
MAX_XML_TAGS = 400_000  # opening and closing ones; an aECG with marks on each beat has 2,400
MAX_XML_QUOTES = 1_000_000  # two for each attribute
MAX_XML_DEPTH = 64  # the deepest format, aECG, has 16
# What a look at the root element needs: some exporters begin with a kilobyte of comments.
SNIFFED_BYTES = 4096

# Encodings in which all of ASCII stands for itself, as documents spell them, without `-` and `_`. Not UTF-7, in which
# a `<` hides from whoever looks before decoding.
_ENCODINGS = {
    "ascii": "ascii",
    "usascii": "ascii",
    "utf8": "utf-8",
    "latin1": "latin-1",
    **{f"iso8859{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)},
    **{f"{prefix}{page}": f"cp{page}" for prefix in ("windows", "cp") for page in range(1250, 1259)},
    **{name: name for name in ("gb2312", "gbk", "gb18030", "big5", "euckr")},
    "shiftjis": "shift_jis",
    "eucjp": "euc_jp",
    # Exporters declare UTF-16 and store eight bits; only what is the same in every encoding is taken.
    "utf16": "ascii",
}
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_UNMARKED_UTF_16 = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
_DECLARED_ENCODING = re.compile(r"""<\?xml\s[^<>]{0,100}?\bencoding\s{0,9}=\s{0,9}["']([A-Za-z0-9._-]{1,40})["']""")
# A document type that only names a file beside it, as GE MUSE writes. It is cut out: left in, expat would take no
# notice of entities that nobody declares.
_QUOTED = r"""(?:"[^"<>]{0,500}"|'[^'<>]{0,500}')"""
_DOCTYPE_BY_NAME = re.compile(
    rf"<!DOCTYPE\s{{1,9}}[\w:.-]{{1,100}}\s{{1,9}}(?:SYSTEM|PUBLIC\s{{1,9}}{_QUOTED})\s{{1,9}}{_QUOTED}\s{{0,9}}>"
)
_ROOT = re.compile(r"<(?:[\w.-]{1,100}:)?([A-Za-z_][\w.-]{0,100})")
_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,2})?", re.ASCII)
_NOT_IN_NUMBERS = re.compile(r"[^\d\s,.eE+-]", re.ASCII)
_BLOCK = 1_000_000  # characters of samples that become numbers at a time
# Bytes that become text at a time, which may take four times as many; expat looks at a long tag again with each block.
_TEXT_BLOCK = 4_000_000
_STEPS_PER_TAG = 4


def read_xml(path: Path, root: str) -> Element:
    """
    Returns the root element of a document, plain or in gzip, without prefixes of namespaces in its names.

    Args:
        path (`Path`): The file.
        root (`str`): Name of the root element without prefix.

    Returns:
        `Element`: Tags and attributes as after the last `:`; declarations of namespaces are left out.

    Raises:
        `FileNotFoundError`: where no such file exists.
        `ValueError`: naming the file, for what is no such document or what no document of a recorder has: more than
            `MAX_XML_BYTES`, `MAX_XML_TAGS`, `MAX_XML_QUOTES` or `MAX_XML_DEPTH`, a document type with declarations of
            its own, entities, inclusions, other processing instructions than a style sheet's, text that is not in the
            declared encoding.
    """
    data, encoding = _read_bytes(path)
    n_tags, n_quotes = data.count(b"<"), data.count(b'"') + data.count(b"'")
    for count, limit, what in ((n_tags, MAX_XML_TAGS, "tags"), (n_quotes, MAX_XML_QUOTES, "quotation marks")):
        if count > limit:
            raise ValueError(f"{path}: expected XML of at most {limit:,} {what}: found {count:,}")
    spend_steps(_STEPS_PER_TAG * (n_tags + n_quotes // 2), str(path))
    tree = _Tree(str(path))
    try:
        for text in _blocks_of_text(data, encoding, path):
            tree.parser.Parse(text, False)
        tree.parser.Parse("", True)
    except expat.ExpatError as error:
        raise ValueError(f"{path}: not readable as XML, or truncated: {error}") from error
    element = tree.builder.close()
    if element.tag != root:
        raise ValueError(f"{path}: expected <{root}> as root element: found <{shorten(element.tag)}>")
    return element


def root_element(head: bytes) -> str:
    """
    Returns the name of the root element of a document that begins with `head`, or `""` where there is none.

    Args:
        head (`bytes`): The first `SNIFFED_BYTES` of the file, or more.
    """
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(31).decompress(head, SNIFFED_BYTES)
        except zlib.error:
            return ""
    encoding = next((name for mark, name in (_MARKS | _UNMARKED_UTF_16).items() if head.startswith(mark)), "latin-1")
    text = head[: 2 * SNIFFED_BYTES].decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    at = 0 if text.startswith("<") else -1
    while at >= 0:
        root = _ROOT.match(text, at)
        if root:
            return root[1]
        end = text.find("-->" if text.startswith("<!--", at) else ">", at)
        at = text.find("<", end) if end >= 0 else -1
    return ""


def text_at(node: Element | None, path: str) -> str:
    """
    Returns the text at a path below an element, without white space around it; `""` where it is absent.

    Args:
        node (`Element`, *optional*): Where to begin.
        path (`str`): Names of elements with `/` between them, then `@name` for an attribute: `"a/b"`, `"a@b"`, `"@b"`.
    """
    elements, _, attribute = path.partition("@")
    if node is not None and elements:
        node = node.find(elements)
    if node is None:
        return ""
    return ((node.get(attribute) if attribute else node.text) or "").strip()


def to_number(text: str) -> Fraction | None:
    """Returns the number that a text is, exactly; `None` where it is none, such as a word in its place."""
    return Fraction(text) if _NUMBER.fullmatch(text) else None


def number_at(node: Element | None, path: str) -> Fraction | None:
    """Returns the number at a path as in [`text_at`], exactly; `None` where there is none."""
    return to_number(text_at(node, path))


def required_text(node: Element | None, path: str, name: str) -> str:
    """
    Returns the text at a path as in [`text_at`].

    Raises:
        `ValueError`: where there is none, naming the record and the path.
    """
    text = text_at(node, path)
    if not text:
        raise ValueError(f"{name}: expected {path}: found none")
    return text


def required_number(node: Element | None, path: str, name: str, whole: bool = False) -> Fraction:
    """
    Returns the number at a path as in [`text_at`], exactly.

    Args:
        whole (`bool`): Whether only a whole number is taken.

    Raises:
        `ValueError`: where there is none, naming the record and the path.
    """
    text = required_text(node, path, name)
    number = to_number(text)
    if number is None or whole and number.denominator != 1:
        raise ValueError(f"{name}: expected {path} as a {'whole ' * whole}number: found {shorten(repr(text))}")
    return number


def samples_text(node: Element | None, what: str, name: str) -> str:
    """
    Returns the text of an element that holds samples.

    Raises:
        `ValueError`: where it is absent or empty, or where other elements stand between the samples.
    """
    if node is None or not (node.text or "").strip():
        raise ValueError(f"{name}: expected samples in {what}: found none")
    if len(node):
        raise ValueError(f"{name}: expected nothing but samples in {what}: found <{shorten(node[0].tag)}>")
    return node.text or ""


def parse_samples(text: str, comma: bool, what: str, name: str) -> np.ndarray:
    """
    Returns samples that are written as decimal numbers.

    Args:
        text (`str`): The numbers, with white space or commas between them; one comma may follow the last.
        comma (`bool`): Whether commas separate them.
        what (`str`): Whose samples, for the error.
        name (`str`): What errors call the record.

    Returns:
        `np.ndarray` of shape `(samples,)`, float64.

    Raises:
        `ValueError`: for anything else, and for more than one ECG may hold.
    """
    text = text.strip()
    strange = _NOT_IN_NUMBERS.search(text)
    if strange:
        raise ValueError(f"{name}: expected {what} as decimal numbers: found {strange[0]!r}")
    if comma:
        text = text.removesuffix(",")
    gap = re.compile("," if comma else r"\s+")
    blocks = []
    start = count = 0
    while start < len(text):
        cut = gap.search(text, min(start + _BLOCK, len(text)))
        cells = text[start : cut.start() if cut else len(text)].split("," if comma else None)
        count += len(cells)
        check_values((count,), name)
        spend_steps(len(cells), name)
        try:
            blocks.append(np.array([float(cell) for cell in cells]))
        except ValueError as error:
            raise ValueError(f"{name}: expected {what} as decimal numbers: {shorten(error)}") from error
        start = cut.end() if cut else len(text)
    return np.concatenate(blocks) if blocks else np.empty(0)


def decode_base64(text: str, max_bytes: int, what: str, name: str) -> bytes:
    """
    Returns what base64 holds.

    Args:
        text (`str`): With white space anywhere.
        max_bytes (`int`): More than that is refused before it is decoded.
        what (`str`): What it is, for the error.
        name (`str`): What errors call the record.

    Raises:
        `ValueError`: for more than `max_bytes`, and for what is no base64.
    """
    try:
        packed = text.encode("ascii").translate(None, b" \t\r\n")
        if len(packed) // 4 * 3 > max_bytes + 2:
            raise ValueError(f"at most {max_bytes:,} bytes: found {len(packed) // 4 * 3:,}")
        return binascii.a2b_base64(packed, strict_mode=True)
    except ValueError as error:  # UnicodeEncodeError and binascii.Error are such
        raise ValueError(f"{name}: expected {what} in base64: {shorten(error)}") from error


class _Tree:
    """Builds elements from what expat finds, and refuses what would reach beyond the document."""

    def __init__(self, name: str):
        self.name = name
        self.depth = 0
        self.builder = TreeBuilder()
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self.builder.data
        self.parser.ProcessingInstructionHandler = self._instruction
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.EntityDeclHandler = self._refuse_entity
        self.parser.ExternalEntityRefHandler = self._refuse_entity
        self.parser.SkippedEntityHandler = self._refuse_entity

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_XML_DEPTH:
            raise ValueError(f"{self.name}: expected XML of at most {MAX_XML_DEPTH} levels: found more")
        own = {}
        for key, value in attributes.items():
            prefix, _, local = key.rpartition(":")
            if "xmlns" in (key, prefix):
                if "XInclude" in value:
                    raise ValueError(f"{self.name}: expected XML that is complete: found XInclude, which is refused")
            elif not prefix or local not in attributes:
                own[local] = value
        self.builder.start(tag.rpartition(":")[2], own)

    def _end(self, tag: str) -> None:
        self.depth -= 1
        self.builder.end(tag.rpartition(":")[2])

    def _instruction(self, target: str, _: str) -> None:
        if target != "xml-stylesheet":  # how a browser shows it; nobody opens it here
            raise ValueError(f"{self.name}: expected no processing instruction: found <?{shorten(target)}, refused")

    def _refuse_doctype(self, *_: object) -> NoReturn:
        raise ValueError(f"{self.name}: expected XML without declarations: found a document type, which is refused")

    def _refuse_entity(self, *_: object) -> NoReturn:
        raise ValueError(f"{self.name}: expected XML without entities: found one, which is refused")


def _blocks_of_text(data: bytes, encoding: str, path: Path) -> Iterator[str]:
    """The text of a document in parts, without a document type that only names a file, and white space before all."""
    decoder = codecs.getincrementaldecoder(encoding)()
    for start in range(0, max(len(data), 1), _TEXT_BLOCK):
        end = start + _TEXT_BLOCK
        try:
            text = decoder.decode(data[start:end], end >= len(data))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: expected text in {encoding}: found another encoding, or damage") from error
        if start == 0:
            text = text.lstrip()
            doctype = _DOCTYPE_BY_NAME.search(text, 0, SNIFFED_BYTES)
            text = text[: doctype.start()] + text[doctype.end() :] if doctype else text
        yield text


def _read_bytes(path: Path) -> tuple[bytes, str]:
    """Reads a file, of which no more than the limit is ever in memory, and tells its encoding."""
    check_file(path, MAX_XML_BYTES)
    with path.open("rb") as file:
        data = file.read(MAX_XML_BYTES)
    if data.startswith(b"\x1f\x8b"):
        data = _unpack_gzip(data, path)
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    encoding = _MARKS.get(mark) or _UNMARKED_UTF_16.get(data[:2])
    declaration = data[len(mark) : len(mark) + 400].decode(encoding or "latin-1", "ignore").lstrip()
    match = _DECLARED_ENCODING.match(declaration)
    declared = match[1] if match else None
    plain = (declared or "utf-8").lower().replace("-", "").replace("_", "")
    if encoding is None:
        encoding = _ENCODINGS.get(plain)
        if encoding is None:
            raise ValueError(f"{path}: expected an encoding of XML that is known: found {shorten(repr(declared))}")
    elif declared and not encoding.replace("-", "").startswith(plain):
        raise ValueError(f"{path}: expected XML in one encoding: found {encoding}, declared as {shorten(declared)!r}")
    return data.removeprefix(mark), encoding


def _unpack_gzip(data: bytes, path: Path) -> bytes:
    unpacker = zlib.decompressobj(31)
    try:
        unpacked = unpacker.decompress(data, MAX_XML_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"{path}: not readable as gzip: {shorten(error)}") from error
    if len(unpacked) > MAX_XML_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_XML_BYTES:,} bytes in gzip: found more")
    spend_unpacked(len(unpacked), str(path))
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"{path}: expected one whole file in gzip: found a part of one, or more")
    return unpacked


__all__ = [
    "MAX_XML_BYTES",
    "MAX_XML_DEPTH",
    "MAX_XML_QUOTES",
    "MAX_XML_TAGS",
    "SNIFFED_BYTES",
    "decode_base64",
    "number_at",
    "parse_samples",
    "read_xml",
    "required_number",
    "required_text",
    "root_element",
    "samples_text",
    "text_at",
    "to_number",
]
