"""How a crystal makes the pixels of shoeboxes, and what these tell apart from it."""
