"""The report of a run: one self-contained HTML page, and the same as Markdown with pictures beside it."""

from frl.report.content import Report
from frl.report.write import write_report

__all__ = ["Report", "write_report"]
