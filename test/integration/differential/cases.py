"""All cases, by theme."""
from differential import cases_balancing, cases_corners, cases_filters, cases_http1, cases_http2, cases_manager, cases_rbac, cases_routes, cases_upstream  # noqa: F401

__all__ = ["cases_balancing", "cases_corners", "cases_filters", "cases_http1", "cases_http2", "cases_manager", "cases_rbac", "cases_routes", "cases_upstream"]
