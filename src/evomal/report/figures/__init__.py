"""Figures: each function draws on axes of matplotlib and returns them."""

from evomal.report.figures.losses import plot_gradient, plot_landscape, plot_loss, plot_surface
from evomal.report.figures.rates import plot_final_rates, plot_promise, plot_rates
from evomal.report.figures.search import plot_filters, plot_operators, plot_search, plot_sizes

__all__ = [
    "plot_filters",
    "plot_final_rates",
    "plot_gradient",
    "plot_landscape",
    "plot_loss",
    "plot_operators",
    "plot_promise",
    "plot_rates",
    "plot_search",
    "plot_sizes",
    "plot_surface",
]
