"""What do people read? The report renders what was judged; it never judges."""
