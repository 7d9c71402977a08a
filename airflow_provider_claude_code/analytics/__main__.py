"""Prints the reference of the models, or the SQL of one, for whoever keeps queries elsewhere."""

import argparse

from airflow_provider_claude_code.analytics.models import Settings, markdown_reference, models, render
from airflow_provider_claude_code.analytics.sources import bigquery_relations

_SETTINGS = Settings()


def main() -> None:
    """Print what the arguments ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_claude_code.analytics",
        description="Print the reference of the models as Markdown, or the GoogleSQL of one.",
    )
    parser.add_argument("model", nargs="?", choices=list(models()), metavar="MODEL", help="a model's name")
    parser.add_argument("dataset", nargs="?", metavar="PROJECT.DATASET", help="where the tables are")
    parser.add_argument("--table-prefix", default="claude_code_", help="begins the tables' names (%(default)s)")
    parser.add_argument("--roster", help="table of eligible people")
    parser.add_argument("--mapping", help="table of groups")
    parser.add_argument(
        "--min-group-size", type=int, default=_SETTINGS.min_group_size, help="fold smaller groups (%(default)s)"
    )
    arguments = parser.parse_args()
    if arguments.model is None:
        print(markdown_reference(), end="")
        return
    project, _, dataset = (arguments.dataset or "").rpartition(".")
    if not project:
        parser.error("PROJECT.DATASET says where the tables are")
    relations = bigquery_relations(
        project, dataset, arguments.table_prefix, roster=arguments.roster, mapping=arguments.mapping
    )
    print(render(arguments.model, relations, Settings(min_group_size=arguments.min_group_size)))


if __name__ == "__main__":
    main()
