"""Renders a report for people without a DICOM viewer: HTML from the SR's content tree. Needs pydicom only."""

from collections.abc import Callable, Iterable
from html import escape

from pydicom.dataset import Dataset

from ich_node import vocabulary
from ich_node.dicom.report_facts import ReportFacts, read_back
from ich_node.dicom.stylesheet import REPORT_STYLE
from ich_node.vocabulary import Outcome

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_IDENTITY = {
    "PatientName": "Patient",
    "PatientID": "Patient ID",
    "PatientBirthDate": "Born",
    "PatientSex": "Sex",
    "StudyDescription": "Study",
    "StudyDate": "Study date",
    "AccessionNumber": "Accession number",
    "StudyInstanceUID": "Study UID",
}


def html(report: Dataset) -> str:
    """Render an SR of ours as one printable page without scripts or outside files; every value is escaped."""
    facts = read_back(report)
    color = vocabulary.OUTCOME_COLORS.get(facts.outcome or Outcome.FAILED, "")
    headline = _headline(facts)
    title = _text(report.get("SeriesDescription", "")) or vocabulary.PRODUCT
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>\n<style>{REPORT_STYLE}</style>\n</head>\n<body>",
            f'<p class="disclaimer">{_text(vocabulary.DISCLAIMER)}</p>',
            f'<h1 style="background:{color}">{_text(headline)}</h1>',
            f'<p class="conclusion">{_text(facts.conclusion.removeprefix(headline).strip())}</p>',
            _identity(report),
            _contents(report.get("ContentSequence", None) or (), level=2),
            f'<p class="disclaimer">{_text(vocabulary.DISCLAIMER)}</p>',
            "</body>\n</html>\n",
        )
    )


def _headline(facts: ReportFacts) -> str:
    if facts.outcome is None:
        return vocabulary.TITLE_TEXT.meaning
    places = {code.value: location for location, code in vocabulary.SITES.items()}
    return vocabulary.finding_sentence(facts.outcome, places.get(facts.finding_site or ""))


def _identity(report: Dataset) -> str:
    rows = [
        f"<tr><th>{_text(name)}</th><td>{_text(report.get(keyword, None)) or '-'}</td></tr>"
        for keyword, name in _IDENTITY.items()
    ]
    written = f"{report.get('ContentDate', '')} {report.get('ContentTime', '')}"
    zone = report.get("TimezoneOffsetFromUTC", "")
    rows.append(f"<tr><th>Report</th><td>{_text(f'{written} {zone}')}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _contents(items: Iterable[Dataset], level: int) -> str:
    return "\n".join(_content(item, level) for item in items)


def _content(item: Dataset, level: int) -> str:
    name = _meaning(item.get("ConceptNameCodeSequence", None))
    kind = str(item.get("ValueType", ""))
    children = _contents(item.get("ContentSequence", None) or (), level + 1)
    if kind == "CONTAINER":
        heading = f"h{min(level, 6)}"
        return f"<section>\n<{heading}>{name}</{heading}>\n{children}\n</section>"
    value = _VALUES[kind](item) if kind in _VALUES else _text(kind)
    return f'<div class="item"><b>{name or _text(kind.lower())}</b> {value}{children}</div>'


def _code(item: Dataset) -> str:
    return _meaning(item.get("ConceptCodeSequence", None), with_value=True)


def _number(item: Dataset) -> str:
    measured = item.get("MeasuredValueSequence", None)
    if not measured:
        return "-"
    unit = measured[0].get("MeasurementUnitsCodeSequence", None)
    symbol = _text(unit[0].get("CodeValue", "")) if unit else ""
    return f"{_text(measured[0].get('NumericValue', ''))} {symbol}"


def _uid(item: Dataset) -> str:
    return f"<code>{_text(item.get('UID', ''))}</code>"


def _image(item: Dataset) -> str:
    referenced = item.get("ReferencedSOPSequence", None)
    return f"<code>{_text(referenced[0].get('ReferencedSOPInstanceUID', ''))}</code>" if referenced else "-"


def _words(item: Dataset) -> str:
    return _text(item.get("TextValue", ""))


def _region(item: Dataset) -> str:
    return _text(f"{item.get('GraphicType', '')} {item.get('GraphicData', '')}")


_VALUES: dict[str, Callable[[Dataset], str]] = {
    "CODE": _code,
    "NUM": _number,
    "TEXT": _words,
    "UIDREF": _uid,
    "IMAGE": _image,
    "SCOORD": _region,
}


def _meaning(codes: Iterable[Dataset] | None, *, with_value: bool = False) -> str:
    for code in codes or ():
        meaning = _text(code.get("CodeMeaning", ""))
        if not with_value:
            return meaning
        value = _text(f"{code.get('CodeValue', '')}, {code.get('CodingSchemeDesignator', '')}")
        return f"{meaning} <small>({value})</small>"
    return ""


def _text(value: object) -> str:
    return escape("" if value is None else str(value))
