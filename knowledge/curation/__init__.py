"""What people change of a document's text, who looks at it before it is found, and how it is taken back."""
