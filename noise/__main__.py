"""`python -m noise` is the `noise` command. Knows nothing of what the commands do."""

import sys

from noise.cli import main

sys.exit(main())
