"""What a C-FIND asks for, and what the counts of a C-MOVE say."""

import pytest
from pydicom.dataset import Dataset

from ich_node.core.retrieval import SubOperations
from ich_node.dicom.query import image_query, series_query, study_identifier, study_query, sub_operations


@pytest.mark.parametrize(
    "identifier",
    [study_query("A-1"), series_query("1.2"), image_query("1.2", "1.3"), study_identifier("1.2")],
    ids=lambda identifier: identifier.QueryRetrieveLevel,
)
def test_nothing_of_the_patient_is_asked_for(identifier):
    assert not [element.keyword for element in identifier if element.tag.group == 0x0010]


def test_a_number_longer_than_sh_may_be_is_asked_for_whole():
    assert study_query("LONGER-THAN-16-CHARACTERS").AccessionNumber == "LONGER-THAN-16-CHARACTERS"


@pytest.mark.parametrize(
    ("response", "after"),
    [
        ({"Status": 0xFF00}, SubOperations(remaining=3, completed=1)),
        (
            {"Status": 0xFF00, "NumberOfRemainingSuboperations": 2, "NumberOfFailedSuboperations": 1},
            SubOperations(remaining=2, completed=1, failed=1),
        ),
        ({"Status": 0x0000, "NumberOfCompletedSuboperations": 4}, SubOperations(completed=4)),
        ({"Status": 0xB000, "NumberOfWarningSuboperations": 3}, SubOperations(completed=1, warning=3)),
        (
            {"Status": 0xFE00, "NumberOfRemainingSuboperations": 3},
            SubOperations(remaining=3, completed=1),
        ),
    ],
)
def test_counts_that_a_response_leaves_out_are_as_before_and_nothing_remains_at_the_end(response, after):
    dataset = Dataset()
    for keyword, value in response.items():
        setattr(dataset, keyword, value)

    assert sub_operations(dataset, SubOperations(remaining=3, completed=1)) == after
