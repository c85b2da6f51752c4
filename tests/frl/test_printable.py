"""Whatever a text holds, a terminal shows it as it is and the text can be encoded."""

from __future__ import annotations

import os
import pickle

from hypothesis import given
from hypothesis import strategies as st

from frl.errors import SourceError
from frl.printable import abridged, printable, printable_lines

ANY = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs", "Zl"]))


@given(ANY)
def test_what_is_left_is_printable_and_encodable(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert shown.isprintable() or all(c.isprintable() or c.isspace() for c in shown)
    assert "\n" not in shown and "\x1b" not in shown


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text


def test_what_is_harmful_is_shown_by_its_number() -> None:
    assert printable("a\x1b[31m\u202eb\x9b\n") == "a\\x1b[31m\\u202eb\\x9b\\x0a"
    assert printable(os.fsdecode(b"caf\xe9.jpg")) == "caf\\xe9.jpg"
    assert printable_lines("a\nb\x07") == "a\nb\\x07"


def test_errors_are_printable_and_keep_their_subject() -> None:
    error = pickle.loads(pickle.dumps(SourceError("a\x1b[31m", "says \x07\nmore", "Mend \x1b.")))
    assert str(error) == "a\\x1b[31m: says \\x07\nmore. Mend \\x1b." and error.subject == "a\x1b[31m"


def test_a_long_list_is_abridged() -> None:
    assert [abridged(range(count), 2) for count in (0, 1, 2, 3)] == ["", "0", "0, 1", "0, 1 and 1 more"]
