"""Commands that a step starts and Dagster watches (dagster-pipes): their log and metadata are the step's."""

from collections.abc import Mapping, Sequence

import dagster as dg

from domain_embed_pipeline.training.launching import Launcher


def pipes_launcher(context: dg.AssetExecutionContext) -> Launcher:
    """A launcher of trainings in several processes for the step of `context`; a process that fails, fails the step."""

    def launch(command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Raises when the command fails; what it prints goes to the step's log."""
        dg.PipesSubprocessClient().run(command=list(command), context=context, env=dict(environment))

    return launch
