import pytest

from deltarule.learning import step


@pytest.fixture(scope="package", autouse=True)
def _keep_programs():
    """These tests share their programs, so none is forgotten while they run."""
    kept, step.KEPT_PROGRAMS = step.KEPT_PROGRAMS, 1000
    yield
    step.KEPT_PROGRAMS = kept
