"""Read DICOM's text by its Specific Character Set: the standard's terms, misspelt ones, and Python's codecs.

Source: DICOM PS3.3 C.12.1.1.2 and PS3.5 6.1.2; ``tests/dicom/test_characters.py``.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pydicom import Dataset

# ISO-IR number: codec, by the names that pydicom knows; of one byte a character, and of several
_SINGLE = {
    "6": "iso8859", "100": "latin_1", "101": "iso8859_2", "109": "iso8859_3", "110": "iso8859_4", "144": "iso_ir_144",
    "127": "iso_ir_127", "126": "iso_ir_126", "138": "iso_ir_138", "148": "iso_ir_148", "203": "iso8859_15",
    "13": "shift_jis", "166": "iso_ir_166",
}  # fmt: skip
_SEVERAL = {"87": "iso2022_jp", "159": "iso2022_jp_2", "149": "euc_kr", "58": "iso_ir_58"}
_UNICODE, _DEFAULT = "UTF8", _SINGLE["6"]
_CODECS = {"18030": "GB18030", "GBK": "GBK", "2312": "iso_ir_58", "192": _UNICODE, **_SINGLE, **_SEVERAL}
_BY_NAME = {codecs.lookup(codec).name: codec for codec in _CODECS.values()}
_ALONE = {"GB18030", "GBK", "ISO_IR 192", *(f"ISO_IR {number}" for number in _SINGLE)}
_FIRST = {"", *(f"ISO 2022 IR {number}" for number in _SINGLE)}
_LATER = {f"ISO 2022 IR {number}" for number in (*_SINGLE, *_SEVERAL)}
# Text without escape sequences is read by the larger sets that Windows gives these names
_LARGER = {"euc_kr": ["cp949", "euc_kr"], "iso_ir_58": ["GB18030", "iso_ir_58"]}
_NUMBERED = re.compile(r"(?:ISO)?[ _-]?(?:2022)?[ _-]?(?:IR|GB)?[ _-]?(\d+|GBK)", re.IGNORECASE)
_ESCAPE_58 = "\x1b$)A"  # pydicom leaves it in the text


def character_terms(header: Dataset) -> list[str]:
    """Return the values of Specific Character Set, none where they state or mean the default, ISO-IR 6."""
    stated = header.get("SpecificCharacterSet") or ()
    terms = [str(term).strip() for term in ([stated] if isinstance(stated, str) else stated)]
    return [] if set(terms) <= {"", "ISO_IR 6", "ISO 2022 IR 6"} else terms


def well_spelt(terms: Sequence[str]) -> bool:
    """Return whether DICOM allows these terms together; a lone set of code extensions, for one, it does not."""
    if len(terms) < 2:
        return set(terms) <= _ALONE
    return terms[0] in _FIRST and set(terms[1:]) <= _LATER


def codecs_of(terms: Sequence[str]) -> list[str]:
    """Return Python's codecs for terms, the default for none and for unknown ones."""
    # ISO-IR 6 has no characters above 127: where others follow, text without escape sequences is in the next of them.
    known = [codec for term in terms if (codec := _codec(term)) != _DEFAULT] or [_DEFAULT]
    if _UNICODE in known:  # it stands alone
        return [_UNICODE]
    return _LARGER.get(known[0], known[:1]) + known[1:]


def _codec(term: str) -> str:
    if numbered := _NUMBERED.fullmatch(term):
        return _CODECS.get(numbered[1].upper(), _DEFAULT)
    try:
        b" ".decode(term)  # no name of DICOM's, but one of Python's: UTF-8, EUC-KR, LATIN1
    except (LookupError, ValueError):
        return _DEFAULT
    return _BY_NAME.get(codecs.lookup(term).name, term)


def decode_by(header: Dataset, names: Sequence[str]) -> None:
    """Let the text of a header that was just read be decoded by Python's codecs, and that of its sequences."""
    implicit, little_endian = header.original_encoding
    header.set_original_encoding(implicit, little_endian, list(names))
    for element in list(header.values()):
        if element.VR == "SQ" and not element.is_raw:
            for item in cast("Sequence[Dataset]", element.value or ()):
                decode_by(item, names)


def text_of(header: Dataset, keyword: str) -> str:
    """Return an attribute as text, empty if it is absent."""
    value = header.get(keyword)
    return "" if value is None else str(value).replace(_ESCAPE_58, "")


def settle_characters(header: Dataset) -> None:
    """Keep the terms and bytes of a header as they are if DICOM allows the terms; else make its text Unicode."""
    # The default needs no term. A name beyond ASCII under unknown terms keeps terms and bytes too.
    terms = character_terms(header)
    if not terms:
        header.pop("SpecificCharacterSet", None)
    elif not well_spelt(terms):
        decode_by(header, known := codecs_of(terms))
        name = text_of(header, "PatientName")
        if known != [_DEFAULT] or name.isascii():
            header.PatientName, header.SpecificCharacterSet = name, "ISO_IR 192"
