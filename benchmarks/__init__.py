"""Measurements of MeshHook and its peers: ``python -m benchmarks``, or ``make bench``.

settings    the settings of a run
target      the database to measure, and how to leave nothing in it
processes   each measurement in a separate process
statistics  medians, spreads, orders
peers/      one module for each queue that is measured
scenarios/  one module for each question
report      JSON and Markdown
plots       pictures
"""
