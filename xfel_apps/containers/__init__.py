"""Products: one module a product, each with its columns, reader and crash-safe writer."""
