"""What people see of a campaign: the HTML report, and tables."""

from chipmend.report.bin_table import bin_table
from chipmend.report.design import write_design_report
from chipmend.report.html import page, write_report
from chipmend.report.tables import markdown_table, text_table
from chipmend.report.wording import in_words, mended_again

__all__ = [
    "bin_table",
    "in_words",
    "markdown_table",
    "mended_again",
    "page",
    "text_table",
    "write_design_report",
    "write_report",
]
