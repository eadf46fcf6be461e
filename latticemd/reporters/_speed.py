"""Steps per second as a column of a progress bar; in a file of its own so that rich is imported only for a bar."""

from rich.progress import ProgressColumn, Task
from rich.text import Text


class SpeedColumn(ProgressColumn):
    """Steps, or whatever else is counted, per second over the bar's recent past."""

    def __init__(self, unit: str = "step") -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The speed, or a dash before it is known."""
        speed = f"{task.speed:.3g}" if task.speed else "-"
        return Text(f"{speed} {self.unit}s/s", style="progress.data.speed")
