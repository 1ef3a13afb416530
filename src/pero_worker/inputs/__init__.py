"""Finds images and PDFs, tells them apart by content, counts their pages, and decodes them within bounds."""
