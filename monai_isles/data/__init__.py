"""A data folder in, cases and patient-grouped data lists out; every fault of a data set in one list."""

from monai_isles.data.checks import check_folder, check_list
from monai_isles.data.datalist import find_data_list, make_datalist, read_datalist
from monai_isles.data.dicom import DicomSeries, find_series, read_series
from monai_isles.data.dicom_find import SeriesInfo
from monai_isles.data.digest import list_digest
from monai_isles.data.entries import load_entries
from monai_isles.data.folds import group_folds
from monai_isles.data.input_row import InputRow, input_row
from monai_isles.data.inputs import find_entries, find_inputs
from monai_isles.data.layouts import Layout, find_cases, find_layout, read_case
from monai_isles.data.lesion_share import measured_lesion_share
from monai_isles.data.local_split import local_split
from monai_isles.io.findings import Finding

__all__ = [
    "DicomSeries", "Finding", "InputRow", "Layout", "SeriesInfo", "check_folder", "check_list", "find_cases",
    "find_data_list", "find_entries", "find_inputs", "find_layout", "find_series", "group_folds", "input_row",
    "list_digest", "load_entries", "local_split", "make_datalist", "measured_lesion_share", "read_case",
    "read_datalist", "read_series",
]  # fmt: skip
