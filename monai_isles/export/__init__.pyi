from .bundle import export_bundle
from .challenge import challenge_names, export_challenge
from .nnunet import export_nnunet

__all__ = ["challenge_names", "export_bundle", "export_challenge", "export_nnunet"]
