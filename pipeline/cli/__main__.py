"""`python -m clipmill.pipeline.cli`, for places where the program is not on the path."""

from clipmill.pipeline.cli import main

main()
