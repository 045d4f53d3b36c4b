"""The embedded data set: CT perfusion and MRI phantoms with known truth, in the ISLES 2018 and 2015 layouts."""

from monai_isles.phantom.dataset import dataset_or_phantom, make_case, make_dataset, make_mri_case
from monai_isles.phantom.dicom_writer import write_dicom
from monai_isles.phantom.head import Head, head_with_pose
from monai_isles.phantom.mri_scan import MriCase
from monai_isles.phantom.scan import CaseArrays
from monai_isles.phantom.true_perfusion import TruePerfusion, case_with_truth, true_haemodynamics

__all__ = [
    "CaseArrays",
    "Head",
    "MriCase",
    "TruePerfusion",
    "case_with_truth",
    "dataset_or_phantom",
    "head_with_pose",
    "make_case",
    "make_dataset",
    "make_mri_case",
    "true_haemodynamics",
    "write_dicom",
]
