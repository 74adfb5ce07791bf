"""The course: 20 modules that a learner writes, graded on the learner's own files.

Contents: `modules` (the 20 modules, the checkpoints, and the milestones, as tables) and the files that derive
exercises, keep the workspace, and grade it.

May import: `tito.errors`, `tito.overlay`, `tito.project`, and `tito.process`. It never imports a learner's code:
that runs in child processes only.

Changed by: maintainers of the course.
"""
