"""Draws the page of the Secondary Capture: the key image on the left, the words on the right. RGB, 8 bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1024, 768
# viewers write over the first and last lines of an image: no word of ours stands there
_MARGIN, _TOP = 48, 62
_GAP = 22
_BAR_HEIGHT = 64
_FOOTER_HEIGHT = 74
_PICTURE = 470
_BACKGROUND = "#0d1117"
_FRAME = "#39424e"
_TEXT = "#e6edf3"
_FAINT = "#9aa6b2"
_WARNING = "#ffd166"

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Page:
    """The words of one page, ASCII; `caption` stands below the picture."""

    headline: str
    color: str
    paragraphs: tuple[str, ...]
    caption: str
    disclaimer: str
    small_print: str


def draw_page(page: Page, picture: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Draw a page of shape (768, 1024, 3); `picture` is the key image (H, W) in the brain window, or None."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    top = _TOP + _BAR_HEIGHT + _GAP
    box = (_MARGIN, top, WIDTH - _MARGIN, HEIGHT - _MARGIN - _FOOTER_HEIGHT)
    _draw_headline(draw, page)
    if picture is None:
        _draw_words(draw, page, box, largest=28)
    else:
        _draw_picture(image, draw, picture, page.caption, top)
        _draw_words(draw, page, (box[0] + _PICTURE + _GAP, *box[1:]), largest=22)
    _draw_footer(draw, page)
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


def _draw_picture(
    image: Image.Image, draw: ImageDraw.ImageDraw, picture: NDArray[np.uint8], caption: str, top: int
) -> None:
    rows, columns = picture.shape
    scale = _PICTURE / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    shown = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    x, y = _MARGIN + (_PICTURE - size[0]) // 2, top + (_PICTURE - size[1]) // 2
    image.paste(shown.convert("RGB"), (x, y))
    draw.rectangle((_MARGIN, top, _MARGIN + _PICTURE - 1, top + _PICTURE - 1), outline=_FRAME)
    if caption:
        draw.text((_MARGIN, top + _PICTURE + 6), caption, fill=_FAINT, font=_font(18))


def _draw_words(draw: ImageDraw.ImageDraw, page: Page, box: Box, *, largest: int) -> None:
    left, top, right, bottom = box
    lines, font = _fit(page.paragraphs, (left, top, right, bottom), largest=largest)
    height = _line_height(font)
    y = float(top)
    for line in lines:
        draw.text((left, y), line, fill=_TEXT, font=font)
        y += height if line else height / 2


def _draw_footer(draw: ImageDraw.ImageDraw, page: Page) -> None:
    y = HEIGHT - _MARGIN - 50
    draw.text((_MARGIN, y), page.disclaimer, fill=_WARNING, font=_font(24))
    (line, *_), font = _fit(
        [page.small_print], (_MARGIN, y + 32, WIDTH - _MARGIN, HEIGHT - _MARGIN), largest=15
    )
    draw.text((_MARGIN, y + 34), line, fill=_FAINT, font=font)


def _fit(paragraphs: Sequence[str], box: Box, *, largest: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Wrap the paragraphs in the largest letters that fit the box; what still overflows at 10 px is cut."""
    for size in range(largest, 9, -1):
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
