"""Your own modules in Jupyter: `import tito.mine` before anything else of tinytorch.

    import tito.mine
    import tinytorch as tt        # your files in the workspace, and the reference for the rest

Importing it again changes nothing. After you have edited a file, restart the kernel.
"""

from __future__ import annotations

import os
import sys

from tito import overlay
from tito.course.own import own_environment, own_plan
from tito.course.workspace import Workspace
from tito.project import find_project


def _begin() -> overlay.Plan:
    project = find_project()
    workspace = Workspace.find(project)
    plan = own_plan(project, workspace)
    overlay.install(plan)
    os.environ.update(own_environment(plan, workspace))  # for the processes that the notebook starts
    return plan


PLAN = _begin()
sys.stderr.write(f"{overlay.describe(PLAN)}\n")
