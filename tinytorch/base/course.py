"""Classes of the course with PyTorch's longer signatures.

`nn.Conv2d(3, 8, 3)` returns the course's Conv2d, so that quantization, pruning, folding, and saved models treat it as
they treat the course's. Only settings that the course's layer lacks return the longer class, and
`isinstance(layer, nn.Conv2d)` is true for both.
"""

from __future__ import annotations

from typing import Any

from tinytorch.base.devices import device


class Longer(type):
    """The type of a class that extends `course`, a class of the course, and is only used if `plain()` returns None.

    Otherwise `plain` returns the arguments for the course's class. Without `course`, the type only accepts PyTorch's
    `device` and `dtype`.
    """

    course: type

    def __call__(cls, *given: Any, **named: Any) -> Any:
        place = dtype = plain = None
        if cls.__module__.startswith("tinytorch."):  # a subclass may have arguments of these names
            place, dtype = named.pop("device", None), named.pop("dtype", None)
        if place is not None:
            device(place)
        if "course" in vars(cls):
            plain = cls.plain(*given, **named)  # type: ignore[attr-defined]
        layer = super().__call__(*given, **named) if plain is None else cls.course(*plain[0], **plain[1])
        return layer if dtype is None else layer.to(dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.course) if "course" in vars(cls) else super().__instancecheck__(instance)
