from .bundle import Bundle, check_bundle, known_bundles
from .configs import judge_config

__all__ = ["Bundle", "check_bundle", "judge_config", "known_bundles"]
