"""A lesson in the terminal."""

from __future__ import annotations

import pytest

from tests.terminal.sample import printed
from tito.terminal.lesson import Lesson

TEXT = """# 02 Tensor

Some *words* and `code`, with a [link](../../docs/x.md).

| a | b |
|---|---|
| 1 | 2 |

```python
x = 1
```

    y = A x
"""


@pytest.mark.parametrize("width", [40, 100, 200])
def test_a_lesson_fits_and_keeps_its_words(width):
    text = printed(Lesson(TEXT), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= min(width, 100)
    for part in ("02 Tensor", "Some words and code, with a link", "x = 1", "y = A x"):
        assert part in " ".join(text.split())
    assert "**" not in text
    assert "../../docs" not in text
