"""What a submitter does: job files, publishing, results."""
