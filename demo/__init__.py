"""Demonstrations that need no key: ``make demo`` and ``make demo-bigquery``."""

import warnings

# Google's libraries warn of Python versions that they will drop some day.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core\.")
