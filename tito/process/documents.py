"""The base class of all documents of the harness, a frozen model; and the limits of a child process."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A document that refuses unknown keys and does not change once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Limits(Frozen):
    """A child process that exceeds one of these is killed, with everything it started."""

    seconds: float = Field(gt=0)
    memory_mb: int = Field(gt=0)
    # Data that the child may allocate after its imports. The system itself refuses more: between two looks at the
    # memory in use, a child could ask for 100 GB.
    data_mb: int | None = Field(default=None, gt=0)
