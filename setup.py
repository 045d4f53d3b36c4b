"""State the packages: those of ``monai_isles/``, and ``bundles/`` with its weights as ``monai_isles_bundles``."""

from setuptools import find_namespace_packages, find_packages, setup

BUNDLES = ["monai_isles_bundles", *(f"monai_isles_bundles.{name}" for name in find_namespace_packages("bundles"))]

setup(
    packages=[*find_packages(include=["monai_isles*"]), *BUNDLES],
    package_dir={"monai_isles_bundles": "bundles"},
    package_data={"monai_isles": ["py.typed", "faults.toml", "*/*.pyi", "*/*.toml", "*/templates/*"]}
    | dict.fromkeys(BUNDLES, ["*"]),
)
