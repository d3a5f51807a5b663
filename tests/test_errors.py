import pytest

from simmc.errors import numbered


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("{} [file is|files are] not used", 1, "1 file is not used"),
        ("{} [file is|files are] not used", 0, "0 files are not used"),
        ("{} [file is|files are] not used", 1234, "1,234 files are not used"),
        ("{} [|more ]joints [is|are] {here}", 1, "1 joints is {here}"),
        ("[the folder|folders] of [1]", 2, "folders of [1]"),
    ],
)
def test_a_sentence_agrees_with_its_count(text, count, expected):
    assert numbered(text, count) == expected
