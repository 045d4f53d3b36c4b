"""Names in every character set of DICOM are read, hide in no folder's name, and stand in every result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_isles.data.study import find_studies
from monai_isles.dicom.header import quietly, read_words
from monai_isles.dicom.read import find_series, read_series
from monai_isles.dicom.source import DicomSource
from monai_isles.dicom.write import Algorithm, publish_captures, publish_maps, publish_pdf, publish_seg, publish_sr
from tests.fixtures.dicom import change, make_ct_series, ras_affine

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
BY = Algorithm("clerigues", "0.1.0")
GRID = (20, 16, 3)
HONG = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
YAMADA = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"
KOREAN, JAPANESE, JEROME = "Hong^Gildong=洪^吉洞=홍^길동", "Yamada^Tarou=山田^太郎", "Buc^Jérôme"
# term in the file, bytes of the name (the examples of PS3.5 H, I and J among them), the name; results repeat the term
DICOM_S_OWN = {
    "ISO_IR 100": (JEROME.encode("latin-1"), JEROME),
    "ISO_IR 101": ("Wałęsa^Łukasz".encode("iso8859-2"), "Wałęsa^Łukasz"),
    "ISO_IR 109": ("Ĉapelo^Ġorġ".encode("iso8859-3"), "Ĉapelo^Ġorġ"),
    "ISO_IR 110": ("Ķēniņš^Ā".encode("iso8859-4"), "Ķēniņš^Ā"),
    "ISO_IR 144": ("Люкceмбypг^Иван".encode("iso8859-5"), "Люкceмбypг^Иван"),
    "ISO_IR 127": ("قباني^لنزار".encode("iso8859-6"), "قباني^لنزار"),
    "ISO_IR 126": ("Διονυσιος^Α".encode("iso8859-7"), "Διονυσιος^Α"),
    "ISO_IR 138": ("שרון^דבורה".encode("iso8859-8"), "שרון^דבורה"),
    "ISO_IR 148": ("Çavuşoğlu^İ".encode("iso8859-9"), "Çavuşoğlu^İ"),
    "ISO_IR 203": ("Œuvre^Žak".encode("iso8859-15"), "Œuvre^Žak"),
    "ISO_IR 13": (b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    "ISO_IR 166": ("นามสกุล^ชื่อ".encode("tis-620"), "นามสกุล^ชื่อ"),
    "ISO_IR 192": ("Wang^XiaoDong=王^小东".encode(), "Wang^XiaoDong=王^小东"),
    "GB18030": ("Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    "GBK": ("Wang^XiaoDong=王^小東".encode("gbk"), "Wang^XiaoDong=王^小東"),
    r"\ISO 2022 IR 149": (HONG, KOREAN),
    r"ISO 2022 IR 6\ISO 2022 IR 149": (HONG, KOREAN),
    r"\ISO 2022 IR 87": (YAMADA, JAPANESE),
    r"ISO 2022 IR 13\ISO 2022 IR 87": (
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    ),
    r"\ISO 2022 IR 87\ISO 2022 IR 159": (b"A^B=\x1b$B;3ED\x1b(B^\x1b$(D0!\x1b(B", "A^B=山田^丂"),
    r"\ISO 2022 IR 58": (b"Zhang^X=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^X=张^小东"),
    r"ISO 2022 IR 100\ISO 2022 IR 144": (
        JEROME.encode("latin-1") + b"=\x1b-L" + "Иван".encode("iso8859-5"),
        JEROME + "=Иван",
    ),
    r"\ISO 2022 IR 127": (b"A^B=\x1b-G" + "قباني".encode("iso8859-6"), "A^B=قباني"),
}
BARE = HONG.replace(b"\x1b$)C", b"")
# terms that DICOM does not allow, each with one reading: results are in Unicode
MISSPELT = [
    ("ISO 2022 IR 149", HONG, KOREAN),
    ("ISO 2022 IR 149", BARE, KOREAN),
    ("ISO 2022 IR 149", "뷁^길동".encode("cp949"), "뷁^길동"),
    ("ISO 2022 IR 149\\", HONG, KOREAN),
    (r"ISO_IR 6\ISO 2022 IR 149", HONG, KOREAN),
    (r"\ISO_IR 149", HONG, KOREAN),
    (r"\ISO 2022 IR149", BARE, KOREAN),
    ("EUC-KR", HONG, KOREAN),
    ("ISO 2022 IR 87", YAMADA, JAPANESE),
    ("ISO 2022 IR 58", b"Zhang^X=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^X=张^小东"),
    ("GB2312", "Zhang^X=张^小东".encode("gb2312"), "Zhang^X=张^小东"),
    ("ISO 2022 GBK", "Wang^XiaoDong=王^小東".encode("gbk"), "Wang^XiaoDong=王^小東"),
    ("SHIFT_JIS", JAPANESE.encode("shift_jis"), JAPANESE),
    (r"ISO_IR 100\ISO_IR 192", JAPANESE.encode(), JAPANESE),
    (r"ISO_IR 100\ISO_IR 144", JEROME.encode("latin-1"), JEROME),
    ("ISO-IR 6", b"DOE^JANE", "DOE^JANE"),
    ("FOO", b"DOE^JANE", "DOE^JANE"),
    *(
        (term, JEROME.encode("latin-1"), JEROME)
        for term in (
            "ISO-IR 100",
            "ISO_IR_100",
            "ISO IR 100",
            "ISO_IR100",
            "iso_ir 100",
            "ISO 2022 IR 100",
            "ISO_2022_IR_100",
            "ISO2022 IR 100",
            "LATIN1",
            "ISO 8859-1",
        )  # fmt: skip
    ),
    *((term, JAPANESE.encode(), JAPANESE) for term in ("ISO_IR_192", "ISO-IR 192", "ISO 2022 IR 192", "UTF-8")),
]


def source_of(folder: Path, term: str | None, name: bytes) -> DicomSource:
    """Write a series whose name and description have these bytes under a term that may be wrong."""
    files = make_ct_series(folder, np.arange(np.prod(GRID)).reshape(GRID[::-1]), name="N" * len(name))
    for path in files:
        change(path, SeriesDescription="D" * len(name))
        blob = path.read_bytes().replace(b"N" * len(name), name).replace(b"D" * len(name), name.replace(b"^", b" "))
        if term is not None:  # the first element after the file meta information, explicit VR
            value = term.encode() + b" " * (len(term) % 2)
            start = blob.index(b"\x08\x00\x16\x00UI")
            element = b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value
            blob = blob[:start] + element + blob[start:]
        path.write_bytes(blob)
    return DicomSource(files, ras_affine(GRID))


def results_of(source: DicomSource, folder: Path) -> list[Path]:
    """Write one object of every kind; return the files."""
    publish_maps({"cbf": np.zeros(GRID, np.float32)}, source, folder)
    publish_seg({"lesion": np.zeros(GRID, bool)}, source, folder / "seg.dcm", algorithm=BY)
    publish_sr({"lesion_ml": 1.0}, folder / "seg.dcm", source, folder / "sr.dcm", algorithm=BY, rule=BY)
    publish_captures({"a": np.zeros((4, 4, 3), np.uint8)}, source, folder, titles={"a": "A"})
    publish_pdf(b"%PDF-1.4\n%%EOF", source, folder / "pdf.dcm", title="A")
    files = sorted(folder.glob("*.dcm"))
    assert len(files) == 5
    return files


@pytest.mark.parametrize("term", DICOM_S_OWN)
def test_results_repeat_name_and_term_of_every_character_set(tmp_path: Path, term: str) -> None:
    stored, name = DICOM_S_OWN[term]
    source = source_of(tmp_path / "series", term, stored)
    series = read_series(tmp_path / "series")
    assert not [finding for finding in series.findings if finding.code == "E-DCM-68"]
    assert find_series(tmp_path / "series")[0].description == name.replace("^", " ")
    assert read_words(source.files[0], ["PatientName"]) == [name]
    for path in results_of(source, tmp_path):
        assert stored in path.read_bytes() and read_words(path, ["PatientName"]) == [name]
        with quietly():  # pydicom does not know ISO-IR 203
            stated = pydicom.dcmread(path).SpecificCharacterSet
        assert (stated if isinstance(stated, str) else "\\".join(stated)) == term


@pytest.mark.parametrize(("term", "stored", "name"), MISSPELT)
def test_a_misspelt_term_with_one_reading_is_remarked_and_results_are_unicode(
    tmp_path: Path, term: str, stored: bytes, name: str
) -> None:
    source = source_of(tmp_path / "series", term, stored)
    (remark,) = [finding for finding in read_series(tmp_path / "series").findings if finding.code == "E-DCM-68"]
    assert repr(term) in remark.found
    assert read_words(source.files[0], ["PatientName", "SeriesDescription"]) == [name, name.replace("^", " ")]
    (path,) = publish_captures({"a": np.zeros((4, 4, 3), np.uint8)}, source, tmp_path, titles={"a": "A"})
    made = pydicom.dcmread(path)
    assert (made.PatientName, made.SpecificCharacterSet) == (name, "ISO_IR 192")


@pytest.mark.parametrize("term", [None, "", "ISO_IR 6", "ISO 2022 IR 6", "\\"])
def test_the_default_set_needs_no_term(tmp_path: Path, term: str | None) -> None:
    source = source_of(tmp_path / "series", term, b"DOE^JANE")
    assert not read_series(tmp_path / "series").findings
    for path in results_of(source, tmp_path):
        made = pydicom.dcmread(path)
        assert made.PatientName == "DOE^JANE" and made.get("SpecificCharacterSet") in (None, "ISO_IR 192")


@pytest.mark.parametrize("term", [None, "FOO"])
def test_a_name_that_nothing_explains_keeps_its_bytes(tmp_path: Path, term: str | None) -> None:
    source = source_of(tmp_path / "series", term, BARE)
    for path in results_of(source, tmp_path):
        if term or path.name != "pdf.dcm":  # the PDF names a set of its own where the source names none
            with quietly():
                stated = pydicom.dcmread(path).get("SpecificCharacterSet")
            assert BARE in path.read_bytes() and stated == term


def test_text_in_sequences_is_read_by_a_misspelt_term_too(tmp_path: Path) -> None:
    files = make_ct_series(tmp_path / "series", np.arange(np.prod(GRID)).reshape(GRID[::-1]))
    for path in files:
        header = pydicom.dcmread(path)
        code = pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "뇌관류"
        header.SpecificCharacterSet, header.PatientName, header.ProcedureCodeSequence = "ISO_IR 192", "홍^길동", [code]
        header["ProcedureCodeSequence"].is_undefined_length = True
        header.save_as(path)
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"ISO_IR_192"))
    for path in results_of(DicomSource(files, ras_affine(GRID)), tmp_path):
        made = pydicom.dcmread(path)
        assert made.PatientName == "홍^길동" and made.get("ProcedureCodeSequence", [code])[0].CodeMeaning == "뇌관류"


@pytest.mark.parametrize("name", ["홍길동", "洪吉洞 hong", "김철", "ZZPLANTED"])
def test_names_without_a_caret_stand_in_no_warning(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    results_of(source_of(tmp_path / "series", "ISO_IR 192", name.encode()), tmp_path)
    assert name not in caplog.text and not recwarn.list


@pytest.mark.parametrize(
    ("term", "stored", "folder"),
    [
        (r"\ISO 2022 IR 149", HONG, "홍길동_1"),
        ("ISO 2022 IR 149", BARE, "洪吉洞"),
        ("ISO_IR 192", "王^伟".encode(), "王伟 perfusion"),
        ("ISO_IR 100", JEROME.encode("latin-1"), "Je\u0301ro\u0302me 2"),
        (r"\ISO 2022 IR 58", b"\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1", "张小"),
    ],
    ids=["korean", "lone korean", "two characters", "decomposed", "chinese"],
)
def test_a_folder_with_the_patient_s_name_gives_results_another(
    tmp_path: Path, term: str, stored: bytes, folder: str, dicom
) -> None:
    for path in dicom.files:
        change(path, PatientName="N" * len(stored))
        value = term.encode() + b" " * (len(term) % 2)
        blob = path.read_bytes().replace(b"N" * len(stored), stored)
        start = blob.index(b"\x08\x00\x08\x00CS")
        element = b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value
        path.write_bytes(blob[:start] + element + blob[start:])
    dicom.folder.rename(tmp_path / folder)
    (name,) = find_studies([tmp_path / folder])
    assert name.startswith("study_")
