"""Drawing: what pictures of the package have in common, and one shot with spots and predictions."""
