"""The report: one HTML page that needs nothing else, made of searches and comparisons."""

from evomal.report.page.report import make_report, report_of_result, write_report

__all__ = ["make_report", "report_of_result", "write_report"]
