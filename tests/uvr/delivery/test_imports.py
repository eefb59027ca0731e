"""What a host that only fetches bundles has to load."""

import subprocess
import sys

HEAVY = ("torch", "diffusers", "transformers", "faiss", "sqlalchemy", "click", "fsspec", "PIL")


def test_delivery_loads_no_model_library():
    """In its own process, since the tests here have loaded them all."""
    script = (
        f"import sys, uvr.delivery.source\nprint([name for name in {HEAVY} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
