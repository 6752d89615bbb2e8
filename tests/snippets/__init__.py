"""The code blocks of README.md and docs/, run as a reader would; `pages` says how to mark them."""
