"""What a radiologist sees in OHIF of studies that a real node answered: words and pictures, nothing black.

`make viewers` installs OHIF and runs this; `make viewers KEEP=DIR` keeps the screenshots.
"""

import os
import shutil
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from pydicom.dataset import Dataset
from pynetdicom import AE

from ich_node import vocabulary
from ich_node.demo.follow import follow
from ich_node.demo.node import LOOPBACK, SCANNER_AE_TITLE, running_node
from ich_node.demo.scanner import send
from ich_node.vocabulary import Location, Outcome
from tests.builders import phantom_study
from tests.peers import OrthancServer, missing, orthanc_program
from tests.viewers import ohif

pytestmark = [
    pytest.mark.peer,
    pytest.mark.timeout(600),
    pytest.mark.skipif(ohif.APP is None, reason="OHIF is not installed: `make viewers` installs it"),
]

WAIT_MS = 120_000
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
# WebGL without a graphics card
BROWSER = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--use-gl=angle",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
PICTURE = '[data-cy="study-browser-thumbnail"]'
DOCUMENT = '[data-cy="study-browser-thumbnail-no-image"]'
VIEWPORT = '[data-cy="viewport-pane"]'


# what must be readable of the answer
WORDS = {
    Outcome.POSITIVE: (
        "Finding Site: Deep supratentorial brain",
        "Presence of property: Present",
        "Conclusion: Suspected intracerebral hemorrhage, deep supratentorial.",
        "Look first at series 2, image",
    ),
    Outcome.NEGATIVE: (
        "Presence of property: Absent",
        "Conclusion: No intracerebral hemorrhage detected by the algorithm.",
        vocabulary.NOT_LOOKED_FOR,
    ),
    Outcome.DECLINED: (
        "Analysis status: Not analyzed",
        "Reason not analyzed: The series was made with contrast agent",
        "Conclusion: Not analyzed.",
        vocabulary.READ_AS_USUAL,
    ),
}


@cache
def images_of(outcome: Outcome) -> list[Dataset]:
    if outcome is Outcome.POSITIVE:
        return phantom_study(3, bleed=Location.DEEP)
    if outcome is Outcome.NEGATIVE:
        return phantom_study(4, bleed=None)
    images = phantom_study(6, bleed=None)
    for image in images:
        image.ContrastBolusAgent = "Iomeprol"
    return images


def uid_of(outcome: Outcome) -> str:
    return str(images_of(outcome)[0].StudyInstanceUID)


@pytest.fixture(scope="module")
def pacs(tmp_path_factory) -> Iterator[OrthancServer]:
    """An Orthanc with DICOMweb that holds three studies and what a node said of them."""
    if not DICOMWEB.exists():
        missing("Orthanc's DICOMweb (Debian package orthanc-dicomweb)")
    folder = tmp_path_factory.mktemp("viewers")
    server = OrthancServer(orthanc_program(), folder, node_ae_title="ICHNODE", dicomweb=DICOMWEB)
    server.start()
    with running_node(folder / "node", pacs_port=server.port, pacs_ae_title=server.ae_title) as node:
        for outcome in WORDS:
            archive(images_of(outcome), server)
            sent = send(images_of(outcome), LOOPBACK, node.port)
            assert {one.status for one in sent} == {0x0000}
        uids = [uid_of(outcome) for outcome in WORDS]
        ended = follow(node.database, uids, within_s=300, tell=lambda _uid, _stage: None)
    assert [ended[uid].study.outcome for uid in uids] == list(WORDS)
    yield server
    server.stop()


def archive(images: list[Dataset], server: OrthancServer) -> None:
    """Store the images themselves, as a scanner that sends to the PACS and to the node does."""
    scanner = AE(ae_title=SCANNER_AE_TITLE)
    scanner.add_requested_context(images[0].SOPClassUID)
    association = scanner.associate(LOOPBACK, server.port, ae_title=server.ae_title)
    assert {association.send_c_store(image).Status for image in images} == {0x0000}
    association.release()


@pytest.fixture(scope="module")
def browser(pacs) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        missing("Chromium (Debian package chromium)")
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=BROWSER)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def origin(pacs) -> Iterator[str]:
    with ohif.serving(pacs.http_port) as address:
        yield address


@pytest.fixture
def opened(request, browser, origin) -> Iterator[Page]:
    """The study of an outcome as OHIF shows it when it is opened, its tours of itself dismissed."""
    outcome = request.param
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(f"{origin}/viewer?StudyInstanceUIDs={uid_of(outcome)}")
    page.get_by_text("Skip all").click(timeout=WAIT_MS)
    yield page
    page.close()


def open_ours(page: Page, row: str) -> Locator:
    """Open our object in the first viewport as a reader does; returns the viewport."""
    page.locator(row).filter(has_text="ICH AI").dblclick(timeout=WAIT_MS)
    return page.locator(VIEWPORT).first


def keep(viewport: Locator, name: str) -> np.ndarray:
    """Take a picture of the viewport, (H, W, 3) of 0 to 255."""
    content = viewport.screenshot()
    folder = os.environ.get("ICH_VIEWERS_KEEP")  # noqa: TID251
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(content)
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"), dtype=np.int16)


def share_of(pixels: np.ndarray, color: str) -> float:
    wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    return float((abs(pixels - wanted) <= 6).all(axis=2).mean())


each_study = pytest.mark.parametrize("opened", list(WORDS), ids=str, indirect=True)


@each_study
def test_the_list_of_series_says_the_result_before_anything_is_opened(opened, request):
    outcome = request.node.callspec.params["opened"]
    started = vocabulary.SERIES_DESCRIPTIONS[outcome].partition(" - ")[0]

    for row in (PICTURE, DOCUMENT):
        ours = opened.locator(row).filter(has_text="ICH AI")
        ours.wait_for(timeout=WAIT_MS)
        assert started in ours.inner_text()


@each_study
def test_the_report_opens_as_its_words(opened, request):
    outcome = request.node.callspec.params["opened"]

    viewport = open_ours(opened, DOCUMENT)

    viewport.get_by_text(vocabulary.TITLE_TEXT.meaning).wait_for(timeout=WAIT_MS)
    shown = " ".join(viewport.inner_text().split())
    assert [words for words in WORDS[outcome] if words not in shown] == []
    assert vocabulary.DISCLAIMER in shown
    assert (keep(viewport, f"{outcome}-report").max(axis=2) > 200).mean() > 0.01, "no letter is to be seen"
    conclusion = viewport.get_by_text(vocabulary.READ_AS_USUAL if not outcome.analyzed else "Conclusion")
    conclusion.last.scroll_into_view_if_needed()
    assert conclusion.last.is_visible()


@each_study
def test_the_capture_opens_as_a_picture_in_the_color_of_its_outcome(opened, request):
    outcome = request.node.callspec.params["opened"]
    color = vocabulary.OUTCOME_COLORS[outcome]

    viewport = open_ours(opened, PICTURE)
    viewport.get_by_text(vocabulary.SERIES_DESCRIPTIONS[outcome]).wait_for(timeout=WAIT_MS)

    def seen() -> bool:
        return share_of(keep(viewport, f"{outcome}-capture"), color) > 0.03

    for _ in range(WAIT_MS // 500):  # the pixels come after the words over them
        if seen():
            break
        opened.wait_for_timeout(500)
    assert seen(), "the bar of the headline is not to be seen"
    pixels = keep(viewport, f"{outcome}-capture")
    assert (pixels.min(axis=2) > 150).mean() > 0.005, "no letter is to be seen"
    others = {one: shade for one, shade in vocabulary.OUTCOME_COLORS.items() if shade != color}
    assert {one for one, shade in others.items() if share_of(pixels, shade) > 0.01} == set()
