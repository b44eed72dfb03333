"""
HTML of the page: the one place where text becomes part of it.

Whatever stems from a file, a name, a report or a caller is text. Only templates that stand in the code are `Markup`;
what is put into one is escaped, and so is any other text that reaches the page (`as_html`).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup, escape


NOTHING = Markup()
# Of a file's name: where another part begins, and the suffix of a last part of more than 13 signs.
_PARTS = re.compile(r"(?<=[/_-])(?=[^/_-])|(?<=[^/_.-]{9})(?=\.\w+$)")


def html(template: str, /, **parts: Any) -> Markup:
    """
    Returns a template with its parts put in, each escaped unless it is `Markup` itself.

    Args:
        template (`str`): HTML as the code has it, with places as `str.format` names them; attributes in quotes.
        parts: What goes there.
    """
    return Markup(template).format(**parts)


def each(template: str, rows: Iterable[Mapping[str, Any]]) -> Markup:
    """Returns [`html`] of a template for each row of parts, one after the other."""
    return NOTHING.join(html(template, **row) for row in rows)


def name_in_parts(name: str) -> Markup:
    """Returns the name of a file, which a browser breaks between its parts rather than within one."""
    return Markup("<wbr>").join(_PARTS.split(name))


def as_html(value: object) -> str:
    """Returns what is `Markup` as it is, and anything else as text that a browser shows letter by letter."""
    return str(escape(value))


__all__ = ["NOTHING", "as_html", "each", "html", "name_in_parts"]
