"""The workload of suites/2012_cifar10, with the parameters of this suite."""

import importlib.util
import sys
from pathlib import Path

_file = Path(__file__).parents[1] / "2012_cifar10" / "workload.py"
_specification = importlib.util.spec_from_file_location("cifar10_workload", _file)
assert _specification is not None
assert _specification.loader is not None
_workload = importlib.util.module_from_spec(_specification)
sys.modules["cifar10_workload"] = _workload
_specification.loader.exec_module(_workload)

load, build, train = _workload.load, _workload.build, _workload.train
evaluate, predictor, queries = _workload.evaluate, _workload.predictor, _workload.queries
