"""Errors in words."""

import pytest

from frl.errors import first_line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("\nno compiler\nTraceback"), "no compiler"),
        (AssertionError(), "AssertionError"),
        (ValueError(" \n"), "ValueError"),
    ],
)
def test_what_an_error_says_first(error: Exception, said: str) -> None:
    assert first_line(error) == said
