"""The Dagster shell: assets, checks, config, resources, IO, metadata, jobs, schedules, sensors.

What does not belong here: anything that could be tested without Dagster.
"""
