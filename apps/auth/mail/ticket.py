"""The ticket as a PDF, with the code that its seller scans."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reportlab.graphics import renderPDF
from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.graphics.shapes import Drawing
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A5
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

# Latin, Greek, Cyrillic, Armenian, Georgian; its part in use is embedded. No font that is free to
# pass on has all scripts in less than many megabytes.
TITLE_FONT = "DejaVuSans-Bold"
FONT_FILE = Path(__file__).parent / "fonts" / "DejaVuSans-Bold.ttf"
TEXT_FONT, BOLD_FONT = "Helvetica", "Helvetica-Bold"  # every reader has them
UNDRAWABLE = "\u25a1"
# Right to left, and scripts whose letters change shape: drawn one by one they would be wrong.
RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})

INK, QUIET, ACCENT, LINE = (HexColor(each) for each in ("#15211c", "#4f5d56", "#0a6847", "#d5dcd7"))
WIDTH, HEIGHT = A5
MARGIN = 14 * mm
CODE = 78 * mm
LARGEST, SMALLEST, STEP = 22, 12, 2
MOST_LINES = 5
LEADING = 1.25
LONGEST_TITLE = 400
"""More than that many letters never fit."""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What is printed.

    Args:
        brand: the name of the marketplace.
        title: on one line.
        facts: labels and values, in Latin letters.
        address: what the code says.
    """

    brand: str
    title: str
    facts: tuple[tuple[str, str], ...]
    address: str


def draw_ticket(ticket: Ticket) -> bytes:
    """Return the ticket as a PDF of one page; the same ticket makes the same bytes.

    A title with letters that the font does not have is drawn with boxes in their places, and a
    line that says where to read it.
    """
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A5, invariant=1, lang="en")
    title = ticket.title[:LONGEST_TITLE].encode("utf-8", "replace").decode()
    canvas.setTitle(f"{ticket.brand}: {title}")
    canvas.setAuthor(ticket.brand)
    _register_font()
    canvas.setFillColor(ACCENT)
    canvas.rect(0, HEIGHT - 20 * mm, WIDTH, 20 * mm, stroke=0, fill=1)
    canvas.setFillColor(HexColor("#ffffff"))
    canvas.setFont(BOLD_FONT, 15)
    canvas.drawString(MARGIN, HEIGHT - 12.5 * mm, ticket.brand)
    canvas.setFont(TEXT_FONT, 11)
    canvas.drawRightString(WIDTH - MARGIN, HEIGHT - 12.5 * mm, "Ticket, admits one")
    top = _draw_title(canvas, title, HEIGHT - 32 * mm)
    _draw_facts(canvas, ticket.facts, top - 4 * mm)
    _draw_code(canvas, ticket.address)
    canvas.save()
    return buffer.getvalue()


def _draw_title(canvas: Canvas, title: str, top: float) -> float:
    """Draw the title as large as it fits, and return where the next thing may begin."""
    drawable, is_whole = _drawable(title)
    size = LARGEST
    lines = wrap(drawable, size)
    while len(lines) > MOST_LINES and size > SMALLEST:
        size -= STEP
        lines = wrap(drawable, size)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1][:-1].rstrip()}…"]
    canvas.setFillColor(INK)
    canvas.setFont(TITLE_FONT, size)
    for line in lines:
        canvas.drawString(MARGIN, top, line)
        top -= size * LEADING
    if not is_whole:
        canvas.setFillColor(QUIET)
        canvas.setFont(TEXT_FONT, 9)
        note = "Some letters of the title cannot be printed here. Your mail has all of them."
        canvas.drawString(MARGIN, top, note)
        top -= 9 * LEADING
    return top


def _draw_facts(canvas: Canvas, facts: tuple[tuple[str, str], ...], top: float) -> None:
    for label, value in facts:
        canvas.setFillColor(QUIET)
        canvas.setFont(TEXT_FONT, 9)
        canvas.drawString(MARGIN, top, label)
        canvas.setFillColor(INK)
        canvas.setFont(BOLD_FONT, 9)
        canvas.drawString(MARGIN + 28 * mm, top, value)
        top -= 5 * mm


def _draw_code(canvas: Canvas, address: str) -> None:
    canvas.setStrokeColor(LINE)
    canvas.setDash(2, 3)
    canvas.line(MARGIN, 112 * mm, WIDTH - MARGIN, 112 * mm)
    canvas.setDash()
    code = QrCodeWidget(address, barLevel="M", barBorder=4)
    left, bottom, right, top = code.getBounds()
    scale = CODE / (right - left), CODE / (top - bottom)
    drawing = Drawing(CODE, CODE, transform=(scale[0], 0, 0, scale[1], 0, 0))
    drawing.add(code)
    renderPDF.draw(drawing, canvas, (WIDTH - CODE) / 2, 29 * mm)
    canvas.setFillColor(INK)
    canvas.setFont(BOLD_FONT, 11)
    canvas.drawCentredString(WIDTH / 2, 23 * mm, "Show this code at the entrance.")
    canvas.setFillColor(QUIET)
    canvas.setFont(TEXT_FONT, 9)
    for height, words in (
        (17, "The seller scans it with a phone and sees whether the ticket is valid."),
        (12, "It lets one person in, once: give a copy to nobody."),
    ):
        canvas.drawCentredString(WIDTH / 2, height * mm, words)


def wrap(text: str, size: float, width: float = WIDTH - 2 * MARGIN) -> list[str]:
    """Break the text into lines: between words, and within a word that is wider than a line."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        for part in _parts(word, size, width):
            joined = f"{line} {part}" if line else part
            if line and _width(joined, size) > width:
                lines.append(line)
                joined = part
            line = joined
    return [*lines, line] if line else lines


def _parts(word: str, size: float, width: float) -> Iterator[str]:
    """Cut a word into pieces that each fit into a line, as long as possible."""
    begin, used = 0, 0.0
    for place, letter in enumerate(word):
        wide = _width(letter, size)
        if place > begin and used + wide > width:
            yield word[begin:place]
            begin, used = place, 0.0
        used += wide
    yield word[begin:]


def _width(text: str, size: float) -> float:
    return float(pdfmetrics.stringWidth(text, _register_font(), size))


def _drawable(title: str) -> tuple[str, bool]:
    """Return what the font can draw of the title, and whether that is all of it."""
    glyphs = _glyphs()
    text = "".join(
        each
        if ord(each) in glyphs and unicodedata.bidirectional(each) not in RIGHT_TO_LEFT
        else UNDRAWABLE
        for each in unicodedata.normalize("NFC", title)
    )
    return text, UNDRAWABLE not in text


@cache
def _register_font() -> str:
    pdfmetrics.registerFont(TTFont(TITLE_FONT, FONT_FILE))
    return TITLE_FONT


def _glyphs() -> dict[int, Any]:
    face: Any = pdfmetrics.getFont(_register_font()).face
    glyphs: dict[int, Any] = face.charToGlyph
    return glyphs
