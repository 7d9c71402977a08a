"""Claude Code usage to files in Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.lineage import asset_uri
from airflow_provider_claude_code.links import GCSFolderLink
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.templates import accounts, is_template
from airflow_provider_claude_code.transfers.base import ClaudeCodeTransferOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_claude_code.tables.contract import FileFormat
    from airflow_provider_claude_code.targets.base import Target


class ClaudeCodeToGCSOperator(ClaudeCodeTransferOperator):
    """
    Load days of Claude Code usage into files in Google Cloud Storage.

    The layout is that of
    :class:`~airflow_provider_claude_code.transfers.claude_code_to_object_storage.ClaudeCodeToObjectStorageOperator`.
    An object is replaced only if nobody else has replaced it since publishing began. If two writers load one day, the
    later one notices and loads the day again.

    The other arguments are those of
    :class:`~airflow_provider_claude_code.transfers.base.ClaudeCodeTransferOperator`.

    :param bucket: name of the bucket (templated).
    :param prefix: prefix of the names of all objects (templated). Use one per organisation.
    :param file_format: ``parquet`` (zstd), ``ndjson`` (gzip) or ``csv`` (gzip) (templated).
    :param gcp_conn_id: the Google Cloud Connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them that ends with it (templated).
    """

    template_fields: Sequence[str] = (
        *ClaudeCodeTransferOperator.template_fields,
        "bucket",
        "prefix",
        "gcp_conn_id",
        "impersonation_chain",
    )

    operator_extra_links = (GCSFolderLink(),)

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "claude_code",
        file_format: FileFormat | str = "parquet",
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(file_format=file_format, **kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self._refuse_unusable_place(is_rendered=False)
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def table_uri(self, table: str) -> str:
        """Return the URI of a table's folder."""
        return asset_uri("/".join(self.openlineage_name(table)))

    def openlineage_name(self, table: str) -> tuple[str, str]:
        """Return the bucket and the folder."""
        return f"gs://{self.bucket}", f"{self.folder}/{table}".lstrip("/")

    @property
    def folder(self) -> str:
        """The prefix without slashes around it. A native template makes a number of text that looks like one."""
        return "" if self.prefix is None else str(self.prefix).strip("/")

    def open_target(self, context: Context) -> Target:
        """Return the bucket."""
        # Load google.cloud and pyarrow, so not when a Dag file is parsed.
        from airflow.providers.google.cloud.hooks.gcs import GCSHook

        from airflow_provider_claude_code.storage.gcs import GCSStore
        from airflow_provider_claude_code.targets.files import FileTarget

        self._refuse_unusable_place()
        hook = GCSHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=accounts("impersonation_chain", self.impersonation_chain)
        )
        try:
            with typed_store_errors(f"gs://{self.bucket}"):
                store = GCSStore(hook, str(self.bucket), self.folder)
        except ValueError as error:
            raise ClaudeCodeConfigurationError(f"bucket is {self.bucket!r}: {error}") from error
        return FileTarget(store, self.stream, cast("FileFormat", self.file_format))

    def _refuse_unusable_place(self, *, is_rendered: bool = True) -> None:
        if (is_rendered or not is_template(self.bucket)) and (not self.bucket or "/" in str(self.bucket)):
            raise ClaudeCodeConfigurationError(
                f"bucket is {self.bucket!r}; a bucket's name was expected, without gs:// and without a path."
            )
        # Reports could not read such a folder either.
        if (is_rendered or not is_template(self.prefix)) and "//" in self.folder:
            raise ClaudeCodeConfigurationError(
                f"prefix is {self.prefix!r}; a folder of the bucket was expected, without gs:// and double slashes."
            )
