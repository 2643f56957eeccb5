"""Text from outside made harmless to look at: nothing in it can reorder, hide or colour what a person sees.

Terminal escapes and direction marks (CVE-2021-42574) are shown as escapes such as \\x1b and \\u202e, not removed: a
reader shall see that they are there. Markup is the business of whoever renders: HTML is escaped there.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's control, format, surrogate and separator characters
KEPT = "\n\t\u00ad\u200c\u200d"  # line ends, tabs; soft hyphens and joiners, which emoji and Persian need


def inert(text: str) -> str:
    """`text` with what is not seen, or changes how the rest is seen, written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    whole = text.replace("\r\n", "\n")
    return "".join(_shown(letter) for letter in whole)


def _shown(letter: str) -> str:
    """One character, or its escape."""
    if letter in KEPT or unicodedata.category(letter) not in HIDDEN:
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def inert_value(value: Any) -> Any:
    """A table's cell: numbers, dates and what is missing stay; everything else, such as a list, is inert text."""
    from pandas.api.types import is_scalar

    if is_scalar(value) and not isinstance(value, (str, bytes)):
        return value
    return inert(str(value))


def inert_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of `frame` whose cells, index and column names are inert; columns of numbers stay as they are."""
    from pandas.api.types import is_numeric_dtype

    shown = frame.copy()
    for at, dtype in enumerate(frame.dtypes):
        if not is_numeric_dtype(dtype):
            shown.isetitem(at, frame.iloc[:, at].map(inert_value))
    return shown.rename(index=inert_value, columns=inert_value)
