"""One file a stage of the graph."""
