"""The tables in BigQuery: their schemas, their creation and migration, and the organisation that owns them."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from google.api_core.exceptions import GoogleAPICallError, NotFound, PreconditionFailed
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField, TimePartitioning

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.quoting import visible
from airflow_provider_claude_code.tables.contract import Table
from airflow_provider_claude_code.tables.loads import LOADS
from airflow_provider_claude_code.targets.base import another_organization_error

log = logging.getLogger(__name__)

ORGANIZATION_LABEL = "claude_code_organization"
"""The table label with the organisation whose usage the table contains."""
# The rest of the description is the user's.
_ORGANIZATION_IN_DESCRIPTION = re.compile(r"^Organisation: (\S+) \((.*)\)$", re.MULTILINE)

# BigQuery's API answers with the legacy names of the types.
STANDARD_TYPES = {"INTEGER": "INT64", "BOOLEAN": "BOOL", "FLOAT": "FLOAT64"}


def bigquery_schema(table: Table) -> list[SchemaField]:
    """Return a table's BigQuery schema."""
    return [
        SchemaField(column.name, column.type, "NULLABLE" if column.nullable else "REQUIRED", None, column.description)
        for column in table.columns
    ]


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """
    Options of new tables.

    :param labels: their labels.
    :param kms_key_name: the key that encrypts them, else Google's.
    :param partition_expiration: after how long BigQuery deletes a day; default: never.
    :param require_partition_filter: whether queries must name the days they read.
    """

    labels: Mapping[str, str]
    kms_key_name: str | None = None
    partition_expiration: timedelta | None = None
    require_partition_filter: bool = False


class DatasetTables:
    """
    The tables of a dataset that a task loads, ``loads`` among them. All belong to one organisation.

    :param client: the client of the Google Cloud Connection.
    :param dataset: the dataset.
    :param table_prefix: what the names of all tables begin with.
    :param tables: the tables with the days.
    :param options: how tables are created.
    :param create_dataset: whether to create a dataset that is missing.
    """

    def __init__(
        self,
        client: bigquery.Client,
        dataset: bigquery.DatasetReference,
        *,
        table_prefix: str,
        tables: Iterable[Table],
        options: TableOptions,
        create_dataset: bool,
    ) -> None:
        self._client = client
        self._dataset = dataset
        self._table_prefix = table_prefix
        # Every load writes loads, so if two organisations find no tables, the one that creates loads may continue.
        self._contracts = [LOADS, *tables]
        self._options = options
        self._create_dataset = create_dataset

    @property
    def data_tables(self) -> list[str]:
        """The tables with the days, without ``loads``."""
        return [contract.name for contract in self._contracts if contract is not LOADS]

    def table_id(self, table: str) -> str:
        """Return a table's name with project and dataset."""
        return f"{self._dataset.project}.{self._dataset.dataset_id}.{self._table_prefix}{table}"

    def partition_id(self, table: str, day: date) -> str:
        """Return the name of a day of a table."""
        return f"{self.table_id(table)}${day:%Y%m%d}"

    def table_ids(self) -> dict[str, str]:
        """Return the names of all tables with project and dataset."""
        return {contract.name: self.table_id(contract.name) for contract in self._contracts}

    def prepare(
        self, organization_id: str, day: date, organization_name: str | None
    ) -> tuple[str, dict[str, bigquery.Table]]:
        """
        Create missing tables, and add missing columns and labels, after checking that all tables can be loaded.

        :param organization_id: the organisation that loads.
        :param day: the day that is loaded.
        :param organization_name: what to call the organisation in the description of ``loads``; None leaves it.
        :return: the location of the dataset, and the tables.
        :raises ClaudeCodeConfigurationError: there is no dataset, a table belongs to another organisation or does not
            fit, or the day is older than BigQuery would keep it. Nothing was changed then.
        """
        dataset = self._get_or_create_dataset()
        existing = {name: find_table(self._client, table_id) for name, table_id in self.table_ids().items()}
        self._refuse_unfit(existing, organization_id)
        self._refuse_expired(existing, dataset, day)
        label = _label_value(organization_id)
        tables = {}
        for contract in self._contracts:
            table = existing[contract.name]
            table = (
                self._create_table(contract, label)
                if table is None
                else self._add_and_relax_columns(table, contract, label)
            )
            # A missing table may have been created by another organisation's load in the meantime.
            _refuse_another_owner(table, organization_id)
            if table.expires is not None:
                log.warning(
                    "BigQuery deletes %s, with all its days, on %s. Remove its expiration, and the default table "
                    "expiration of the dataset.",
                    self.table_id(contract.name),
                    f"{table.expires:%Y-%m-%d}",
                )
            tables[contract.name] = table
        if organization_name is not None:
            self._describe_organization(tables[LOADS.name], organization_id, organization_name)
        return dataset.location, tables

    def _describe_organization(self, table: bigquery.Table, organization_id: str, name: str) -> None:
        """Keep the organisation's name, for reports; the load itself does not depend on it."""
        description = table.description or ""
        line = f"Organisation: {organization_id} ({visible(name)})"
        found = _ORGANIZATION_IN_DESCRIPTION.search(description)
        if found and found[0] == line:
            return
        table.description = description.replace(found[0], line) if found else f"{description}\n{line}"
        try:
            self._client.update_table(table, ["description"])
        except GoogleAPICallError as error:
            log.info("The name of the organisation could not be stored: %s", type(error).__name__)

    def refuse_another_owner(self, tables: Iterable[str], organization_id: str) -> None:
        """
        Check which organisation owns the tables.

        :raises ClaudeCodeConfigurationError: one is another organisation's.
        """
        for table in tables:
            _refuse_another_owner(self._client.get_table(self.table_id(table)), organization_id)

    def _refuse_unfit(self, existing: Mapping[str, bigquery.Table | None], organization_id: str) -> None:
        problems = []
        for contract in self._contracts:
            if (table := existing[contract.name]) is not None:
                problems += [f"{self.table_id(contract.name)}: {text}" for text in _differences(table, contract)]
                _refuse_another_owner(table, organization_id)
        if problems:
            raise ClaudeCodeConfigurationError(
                "Existing tables do not match, and nothing was loaded. " + "; ".join(problems) + ". Choose another "
                "dataset or table_prefix, or change the tables."
            )

    def _get_or_create_dataset(self) -> bigquery.Dataset:
        try:
            dataset = self._client.get_dataset(self._dataset)
        except NotFound:
            if not self._create_dataset:
                raise ClaudeCodeConfigurationError(
                    f"Dataset {self._dataset.project}.{self._dataset.dataset_id} does not exist. Create it, or set "
                    "create_dataset=True."
                ) from None
            dataset = bigquery.Dataset(self._dataset)
            dataset.location = self._client.location
            dataset = self._client.create_dataset(dataset, exists_ok=True)
        asked = self._client.location
        if asked and asked.lower() != dataset.location.lower():
            raise ClaudeCodeConfigurationError(
                f"Dataset {self._dataset.project}.{self._dataset.dataset_id} is in {dataset.location}, not in {asked}, "
                "and nothing was loaded. Correct location, or choose another dataset."
            )
        return dataset

    def _create_table(self, contract: Table, organization: str) -> bigquery.Table:
        options = self._options
        table = bigquery.Table(self.table_id(contract.name), schema=bigquery_schema(contract))
        table.description = f"One row per {contract.grain}"
        table.labels = {**options.labels, ORGANIZATION_LABEL: organization}
        is_data = contract is not LOADS
        expiration = options.partition_expiration if is_data else None
        table.time_partitioning = TimePartitioning(
            type_=contract.partitioning,
            field="date",
            expiration_ms=int(expiration / timedelta(milliseconds=1)) if expiration else None,
        )
        if contract.clustering:
            table.clustering_fields = list(contract.clustering)
        if is_data:
            table.require_partition_filter = options.require_partition_filter
        if options.kms_key_name:
            table.encryption_configuration = bigquery.EncryptionConfiguration(options.kms_key_name)
        return self._client.create_table(table, exists_ok=True)

    def _add_and_relax_columns(self, table: bigquery.Table, contract: Table, organization: str) -> bigquery.Table:
        """Add missing columns and the label to a table, and relax columns to NULLABLE. Change nothing else."""
        contract_columns = {column.name: column for column in contract.columns}
        relaxed = [
            SchemaField.from_api_repr({**column.to_api_repr(), "mode": "NULLABLE"})
            if column.mode == "REQUIRED" and contract_columns[column.name.lower()].nullable
            else column
            for column in table.schema
        ]
        present = {column.name.lower() for column in table.schema}
        # A REQUIRED column cannot be added to a table that has rows.
        missing = [
            SchemaField(name, column.type, "NULLABLE", None, column.description)
            for name, column in contract_columns.items()
            if name not in present
        ]
        changed = []
        if missing or relaxed != list(table.schema):
            table.schema = [*relaxed, *missing]
            changed.append("schema")
        if ORGANIZATION_LABEL not in table.labels:
            table.labels = {**table.labels, ORGANIZATION_LABEL: organization}
            changed.append("labels")
        if not changed:
            return table
        try:
            return self._client.update_table(table, changed)
        except PreconditionFailed:
            # Another load has changed the table since it was read, for example in the same way.
            return self._add_and_relax_columns(self._client.get_table(table.reference), contract, organization)

    def _refuse_expired(
        self, existing: Mapping[str, bigquery.Table | None], dataset: bigquery.Dataset, day: date
    ) -> None:
        """Refuse a day whose rows BigQuery would delete as soon as they are loaded."""
        expirations = {}
        for name, table in existing.items():
            if table is not None:
                milliseconds = table.time_partitioning.expiration_ms
            elif name != LOADS.name and self._options.partition_expiration:
                milliseconds = self._options.partition_expiration / timedelta(milliseconds=1)
            else:
                milliseconds = dataset.default_partition_expiration_ms
            if milliseconds:
                expirations[name] = timedelta(milliseconds=milliseconds)
        if expiration := expirations.pop(LOADS.name, None):
            log.warning(
                "BigQuery deletes each month of %s %g days after it began. Remove the partition expiration of this "
                "table to keep the record of older loads.",
                self.table_id(LOADS.name),
                expiration / timedelta(days=1),
            )
        age = datetime.now(UTC) - datetime(day.year, day.month, day.day, tzinfo=UTC)
        expired = {self.table_id(name): expiration for name, expiration in expirations.items() if age >= expiration}
        if expired:
            raise ClaudeCodeConfigurationError(
                f"{day} is older than the partition expiration of "
                + ", ".join(
                    f"{table} ({expiration / timedelta(days=1):g} days)" for table, expiration in expired.items()
                )
                + ", so BigQuery would delete its rows at once, and nothing was loaded. Load later days only, or raise "
                "the expiration: of the table, or for new tables partition_expiration or the dataset's default."
            )


def find_table(client: bigquery.Client, table_id: str) -> bigquery.Table | None:
    """
    Return a table or view; ``None`` if there is none.

    :param client: the client of the Google Cloud Connection.
    :param table_id: its name with project and dataset, perhaps with a partition.
    """
    try:
        return client.get_table(table_id)
    except NotFound:
        return None


def described_organization(description: str | None) -> dict[str, str]:
    """Return the name of the organisation that a description of ``loads`` names, by its id; nothing if it has none."""
    match = _ORGANIZATION_IN_DESCRIPTION.search(description or "")
    return {match[1]: match[2]} if match else {}


def _refuse_another_owner(table: bigquery.Table, organization_id: str) -> None:
    """
    Check that a table belongs to an organisation, or to none yet.

    :raises ClaudeCodeConfigurationError: it is another organisation's.
    """
    owner = table.labels.get(ORGANIZATION_LABEL)
    if owner not in (None, _label_value(organization_id)):
        place = f"{table.project}.{table.dataset_id}.{table.table_id}"
        raise another_organization_error(place, owner, organization_id, "dataset or table_prefix")


def _differences(table: bigquery.Table, contract: Table) -> list[str]:
    """Return why a table cannot take the rows of a contract; empty if it can."""
    if table.table_type != "TABLE":
        return [f"is a {table.table_type}, not a table"]
    problems = []
    partitioning = table.time_partitioning
    found = f"by {partitioning.type_} on {partitioning.field}" if partitioning else "not at all"
    expected = f"by {contract.partitioning} on date"
    if found != expected:
        problems.append(f"is partitioned {found}, not {expected}")
    columns = {column.name.lower(): column for column in table.schema}
    for column in contract.columns:
        present = columns.pop(column.name, None)
        if present is None:
            continue
        present_type = STANDARD_TYPES.get(present.field_type, present.field_type)
        if present_type != column.type or present.mode == "REPEATED":
            problems.append(f"{column.name} is {present.mode} {present_type}, not {column.type}")
        elif present.precision is not None and (present.precision, present.scale) != (38, 9):
            problems.append(f"{column.name} is NUMERIC({present.precision}, {present.scale}), not NUMERIC")
        elif present.max_length is not None:
            # A longer value would fail its job when other tables are replaced already.
            problems.append(f"{column.name} is STRING({present.max_length}), not STRING")
    problems += [
        f"{column.name} is a REQUIRED column that loads do not fill"
        for column in columns.values()
        if column.mode == "REQUIRED"
    ]
    return problems


def _label_value(organization_id: str) -> str:
    """Return an organisation's id as a label, which has at most 63 characters of some kinds."""
    if re.fullmatch(r"[a-z0-9_-]{1,63}", organization_id):
        return organization_id
    return hashlib.sha256(organization_id.encode()).hexdigest()[:32]
