"""Ischemic stroke lesion segmentation with MONAI: published systems as bundles. Research only, not a medical device.

>>> import monai_isles
>>> monai_isles.load_bundle("clerigues").config("inference")["modalities"]
['ct', 'cbf', 'cbv', 'mtt', 'tmax']
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from monai_isles.workflows.api import evaluate as evaluate
    from monai_isles.workflows.api import measure_perfusion as measure_perfusion
    from monai_isles.workflows.api import segment as segment
    from monai_isles.workflows.bundles import list_bundles as list_bundles
    from monai_isles.workflows.bundles import load_bundle as load_bundle

__version__ = "0.2.0"
_FUNCTIONS = {
    "workflows.api": ["evaluate", "measure_perfusion", "segment"],
    "workflows.bundles": ["list_bundles", "load_bundle"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_FUNCTIONS)
