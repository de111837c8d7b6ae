"""What people see: exit statuses, one-line errors, help, tables, progress, and the JSON line that ends every script.

Results go to stdout and progress to stderr. Colours and live bars appear on a terminal only, and what is printed there
is as wide as it is.
"""

from experiments.console.bars import Series, progress, status
from experiments.console.script import command, run, run_help
from experiments.console.tables import table
from experiments.console.text import dumps, say

__all__ = ["Series", "command", "dumps", "progress", "run", "run_help", "say", "status", "table"]
