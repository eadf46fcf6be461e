"""Steps per second as a column of a progress bar; in a file of its own so that rich is imported only for a bar."""

from rich.progress import ProgressColumn, Task
from rich.text import Text


class SpeedColumn(ProgressColumn):
    """Steps per second over the bar's recent past."""

    def render(self, task: Task) -> Text:
        """The speed, or a dash before it is known."""
        return Text(f"{task.speed:.3g} steps/s" if task.speed else "- steps/s", style="progress.data.speed")
