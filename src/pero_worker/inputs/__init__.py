"""What people bring: images and PDFs are found, told apart by content, counted, and decoded within bounds."""
