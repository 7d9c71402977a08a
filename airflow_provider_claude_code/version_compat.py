"""The Airflow names whose place differs between the supported versions. Other modules import them from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version

_AIRFLOW_VERSION = tuple(map(int, airflow_version.split(".")[:2]))
AIRFLOW_V_3_3_PLUS = _AIRFLOW_VERSION >= (3, 3)

if TYPE_CHECKING or _AIRFLOW_VERSION >= (3, 2):
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
    )
    from airflow.sdk.lineage import get_hook_lineage_collector
    from airflow.sdk.plugins_manager import get_hook_lineage_readers_plugins as get_hook_lineage_readers
else:
    from airflow.configuration import conf
    from airflow.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
    )
    from airflow.lineage.hook import get_hook_lineage_collector

    def get_hook_lineage_readers() -> list[Any]:
        """Return the plugins' readers of hook lineage, as Airflow 3.2 does."""
        from airflow import plugins_manager

        plugins_manager.initialize_hook_lineage_readers_plugins()
        return plugins_manager.hook_lineage_reader_classes or []


if TYPE_CHECKING or _AIRFLOW_VERSION >= (3, 1):
    from airflow.sdk import BaseHook
    from airflow.sdk.log import mask_secret
else:
    from airflow.hooks.base import BaseHook
    from airflow.sdk.execution_time.secrets_masker import mask_secret

__all__ = [
    "AIRFLOW_V_3_3_PLUS",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseHook",
    "TaskDeferralError",
    "conf",
    "get_hook_lineage_collector",
    "get_hook_lineage_readers",
    "mask_secret",
]
