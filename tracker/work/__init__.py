"""Work: who computes which unit, what was committed and revealed, what the verdict was."""
