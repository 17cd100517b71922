"""Library results as asset metadata, a module for each group of assets: the only place where metadata keys are spelled.

Numbers stay numbers under stable keys, so that the UI plots them over time; the keys of a measure are the field names
of `QueryResult` (`recall_at_5`, ...). Values are cast here, because numpy scalars cannot be stored.
"""
