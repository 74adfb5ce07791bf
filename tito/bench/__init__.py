"""The benchmark room: suite.yaml -> Suite -> runner (fresh child processes) -> Record -> store."""
