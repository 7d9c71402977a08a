"""Claude Code usage to files in a local directory or any object store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_claude_code.lineage import asset_uri
from airflow_provider_claude_code.storage.stores import open_store, storage_path, url_of
from airflow_provider_claude_code.transfers.base import ClaudeCodeTransferOperator

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_claude_code.tables.contract import FileFormat
    from airflow_provider_claude_code.targets.base import Target


class ClaudeCodeToObjectStorageOperator(ClaudeCodeTransferOperator):
    """
    Load days of Claude Code usage into files.

    A day of a table is the file ``PATH/TABLE/dt=YYYY-MM-DD/TABLE.parquet``, which a load replaces. The file
    ``PATH/loads/dt=YYYY-MM-DD/LOAD_ID.STREAM.parquet`` is written last and records the load.

    A local directory is locked while a day is published, so concurrent loads never mix. An object store has
    no locks: there, a writer checks again after publishing, and loads the day again if another writer interfered.

    The other arguments are those of
    :class:`~airflow_provider_claude_code.transfers.base.ClaudeCodeTransferOperator`.

    :param path: where the files go (templated): an absolute local path, or a URL that Airflow's
        ``ObjectStoragePath`` knows, like ``file:///data/claude_code``, ``s3://bucket/claude_code`` or
        ``gs://bucket/claude_code``. Use one per organisation.
    :param conn_id: the Connection of the object store (templated); default: none, so the worker's own credentials are
        used.
    :param file_format: ``parquet`` (zstd), ``ndjson`` (gzip) or ``csv`` (gzip) (templated).
    """

    template_fields: Sequence[str] = (*ClaudeCodeTransferOperator.template_fields, "path", "conn_id")

    def __init__(
        self,
        *,
        path: str,
        conn_id: str | None = None,
        file_format: FileFormat | str = "parquet",
        **kwargs: Any,
    ) -> None:
        super().__init__(file_format=file_format, **kwargs)
        self.path = path
        self.conn_id = conn_id

    def table_uri(self, table: str) -> str:
        """Return the URI of a table's folder."""
        return asset_uri(url_of(self._root / table))

    def openlineage_name(self, table: str) -> tuple[str, str]:
        """Return the store and the folder."""
        folder = self._root / table
        return folder.namespace, folder.key

    @property
    def _root(self) -> ObjectStoragePath:
        return storage_path("path", self.path, self.conn_id)

    def open_target(self, context: Context) -> Target:
        """Return the directory or bucket."""
        # Loads pyarrow, so not when a Dag file is parsed.
        from airflow_provider_claude_code.targets.files import FileTarget

        return FileTarget(open_store(self._root), self.stream, cast("FileFormat", self.file_format))
