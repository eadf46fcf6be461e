"""A report: one HTML file that shows runs to people. It needs no network, no server and nothing installed but a browser."""

from __future__ import annotations

from latticemd.report.page import write_report

__all__ = ["write_report"]
