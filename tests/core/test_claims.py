"""What header words claim: in many languages, and never more than a hint."""

import pytest

from ich_node.core.claims import Claim, body_claim, has_contrast, is_sharp


@pytest.mark.parametrize(
    "words",
    [
        *(
            "HEAD",
            "Brain 5.0 H31s",
            "CT_HEAD_WO",
            "Crâne sans injection",
            "cerveau",
            "Schädel nativ",
            "SCHAEDEL",
        ),
        *("Kopf", "CCT Hirn", "CABEZA", "Cráneo simple", "Encéfalo", "Cranio", "Hoofd", "hersenen", "Głowa"),
        *("Mózg", "hlava", "Huvud", "Hjärna", "Hjerne", "aivot", "Beyin BT", "Голова", "головной мозг"),
        *("Εγκεφάλου", "头颅平扫", "頭部", "脑", "두부", "الدماغ", "NEURO", "Stroke protocol", "TÊTE"),
    ],
)
def test_a_head_is_claimed_in_the_words_of_many_countries(words: str) -> None:
    assert body_claim(words, "") is Claim.HEAD


@pytest.mark.parametrize(
    "words",
    [
        *("CHEST", "CT THORAX", "Thorax nativ", "ABDOMEN/PELVIS", "C-SPINE", "L_SPINE", "cervical", "Lunge"),
        *(
            "NECK",
            "Hals",
            "HWS",
            "LWS",
            "abdomen sin contraste",
            "KNEE LT",
            "HIP",
            "Coronary CTA",
            "胸部",
            "Rachis",
        ),
    ],
)
def test_another_body_part_is_claimed(words: str) -> None:
    assert body_claim(words, "") is Claim.OTHER


@pytest.mark.parametrize(
    ("series", "study", "claim"),
    [
        ("", "", Claim.SILENT),
        ("5mm Axial", "", Claim.SILENT),
        ("5mm Axial", "CT HEAD", Claim.HEAD),
        ("C-SPINE 2mm", "CT HEAD AND C-SPINE", Claim.OTHER),
        ("Brain 5mm", "TRAUMA HEAD CHEST ABDOMEN", Claim.HEAD),
        ("2mm", "CT HEAD AND NECK", Claim.SILENT),
        ("HEAD and NECK", "CT HEAD", Claim.SILENT),
        ("Coronal Head", "", Claim.HEAD),
        ("Legacy protocol, armrest, adrenaline", "", Claim.SILENT),
        ("Whole Body", "", Claim.SILENT),
    ],
)
def test_the_series_speaks_before_the_study_and_a_contradiction_claims_nothing(
    series: str, study: str, claim: Claim
) -> None:
    assert body_claim(series, study) is claim


@pytest.mark.parametrize(
    "agent", ["", " ", "C-", "NONE", "NO", "No contrast", "none ", "N", "W/O", "0", "ohne KM"]
)
def test_these_agents_mean_no_contrast(agent: str) -> None:
    assert not has_contrast(agent, "")


@pytest.mark.parametrize("agent", ["C+", "IOMERON 400", "ISOVUE300/100", "Omnipaque", "CONTRAST"])
def test_these_agents_mean_contrast(agent: str) -> None:
    assert has_contrast(agent, "Head without")


@pytest.mark.parametrize(
    ("words", "enhanced"),
    [
        ("CTA Head 1.0", True),
        ("Head C+", True),
        ("Angio Willis", True),
        ("HEAD WITH CONTRAST", True),
        ("Head post contrast", True),
        ("4cc sec 150cc D3D on", True),
        ("Crâne avec injection", True),
        ("HEAD WITHOUT CONTRAST", False),
        ("HEAD W/O", False),
        ("Head C-", False),
        ("Head non-contrast", False),
        ("NONCONTRAST HEAD", False),
        ("Head unenhanced", False),
        ("Crâne sans injection", False),
        ("Schädel ohne KM", False),
        ("5mm Axial", False),
    ],
)
def test_words_tell_of_contrast_where_the_agent_is_absent(words: str, enhanced: bool) -> None:
    assert has_contrast("", words) is enhanced


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [
        *[
            (name, True)
            for name in ("BONE", "BONEPLUS", "EDGE", "LUNG", "H60s", "H70h", "Hr68h", "Br64d", "J70h")
        ],
        *[
            (name, True)
            for name in ("FC30", "FC35", "FC81", "FC52", "YB", "D", "E", "YD", "B70f", "UB_SHARP")
        ],
        *[
            (name, False)
            for name in ("STANDARD", "STD+", "SOFT", "H30s", "H31s", "Hr40f", "J30s", "B20f", "Qr36")
        ],
        *[(name, False) for name in ("FC63", "FC21", "FC26", "FC64", "UB", "UA", "B", "C", "Hc40", "EB")],
    ],
)
def test_kernels_of_all_makers_are_told_apart_by_name_and_number(kernel: str, sharp: bool) -> None:
    assert is_sharp(kernel, "") is sharp


def test_words_tell_of_a_bone_kernel_only_where_the_kernel_is_unknown() -> None:
    assert is_sharp("", "Brain Bone 5.0")
    assert is_sharp("11", "Knochen")
    assert not is_sharp("H31s", "Head, bone window as well")
    assert not is_sharp("11", "Lv2")
