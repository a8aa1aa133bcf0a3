"""What is read off texts without a model: words, stems, names, dates, time expressions."""
