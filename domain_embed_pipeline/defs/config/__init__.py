"""Run knobs of the assets, as the launchpad shows them, a module for each group.

Each has a bound, a safe default and what breaks. What belongs here: `dg.Config` classes and their one bridge to the
library's settings (`to_settings`). What does not: deployment settings (`settings.py`), named sets of knobs
(`profiles.py`).
"""
