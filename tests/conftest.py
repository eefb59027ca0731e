import os
import uuid
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine


@pytest.fixture
def postgres_url():
    """A PostgreSQL URL with a schema of its own."""
    url = os.environ.get("UVR_TEST_POSTGRES_URL")
    if not url:
        if os.environ.get("UVR_REQUIRE_POSTGRES") == "1":
            pytest.fail("UVR_REQUIRE_POSTGRES=1, but UVR_TEST_POSTGRES_URL is not set")
        pytest.skip("UVR_TEST_POSTGRES_URL is not set")
    schema = f"uvr_{uuid.uuid4().hex}"
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    joint = "&" if "?" in url else "?"
    yield f"{url}{joint}options={quote(f'-csearch_path={schema}')}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()
