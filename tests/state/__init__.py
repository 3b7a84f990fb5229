"""What this clone remembers, and what remote stores say of themselves."""
