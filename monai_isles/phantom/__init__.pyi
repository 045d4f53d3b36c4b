from .dataset import dataset_or_phantom, make_case, make_dataset

__all__ = [
    "dataset_or_phantom",
    "make_case",
    "make_dataset",
]
