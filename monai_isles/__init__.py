"""Ischemic stroke lesion segmentation with MONAI: published systems as bundles. Research only, not a medical device.

>>> import monai_isles
>>> monai_isles.load_bundle("clerigues").metadata["weights_sha256"][:4]
'ecf0'
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from monai_isles.workflows.api import evaluate as evaluate
    from monai_isles.workflows.api import list_bundles as list_bundles
    from monai_isles.workflows.api import load_bundle as load_bundle
    from monai_isles.workflows.api import measure_perfusion as measure_perfusion
    from monai_isles.workflows.api import segment as segment

__version__ = "0.2.0"
_API = ["evaluate", "list_bundles", "load_bundle", "measure_perfusion", "segment"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"workflows.api": _API})
