from .configs import judge_bundle, judge_config

__all__ = ["judge_bundle", "judge_config"]
