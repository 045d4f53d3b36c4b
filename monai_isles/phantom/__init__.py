"""The embedded data set: a CT perfusion phantom with known truth, in the ISLES 2018 layout."""

from monai_isles.phantom.dataset import dataset_or_phantom, make_case, make_dataset
from monai_isles.phantom.head import Head, head_with_pose
from monai_isles.phantom.scan import CaseArrays

__all__ = ["CaseArrays", "Head", "dataset_or_phantom", "head_with_pose", "make_case", "make_dataset"]
