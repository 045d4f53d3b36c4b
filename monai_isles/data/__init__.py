"""A data folder in, cases and patient-grouped data lists out; every fault of a data set in one list."""

from monai_isles.data.checks import check_folder, check_list
from monai_isles.data.datalist import find_data_list, make_datalist, read_datalist
from monai_isles.data.entries import load_entries
from monai_isles.data.folds import group_folds
from monai_isles.data.inputs import find_entries, find_inputs
from monai_isles.data.isles2018 import find_cases, read_case
from monai_isles.io.findings import Finding

__all__ = [
    "Finding", "check_folder", "check_list", "find_cases", "find_data_list", "find_entries", "find_inputs",
    "group_folds", "load_entries", "make_datalist", "read_case", "read_datalist",
]  # fmt: skip
