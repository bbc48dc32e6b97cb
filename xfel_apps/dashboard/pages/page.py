"""What a page is."""

from dataclasses import dataclass

from fastapi import APIRouter


@dataclass(frozen=True)
class Page:
    """One page of the dashboard.

    Attributes
    ----------
    name : its address is `/NAME`
    title : in the navigation
    order : where it stands in the navigation
    router : answers `/NAME` and what lies below
    """

    name: str
    title: str
    order: int
    router: APIRouter
