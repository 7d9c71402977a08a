"""The inputs and outputs of a load, for OpenLineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_claude_code.transfers.base import ClaudeCodeTransferOperator


def openlineage_facets(operator: ClaudeCodeTransferOperator) -> OperatorLineage[Any, Any]:
    """Return what was read and written: the API's report, and each table with its columns and row count."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import Dataset, OutputDataset
    from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet
    from openlineage.client.generated.schema_dataset import SchemaDatasetFacet, SchemaDatasetFacetFields

    outputs = []
    for contract in operator.table_contracts:
        table = contract.name
        namespace, name = operator.openlineage_name(table)
        fields = [
            SchemaDatasetFacetFields(name=column.name, type=column.type, description=column.description)
            for column in contract.columns
        ]
        rows = sum(day["rows"][table] for day in operator.loaded if day["published"])
        outputs.append(
            OutputDataset(
                namespace=namespace,
                name=name,
                facets={"schema": SchemaDatasetFacet(fields=fields)},
                outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows)},
            )
        )
    report = Dataset(namespace=operator.hook.settings.base_url, name=operator.api_path)
    return OperatorLineage(inputs=[report], outputs=outputs)
