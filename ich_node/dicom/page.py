"""Draws the page of the Secondary Capture: the key slices left and below, the words right. RGB, 8 bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ich_node.dicom.key_slice import OUTLINE, KeySlice, paint

WIDTH, HEIGHT = 1024, 768
STRIP_HEIGHT = 256  # by which a page with small pictures is higher
MOST_SMALL = 4
# viewers write over the first and last lines of an image: no word of ours stands there
_MARGIN, _TOP = 48, 62
_GAP = 22
_BAR_HEIGHT = 64
_FOOTER_HEIGHT = 74
_PICTURES_TOP = _TOP + _BAR_HEIGHT + _GAP
_PICTURE = 470
_CAPTION_HEIGHT = 34
_SMALL_PICTURE = (WIDTH - 2 * _MARGIN - (MOST_SMALL - 1) * _GAP) // MOST_SMALL
_SMALLEST = 10  # letters, in pixels
_BACKGROUND = "#0d1117"
_FRAME = "#39424e"
_TEXT = "#e6edf3"
_FAINT = "#9aa6b2"
_WARNING = "#ffd166"

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Plate:
    """A key slice and the words below it, ASCII."""

    key_slice: KeySlice
    caption: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """The words and pictures of one page, ASCII; the first plate is shown large, up to four others small.

    `legend` says what an outline is; it stands only on a page that shows one.
    """

    headline: str
    color: str
    paragraphs: tuple[str, ...]
    plates: tuple[Plate, ...]
    legend: str
    disclaimer: str
    small_print: str


def draw_page(page: Page) -> NDArray[np.uint8]:
    """Draw a page of shape (768, 1024, 3), or (1024, 1024, 3) where there are small pictures."""
    large, small = page.plates[:1], page.plates[1 : 1 + MOST_SMALL]
    height = HEIGHT + STRIP_HEIGHT if small else HEIGHT
    image = Image.new("RGB", (WIDTH, height), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    _draw_headline(draw, page)
    words = (_MARGIN, _PICTURES_TOP, WIDTH - _MARGIN, height - _MARGIN - _FOOTER_HEIGHT)
    if not large:
        _draw_words(draw, page, words, largest=28)
    else:
        _draw_plate(image, large[0], (_MARGIN, _PICTURES_TOP), side=_PICTURE, letters=18)
        beside = (_MARGIN + _PICTURE + _GAP, _PICTURES_TOP, WIDTH - _MARGIN, _PICTURES_TOP + _PICTURE)
        _draw_words(draw, page, beside, largest=22)
        if any(plate.key_slice.outlined for plate in (*large, *small)):
            _draw_legend(draw, page.legend, beside[0])
    for place, plate in enumerate(small):
        left = _MARGIN + place * (_SMALL_PICTURE + _GAP)
        top = _PICTURES_TOP + _PICTURE + _CAPTION_HEIGHT + _GAP // 2
        _draw_plate(image, plate, (left, top), side=_SMALL_PICTURE, letters=15)
    _draw_footer(draw, page, height)
    return np.asarray(image, dtype=np.uint8)


def _draw_headline(draw: ImageDraw.ImageDraw, page: Page) -> None:
    box = (_MARGIN, _TOP, WIDTH - _MARGIN, _TOP + _BAR_HEIGHT)
    draw.rounded_rectangle(box, radius=8, fill=page.color)
    inner = (box[0] + 18, box[1] + 6, box[2] - 18, box[3] - 6)
    lines, font = _fit([page.headline], inner, largest=32)
    height = _line_height(font)
    y = (box[1] + box[3] - height * len(lines)) / 2
    for line in lines:
        draw.text((inner[0], y), line, fill="white", font=font)
        y += height


def _draw_plate(
    image: Image.Image, plate: Plate, corner: tuple[int, int], *, side: int, letters: int
) -> None:
    """Draw a slice in a square frame, and below it its caption, in smaller letters where it is too wide."""
    left, top = corner
    shown = paint(plate.key_slice, side)
    image.paste(shown, (left + (side - shown.width) // 2, top + (side - shown.height) // 2))
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, left + side - 1, top + side - 1), outline=_FRAME)
    fonts = (_font(size) for size in range(letters, _SMALLEST - 1, -1))
    if font := next((font for font in fonts if font.getlength(plate.caption) <= side), None):
        draw.text((left, top + side + 5), plate.caption, fill=_FAINT, font=font)


def _draw_legend(draw: ImageDraw.ImageDraw, legend: str, left: int) -> None:
    """Say what the outline is, beside a small one."""
    top, right = _PICTURES_TOP + _PICTURE, WIDTH - _MARGIN
    lines, font = _fit([legend], (left + 34, top, right, top + _CAPTION_HEIGHT), largest=18)
    draw.rounded_rectangle((left, top + 10, left + 22, top + 20), radius=4, outline=OUTLINE, width=2)
    draw.text((left + 34, top + 5), lines[0], fill=_FAINT, font=font)


def _draw_words(draw: ImageDraw.ImageDraw, page: Page, box: Box, *, largest: int) -> None:
    left, top, right, bottom = box
    lines, font = _fit(page.paragraphs, (left, top, right, bottom), largest=largest)
    height = _line_height(font)
    y = float(top)
    for line in lines:
        draw.text((left, y), line, fill=_TEXT, font=font)
        y += height if line else height / 2


def _draw_footer(draw: ImageDraw.ImageDraw, page: Page, height: int) -> None:
    y = height - _MARGIN - 50
    draw.text((_MARGIN, y), page.disclaimer, fill=_WARNING, font=_font(24))
    (line, *_), font = _fit(
        [page.small_print], (_MARGIN, y + 32, WIDTH - _MARGIN, height - _MARGIN), largest=15
    )
    draw.text((_MARGIN, y + 34), line, fill=_FAINT, font=font)


def _fit(paragraphs: Sequence[str], box: Box, *, largest: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Wrap the paragraphs in the largest letters that fit the box; what still overflows at 10 px is cut."""
    for size in range(largest, _SMALLEST - 1, -1):
        font = _font(size)
        lines = _wrap(paragraphs, font, box[2] - box[0])
        room = int((box[3] - box[1]) / _line_height(font))
        if len(lines) <= max(room, 1):
            return lines, font
    return lines[:room], font


def _wrap(paragraphs: Sequence[str], font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in paragraphs:
        if lines:
            lines.append("")
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


def _line_height(font: ImageFont.FreeTypeFont) -> int:
    ascent, descent = font.getmetrics()
    return ascent + descent + 2


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow built without FreeType has one size only
        raise TypeError("Pillow was built without FreeType: no scalable font")
    return font
