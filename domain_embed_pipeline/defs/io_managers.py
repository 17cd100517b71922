"""The IO manager: every asset value is a frozen record, kept as a record folder (see `tables.py`)."""

import typing
from typing import Any

import dagster as dg

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.tables import load_record, save_record


class RecordIOManager(dg.ConfigurableIOManager):
    """Tables to Parquet, the rest to JSON, under `<artifacts>/tables/<asset>`; any fsspec URL."""

    deployment: dg.ResourceDependency[Deployment]

    def _folder(self, key: dg.AssetKey) -> Location:
        return self.deployment.workspace.tables / "/".join(key.path)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the record, replacing what was there as a whole."""
        folder = self._folder(context.asset_key)
        save_record(obj, folder)
        context.add_output_metadata({"stored_at": dg.MetadataValue.path(str(folder))})

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the record as the type that the reading asset names."""
        record_type = context.dagster_type.typing_type
        if typing.get_origin(record_type) is not None:
            raise TypeError(f"Annotate the input {context.asset_key} with its record type, not {record_type}.")
        try:
            return load_record(record_type, self._folder(context.asset_key))
        except FileNotFoundError as error:
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} was never materialized. Fix: materialize it first, or select "
                "it in this run too.",
                allow_retries=False,
            ) from error
