"""Text without accents and in lower case, in which words are looked for."""

import unicodedata


def fold(text: str) -> str:
    """Returns `text` in lower case without accents, of the same length, so that places found in it hold in `text`."""
    return text.translate(_FOLDED)


class _Folded(dict[int, str]):
    """Table for `str.translate` that works characters out when they are first met."""

    def __missing__(self, code: int) -> str:
        base = unicodedata.normalize("NFKD", chr(code))[0].lower()
        self[code] = base if len(base) == 1 else chr(code)
        return self[code]


_FOLDED = _Folded()
