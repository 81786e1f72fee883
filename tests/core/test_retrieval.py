"""What is asked of a PACS, and what is missing of its answer."""

import pytest

from ich_node.core.retrieval import SeriesThere, asked_accession, count_missing, gaps_between
from ich_node.errors import UsageError


@pytest.mark.parametrize("words", ["", "  ", "*", "A?1", "A\\B", "A\n1", "Größe"])
def test_what_would_match_other_studies_is_not_asked(words):
    with pytest.raises(UsageError):
        asked_accession(words)


@pytest.mark.parametrize("words", ["A-4711", " A-4711 ", "2026/11 24 [x]", "LONGER-THAN-16-CHARACTERS"])
def test_an_accession_number_is_asked_for_as_it_is(words):
    assert asked_accession(words) == words.strip()


@pytest.mark.parametrize(
    ("listed", "counted", "here", "missing"),
    [
        ("abc", 3, "abc", 0),
        ("abc", 3, "ab", 1),
        ("abc", 3, "abx", 1),
        ("abc", 9, "abc", 0),
        ("abc", 3, "", 3),
        ("", 3, "xy", 1),
        ("", 3, "wxyz", 0),
        ("", 0, "", 0),
    ],
)
def test_images_are_compared_one_by_one_and_only_counted_where_none_is_listed(listed, counted, here, missing):
    series = SeriesThere(series_uid="1.2", number="2", images=frozenset(listed), counted=counted)

    gaps = gaps_between([series], {"1.2": set(here), "1.3": {"a", "b", "c"}})

    assert count_missing(gaps) == missing
