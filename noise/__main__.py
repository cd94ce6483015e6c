"""`python -m noise` is the `noise` command."""

import sys

from noise.cli import main

sys.exit(main())
