"""`tito grade`: a class."""
from tito.cli.console import group
grades = group("Grade a class.")
@grades.command("grade")
def grade() -> None:
    """Grade."""
