"""Models, in this process and on other servers."""

import os

# Read by torch when it is imported. By default its threads wait for one another actively: beside
# anything else that runs (a browser, say) a token of a small model took ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
