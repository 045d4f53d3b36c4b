from .bundle import Bundle, check_bundle
from .configs import judge_config

__all__ = ["Bundle", "check_bundle", "judge_config"]
