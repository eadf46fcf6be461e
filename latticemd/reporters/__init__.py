"""What is looked at while a simulation runs; a schedule (`latticemd.schedules.When`) says when."""
