from .ct.head import head_with_pose
from .ct.scan import CaseArrays
from .dataset import case_with_truth, dataset_or_phantom, make_case, make_dataset, make_mri_case, true_haemodynamics
from .dicom_writer import write_dicom
from .mri.scan import MriCase

__all__ = [
    "CaseArrays",
    "MriCase",
    "case_with_truth",
    "dataset_or_phantom",
    "head_with_pose",
    "make_case",
    "make_dataset",
    "make_mri_case",
    "true_haemodynamics",
    "write_dicom",
]
